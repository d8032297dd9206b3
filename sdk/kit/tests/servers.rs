//! Tests that start the private servers. They need Postgres and Redis to be installed.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use orchid_kit::servers::{PostgresOptions, PostgresServer, ProcessSignal, RedisServer, free_port};
use orchid_kit::stall::StallDetector;

/// A temporary folder, removed with all server files when dropped.
struct TempFolder(PathBuf);

impl TempFolder {
    fn new() -> TempFolder {
        let folder = std::env::temp_dir().join(format!("orchid-servers-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&folder).expect("folder");
        TempFolder(folder)
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = PostgresServer::wipe(&self.0);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn psql(url: &str, statement: &str) -> String {
    let output = Command::new("psql").args([url, "-XAtqc", statement]).output().expect("psql runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn start(folder: &Path) -> PostgresServer {
    let options = PostgresOptions { durable: false, ..PostgresOptions::default() };
    PostgresServer::start(folder, &options).await.expect("postgres starts")
}

#[tokio::test]
async fn postgres_keeps_its_data_between_starts() {
    let folder = TempFolder::new();
    let first = start(&folder.0).await;
    let port = first.port();
    let url = first.url("postgres", "postgres");
    assert_eq!(psql(&url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7); SELECT n FROM kept"), "7");
    first.stop().await;
    assert!(!listens(port), "a stopped server still listens");

    let second = start(&folder.0).await;
    assert_eq!(psql(&second.url("postgres", "postgres"), "SELECT n FROM kept"), "7");
    let port = second.port();
    drop(second);
    assert!(!listens(port), "a dropped server still listens");
}

#[tokio::test]
async fn postgres_refuses_a_wrong_password() {
    let folder = TempFolder::new();
    let server = start(&folder.0).await;
    let url = format!("postgres://postgres:wrong@127.0.0.1:{}/postgres", server.port());
    let output = Command::new("psql").args([url.as_str(), "-c", "SELECT 1"]).output().expect("psql runs");
    let output_text = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && output_text.contains("password authentication failed"),
        "{output_text}"
    );
}

#[tokio::test]
async fn unknown_postgres_setting_error_names_it() {
    let folder = TempFolder::new();
    let options =
        PostgresOptions { settings: vec!["no_such_setting=1".to_owned()], ..PostgresOptions::default() };
    let error = PostgresServer::start(&folder.0, &options).await.expect_err("a server with a wrong setting");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn redis_listens_until_it_is_dropped() {
    let folder = TempFolder::new();
    let server = RedisServer::start(&folder.0).await.expect("redis starts");
    let port = server.port();
    assert!(listens(port));
    assert!(server.url().ends_with(&format!("@127.0.0.1:{port}")), "{}", server.url());
    drop(server);
    assert!(!listens(port), "a dropped server still listens");
}

#[test]
fn free_port_is_not_in_use() {
    let port = free_port().expect("a port");
    assert!(!listens(port));
}

#[tokio::test]
async fn killed_server_restarts_on_the_same_port() {
    let folder = TempFolder::new();
    let mut postgres = PostgresServer::start(&folder.0, &PostgresOptions::default()).await.unwrap();
    let url = postgres.url("postgres", "postgres");
    psql(&url, "CREATE TABLE kept (n int)");
    assert!(postgres.process().signal(ProcessSignal::Kill));
    postgres.process().wait_blocking().unwrap();
    // The children of the killed postmaster hold its shared memory for a moment.
    while postgres.restart().await.is_err() {}
    assert_eq!(psql(&url, "SELECT count(*) FROM kept"), "0");

    let mut redis = RedisServer::start(&folder.0).await.unwrap();
    let (url, port) = (redis.url(), redis.port());
    redis.process().kill();
    assert!(!listens(port));
    redis.restart().await.unwrap();
    assert!(listens(port) && redis.url() == url);
}

/// The process that `killed_process_takes_its_servers_along` starts and kills. It is not a test.
#[tokio::test]
#[ignore = "run by killed_process_takes_its_servers_along"]
async fn hold_servers() {
    let folder = TempFolder::new();
    let postgres = start(&folder.0).await;
    let redis = RedisServer::start(&folder.0).await.expect("redis starts");
    println!("\nholding {} {} {}", postgres.port(), redis.port(), folder.0.display());
    std::future::pending::<()>().await;
}

#[test]
fn killed_process_takes_its_servers_along() {
    use std::io::{BufRead as _, BufReader};
    let own = std::env::current_exe().expect("the test's own file");
    let mut holder = Command::new(own)
        .args(["--exact", "hold_servers", "--ignored", "--nocapture"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the holder runs");
    let lines = BufReader::new(holder.stdout.take().expect("its output")).lines();
    let line = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("holding ").map(str::to_owned));
    let line = line.expect("the holder prints what it holds");
    let mut words = line.split(' ');
    let mut port = || words.next().expect("a port").parse::<u16>().expect("a number");
    let ports = [port(), port()];
    assert!(ports.iter().all(|port| listens(*port)), "{line}");
    let folder = TempFolder(words.next().expect("a folder").into());

    holder.kill().expect("kill");
    holder.wait().expect("wait");
    let mut detector = StallDetector::new(Duration::from_secs(60), Instant::now());
    loop {
        let listening = ports.iter().filter(|port| listens(**port)).count();
        if listening == 0 {
            break;
        }
        let stalled = detector.stalled(Instant::now(), listening);
        assert!(!stalled, "a server outlived the process that started it");
        std::thread::yield_now();
    }
    drop(folder);
}
