//! A private Redis server, which keeps nothing on disk.

use std::{
    fs::{self, File},
    io::Write as _,
    net::Ipv4Addr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{
    ChildCommand, ChildProcess, POLL_INTERVAL, ProcessSignal, START_TIMEOUT, STOP_TIMEOUT, ServerError,
    doing, find_program, free_port, random_password, tail,
};

const REMEDY: &str = "install the package redis-server (Debian, Ubuntu: apt-get install redis-server)";

/// A running private Redis server; killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    process: ChildProcess,
    launch: RedisLaunch,
    password: String,
}

/// All that a start needs, so that a second one is like the first.
#[derive(Debug)]
struct RedisLaunch {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl RedisServer {
    /// Starts a server with its settings and log in `folder`, which is made when missing.
    ///
    /// # Errors
    /// When Redis is not installed, the folder cannot be written, or the server does not start.
    pub async fn start(folder: &Path) -> Result<RedisServer, ServerError> {
        let server = find_program("redis-server", &[])
            .or_else(|| find_program("valkey-server", &[]))
            .ok_or(ServerError::NotInstalled { program: "redis-server", remedy: REMEDY })?;
        fs::create_dir_all(folder).map_err(doing(format!("making {}", folder.display())))?;
        let port = free_port().map_err(doing("looking for a free port"))?;
        let password = random_password();
        let launch = RedisLaunch { program: server, folder: folder.to_owned(), port };
        write_settings(&launch.settings(), port, &password)?;
        let process = launch.start().await?;
        Ok(RedisServer { process, launch, password })
    }

    /// Starts it again after its process has ended, on the same port, empty.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process = self.launch.start().await?;
        Ok(())
    }

    /// The url to reach it.
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}", self.password, self.launch.port)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.launch.port
    }

    /// The server's process.
    pub fn process(&mut self) -> &mut ChildProcess {
        &mut self.process
    }

    /// Stops it in good order.
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
        let log = File::create(&log_file).map_err(doing("making the log of redis"))?;
        let mut process = ChildCommand::new(&self.program)
            .args([self.settings().into_os_string()])
            .current_dir(&self.folder)
            .log(log)
            .spawn()
            .map_err(doing("starting redis-server"))?;
        ready(&mut process, self.port, &log_file).await?;
        Ok(process)
    }
}

/// The settings lie in a file, since arguments are for everybody to read.
fn write_settings(file: &Path, port: u16, password: &str) -> Result<(), ServerError> {
    let writing = || doing(format!("writing {}", file.display()));
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .map_err(writing())?;
    write!(
        out,
        "bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave \"\"\nappendonly no\ndaemonize no\n"
    )
    .map_err(writing())
}

/// Waits until the server answers a PING with anything but "loading".
async fn ready(process: &mut ChildProcess, port: u16, log: &Path) -> Result<(), ServerError> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(status) = process.exit_status() {
            let (status, said) = (status.to_string(), tail(log));
            return Err(ServerError::Ended { program: "redis-server", status, said });
        }
        let answer = timeout(Duration::from_secs(1), ping(port)).await;
        if answer.is_ok_and(|answer| answer.is_ok_and(|text| !text.is_empty() && !text.contains("LOADING"))) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(ServerError::Silent { program: "redis-server", said: tail(log) });
        }
        sleep(POLL_INTERVAL).await;
    }
}

async fn ping(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(answer.get(..length).unwrap_or_default()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_for_the_owner_alone() {
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
