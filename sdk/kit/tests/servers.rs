//! The private servers, started for real. Needs Postgres and Redis installed.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::{
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use orchid_kit::{
    servers::{PostgresOptions, PostgresServer, ProcessSignal, RedisServer, free_port},
    stall::StallDetector,
};

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let folder = std::env::temp_dir().join(format!("orchid-servers-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&folder).expect("folder");
        Folder(folder)
    }
}

impl Drop for Folder {
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
async fn postgres_keeps_its_data_from_start_to_start() {
    let folder = Folder::new();
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
async fn postgres_lets_nobody_in_without_the_password() {
    let folder = Folder::new();
    let server = start(&folder.0).await;
    let url = format!("postgres://postgres:wrong@127.0.0.1:{}/postgres", server.port());
    let output = Command::new("psql").args([url.as_str(), "-c", "SELECT 1"]).output().expect("psql runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("password authentication failed"), "{said}");
}

#[tokio::test]
async fn a_setting_that_postgres_does_not_know_is_told_in_its_words() {
    let folder = Folder::new();
    let options =
        PostgresOptions { settings: vec!["no_such_setting=1".to_owned()], ..PostgresOptions::default() };
    let error = PostgresServer::start(&folder.0, &options).await.expect_err("a server with a wrong setting");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn redis_answers_and_ends_with_its_value() {
    let folder = Folder::new();
    let server = RedisServer::start(&folder.0).await.expect("redis starts");
    let port = server.port();
    assert!(listens(port));
    assert!(server.url().ends_with(&format!("@127.0.0.1:{port}")), "{}", server.url());
    drop(server);
    assert!(!listens(port), "a dropped server still listens");
}

#[test]
fn free_ports_are_free() {
    let port = free_port().expect("a port");
    assert!(!listens(port));
}

#[tokio::test]
async fn a_killed_server_starts_again_where_it_was() {
    let folder = Folder::new();
    let mut postgres = PostgresServer::start(&folder.0, &PostgresOptions::default()).await.unwrap();
    let url = postgres.url("postgres", "postgres");
    psql(&url, "CREATE TABLE kept (n int)");
    assert!(postgres.process().signal(ProcessSignal::Kill));
    postgres.process().wait_blocking().unwrap();
    // Its children notice a little later that it is gone.
    while postgres.restart().await.is_err() {}
    assert_eq!(psql(&url, "SELECT count(*) FROM kept"), "0");

    let mut redis = RedisServer::start(&folder.0).await.unwrap();
    let (url, port) = (redis.url(), redis.port());
    redis.process().kill();
    assert!(!listens(port));
    redis.restart().await.unwrap();
    assert!(listens(port) && redis.url() == url);
}

/// Not a test of its own: the process that the next one kills.
#[tokio::test]
#[ignore = "run by a_killed_process_takes_its_servers_along"]
async fn hold_servers() {
    let folder = Folder::new();
    let postgres = start(&folder.0).await;
    let redis = RedisServer::start(&folder.0).await.expect("redis starts");
    println!("\nholding {} {} {}", postgres.port(), redis.port(), folder.0.display());
    std::future::pending::<()>().await;
}

#[test]
fn a_killed_process_takes_its_servers_along() {
    use std::io::{BufRead as _, BufReader};
    let own = std::env::current_exe().expect("the test's own file");
    let mut holder = Command::new(own)
        .args(["--exact", "hold_servers", "--ignored", "--nocapture"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the holder runs");
    let lines = BufReader::new(holder.stdout.take().expect("its output")).lines();
    let line = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("holding ").map(str::to_owned));
    let line = line.expect("the holder says what it holds");
    let mut words = line.split(' ');
    let mut port = || words.next().expect("a port").parse::<u16>().expect("a number");
    let ports = [port(), port()];
    assert!(ports.iter().all(|port| listens(*port)), "{line}");
    let folder = Folder(words.next().expect("a folder").into());

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
