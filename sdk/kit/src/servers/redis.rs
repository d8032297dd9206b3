//! A private Redis server without persistence.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::error::{ServerError, failed_to};
use super::host::{
    POLL_INTERVAL, START_TIMEOUT, STOP_TIMEOUT, find_program, free_port, last_lines, random_password,
};
use super::process::{ChildCommand, ChildProcess, ProcessSignal};

const REMEDY: &str = "install the package redis-server (Debian, Ubuntu: apt-get install redis-server)";

/// A running private Redis server. It is killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    process: ChildProcess,
    launch: RedisLaunch,
    password: String,
}

/// The parameters of a start, kept for restarts.
#[derive(Debug)]
struct RedisLaunch {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl RedisServer {
    /// Starts a server with its settings and log in `folder`, which is created if missing.
    ///
    /// # Errors
    /// Fails if Redis is not installed, the folder is not writable, or the server does not start.
    pub async fn start(folder: &Path) -> Result<Self, ServerError> {
        let server = find_program("redis-server", &[])
            .or_else(|| find_program("valkey-server", &[]))
            .ok_or(ServerError::NotInstalled { program: "redis-server", remedy: REMEDY })?;
        fs::create_dir_all(folder).map_err(failed_to(format!("create {}", folder.display())))?;
        let port = free_port().map_err(failed_to("find a free port"))?;
        let password = random_password();
        let launch = RedisLaunch { program: server, folder: folder.to_owned(), port };
        write_settings(&launch.settings(), port, &password)?;
        let process = launch.start().await?;
        Ok(Self { process, launch, password })
    }

    /// Starts an ended server again on the same port, without its data.
    ///
    /// # Errors
    /// Fails if the server does not start.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process = self.launch.start().await?;
        Ok(())
    }

    /// Returns the url of the server, with its password.
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}", self.password, self.launch.port)
    }

    /// Returns the port of the server.
    pub fn port(&self) -> u16 {
        self.launch.port
    }

    /// Returns the process of the server.
    pub fn process(&mut self) -> &mut ChildProcess {
        &mut self.process
    }

    /// Shuts the server down cleanly.
    pub async fn stop(mut self) {
        self.process.stop(ProcessSignal::Term, STOP_TIMEOUT).await;
    }
}

impl RedisLaunch {
    fn settings(&self) -> PathBuf {
        self.folder.join("redis.conf")
    }

    async fn start(&self) -> Result<ChildProcess, ServerError> {
        let log_file = self.folder.join("redis.log");
        let log = File::create(&log_file).map_err(failed_to("create the log of redis-server"))?;
        let mut process = ChildCommand::new(&self.program)
            .args([self.settings().into_os_string()])
            .current_dir(&self.folder)
            .log(log)
            .spawn()
            .map_err(failed_to("start redis-server"))?;
        wait_until_ready(&mut process, self.port, &log_file).await?;
        Ok(process)
    }
}

/// Writes the settings to a file that only the owner can read. Every user of the machine could read
/// the password in an argument.
fn write_settings(file: &Path, port: u16, password: &str) -> Result<(), ServerError> {
    let write_error = || failed_to(format!("write {}", file.display()));
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .map_err(write_error())?;
    write!(
        out,
        "bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave \"\"\nappendonly no\ndaemonize no\n"
    )
    .map_err(write_error())
}

/// Waits until the server responds to a PING with anything but "loading".
async fn wait_until_ready(process: &mut ChildProcess, port: u16, log: &Path) -> Result<(), ServerError> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(status) = process.exit_status() {
            let (status, output) = (status.to_string(), last_lines(log));
            return Err(ServerError::Ended { program: "redis-server", status, output });
        }
        let response = timeout(Duration::from_secs(1), ping(port)).await;
        // Any reply will do. Without the password it is an error, which shows that the server is
        // up.
        if response
            .is_ok_and(|response| response.is_ok_and(|text| !text.is_empty() && !text.contains("LOADING")))
        {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(ServerError::NotReady { program: "redis-server", output: last_lines(log) });
        }
        sleep(POLL_INTERVAL).await;
    }
}

async fn ping(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut response = [0; 64];
    let length = stream.read(&mut response).await?;
    Ok(String::from_utf8_lossy(response.get(..length).unwrap_or_default()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_file_is_readable_only_by_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("orchid-redis-{}", random_password()));
        fs::create_dir(&folder).expect("folder");
        let file = folder.join("redis.conf");
        write_settings(&file, 7777, "word").expect("write");
        let mode = fs::metadata(&file).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(&file).expect("read");
        assert!(text.contains("port 7777\nrequirepass word\n"), "{text}");
        fs::remove_dir_all(&folder).expect("clean up");
    }
}
