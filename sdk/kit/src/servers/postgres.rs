//! A private Postgres server.
//!
//! In goes a folder; out comes a server with its own cluster in it, which the first start creates
//! and later starts reuse. If this process is root, the server runs under an unprivileged account;
//! if that account cannot enter the folder, the cluster lies in `/var/tmp`. Clusters that this
//! module did not create are never touched.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::account::UserAccount;
use super::error::{ServerError, failed_to};
use super::host::{
    POLL_INTERVAL, START_TIMEOUT, STOP_TIMEOUT, find_program, free_port, last_lines, random_password,
};
use super::process::{ChildCommand, ChildProcess, ProcessSignal};

const REMEDY: &str = "install the package postgresql (Debian, Ubuntu: apt-get install postgresql)";
/// Folders outside of `PATH` in which Debian, Fedora and Homebrew install the programs.
const PROGRAM_FOLDERS: [&str; 4] =
    ["/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt/postgresql", "/usr/local/pgsql"];

/// The options of a private Postgres server.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// True if commits must survive a crash of the machine. Tests do not need it.
    pub durable: bool,
    /// Maximum number of connections.
    pub max_connections: u32,
    /// Additional settings, as `name=value`.
    pub settings: Vec<String>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { durable: true, max_connections: 100, settings: Vec::new() }
    }
}

/// A running private Postgres server. It is stopped when dropped.
#[derive(Debug)]
pub struct PostgresServer {
    process: ChildProcess,
    launch: PostgresLaunch,
    password: String,
}

impl PostgresServer {
    /// Starts a server with its data below `folder`, which is created if missing.
    ///
    /// # Errors
    /// Fails if Postgres is not installed, the folder cannot be used, or the server does not start.
    pub async fn start(folder: &Path, options: &PostgresOptions) -> Result<Self, ServerError> {
        let programs = PostgresPrograms::find()?;
        let account = server_account()?;
        let home = ClusterFolder::prepare(folder, account)?;
        if !home.data.join("PG_VERSION").exists() {
            let (initdb, made) = (programs.initdb.clone(), home.clone());
            spawn_blocking(move || made.init(&initdb, account))
                .await
                .map_err(|failed| failed_to("run initdb")(failed.into()))??;
        }
        let password =
            fs::read_to_string(home.password_file()).map_err(failed_to("read the server's password"))?;
        let port = free_port().map_err(failed_to("find a free port"))?;
        let launch =
            PostgresLaunch { program: programs.postgres, account, home, port, options: options.clone() };
        let process = launch.start().await?;
        Ok(Self { process, launch, password: password.trim().to_owned() })
    }

    /// Starts an ended server again, on the same port and with the same data.
    ///
    /// # Errors
    /// Fails if the server does not start.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process = self.launch.start().await?;
        Ok(())
    }

    /// Returns the url of a database for a role. It contains the password of the superuser
    /// `postgres`; other roles can be created with the same password.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:{}@127.0.0.1:{}/{database}", self.password, self.launch.port)
    }

    /// Returns the port of the server.
    pub fn port(&self) -> u16 {
        self.launch.port
    }

    /// Returns the folder of the data and the log, which can lie in `/var/tmp`.
    pub fn folder(&self) -> &Path {
        &self.launch.home.folder
    }

    /// Returns the process of the server.
    pub fn process(&mut self) -> &mut ChildProcess {
        &mut self.process
    }

    /// Shuts the server down cleanly.
    pub async fn stop(mut self) {
        self.process.stop(ProcessSignal::Int, STOP_TIMEOUT).await;
    }

    /// Removes the files of a stopped server that belong to `folder`, including its data.
    ///
    /// # Errors
    /// Fails if the files cannot be removed.
    pub fn wipe(folder: &Path) -> Result<(), ServerError> {
        let home = ClusterFolder::locate(folder, server_account()?)?;
        match fs::remove_dir_all(&home.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed_to(format!("remove {}", home.folder.display()))(error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // SIGKILL would leave a shared memory segment behind until the next start.
        self.process.signal(ProcessSignal::Int);
        let deadline = std::time::Instant::now() + STOP_TIMEOUT;
        while self.process.exit_status().is_none() && std::time::Instant::now() < deadline {
            std::thread::park_timeout(POLL_INTERVAL);
        }
    }
}

/// The parameters of a start, kept for restarts.
#[derive(Debug)]
struct PostgresLaunch {
    program: PathBuf,
    account: Option<UserAccount>,
    home: ClusterFolder,
    port: u16,
    options: PostgresOptions,
}

impl PostgresLaunch {
    async fn start(&self) -> Result<ChildProcess, ServerError> {
        let log = File::create(self.home.log()).map_err(failed_to("create the server's log"))?;
        let mut process = ChildCommand::new(&self.program)
            .args(arguments(&self.home, self.port, &self.options))
            .current_dir(&self.home.folder)
            .account(self.account)
            .parent_death_signal(ProcessSignal::Int)
            .log(log)
            .spawn()
            .map_err(failed_to("start postgres"))?;
        wait_until_ready(&mut process, &self.home).await?;
        Ok(process)
    }
}

#[derive(Debug)]
struct PostgresPrograms {
    initdb: PathBuf,
    postgres: PathBuf,
}

impl PostgresPrograms {
    fn find() -> Result<Self, ServerError> {
        let mut folders: Vec<PathBuf> = PROGRAM_FOLDERS
            .iter()
            .flat_map(|root| fs::read_dir(root).into_iter().flatten().flatten())
            .map(|version| version.path().join("bin"))
            .collect();
        // The newest version comes first. `bin` folders without a version come last.
        folders.sort_by_key(|folder| std::cmp::Reverse(version_in(folder)));
        folders.extend(PROGRAM_FOLDERS.iter().map(|root| Path::new(root).join("bin")));
        let find = |program: &'static str| {
            find_program(program, &folders).ok_or(ServerError::NotInstalled { program, remedy: REMEDY })
        };
        Ok(Self { initdb: find("initdb")?, postgres: find("postgres")? })
    }
}

/// Returns the version in a path like `/usr/lib/postgresql/15/bin`, or 0.
fn version_in(folder: &Path) -> u32 {
    let version = folder.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    version.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap_or(0)
}

/// Returns the account to run as; `None` is the account of this process.
fn server_account() -> Result<Option<UserAccount>, ServerError> {
    if !UserAccount::running_as_root() {
        return Ok(None);
    }
    UserAccount::unprivileged()
        .map(Some)
        .ok_or(ServerError::NoAccount { tried: UserAccount::CANDIDATE_NAMES })
}

/// The folder of a cluster, its password and its log.
#[derive(Debug, Clone)]
struct ClusterFolder {
    folder: PathBuf,
    data: PathBuf,
}

impl ClusterFolder {
    /// Returns the place of the files for `folder`: below it, or in `/var/tmp` if the account
    /// cannot enter it.
    fn locate(folder: &Path, account: Option<UserAccount>) -> Result<Self, ServerError> {
        let absolute =
            std::path::absolute(folder).map_err(failed_to(format!("find {}", folder.display())))?;
        // Missing folders are created, so only the deepest existing one can keep the account out.
        let existing = absolute.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
        let reachable = account.is_none_or(|account| account.can_enter(existing));
        let folder = if reachable { absolute.join("postgres") } else { reachable_folder(&absolute) };
        Ok(Self { data: folder.join("data"), folder })
    }

    /// Creates the folder, or checks that an existing one belongs to the account.
    fn prepare(folder: &Path, account: Option<UserAccount>) -> Result<Self, ServerError> {
        let home = Self::locate(folder, account)?;
        let create_error = || failed_to(format!("create {}", home.folder.display()));
        if let Some(parent) = home.folder.parent() {
            fs::create_dir_all(parent).map_err(create_error())?;
        }
        // Postgres refuses a data folder that others can read.
        match fs::DirBuilder::new().mode(0o700).create(&home.folder) {
            Ok(()) => {
                if let Some(account) = account {
                    account.take_ownership(&home.folder).map_err(create_error())?;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let metadata = fs::symlink_metadata(&home.folder).map_err(create_error())?;
                let owner = account.map_or_else(own_uid, |account| Some(account.uid));
                // `/var/tmp` is open to everyone: another user could have created the folder to
                // read the data. `symlink_metadata` does not follow a link that points elsewhere.
                if !metadata.is_dir() || owner.is_some_and(|owner| owner != metadata.uid()) {
                    return Err(ServerError::ForeignFolder(home.folder));
                }
            }
            Err(error) => return Err(create_error()(error)),
        }
        Ok(home)
    }

    fn password_file(&self) -> PathBuf {
        self.folder.join("password")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    /// Creates the cluster.
    fn init(&self, initdb: &Path, account: Option<UserAccount>) -> Result<(), ServerError> {
        // An interrupted initdb leaves a cluster that cannot be used.
        if self.data.exists() {
            fs::remove_dir_all(&self.data).map_err(failed_to("remove an incomplete cluster"))?;
        }
        let file = self.password_file();
        let mut secret = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&file)
            .map_err(failed_to("write the server's password"))?;
        writeln!(secret, "{}", random_password()).map_err(failed_to("write the server's password"))?;
        if let Some(account) = account {
            account.take_ownership(&file).map_err(failed_to("give the password to the server"))?;
        }
        let log = File::create(self.log()).map_err(failed_to("create the log of initdb"))?;
        let mut process = ChildCommand::new(initdb)
            .args(["--username=postgres", "--auth=password", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .args(["--pgdata".into(), self.data.clone().into_os_string()])
            .args(["--pwfile".into(), file.into_os_string()])
            .current_dir(&self.folder)
            .account(account)
            .log(log)
            .spawn()
            .map_err(failed_to("start initdb"))?;
        let status = process.wait_blocking().map_err(failed_to("wait for initdb"))?;
        if status.success() {
            return Ok(());
        }
        Err(ServerError::Ended {
            program: "initdb",
            status: status.to_string(),
            output: last_lines(&self.log()),
        })
    }
}

fn own_uid() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|metadata| metadata.uid())
}

/// Returns a folder that every account can enter, unique for each `folder`.
fn reachable_folder(folder: &Path) -> PathBuf {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(folder);
    PathBuf::from(format!("/var/tmp/orchid-postgres-{hash:016x}"))
}

fn arguments(home: &ClusterFolder, port: u16, options: &PostgresOptions) -> Vec<std::ffi::OsString> {
    let mut settings = vec![
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        format!("unix_socket_directories={}", socket_folder(&home.folder)),
        format!("max_connections={}", options.max_connections),
    ];
    if !options.durable {
        // Without durability a start and each commit are many times faster.
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
    }
    settings.extend(options.settings.iter().cloned());
    let mut arguments = vec!["-D".into(), home.data.clone().into_os_string()];
    arguments.extend(settings.into_iter().flat_map(|setting| ["-c".into(), setting.into()]));
    arguments
}

/// Returns the folder of the Unix socket, or an empty text for no socket. A socket's path has at
/// most 107 bytes on Linux, and Postgres would read some characters as a list of folders.
fn socket_folder(folder: &Path) -> String {
    let name = folder.to_string_lossy();
    if name.len() > 80 || name.contains([',', '"', '\'']) { String::new() } else { name.into_owned() }
}

/// Waits until the pid file reports that the server is ready.
async fn wait_until_ready(process: &mut ChildProcess, home: &ClusterFolder) -> Result<(), ServerError> {
    let pid_file = home.data.join("postmaster.pid");
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(status) = process.exit_status() {
            let (status, output) = (status.to_string(), last_lines(&home.log()));
            return Err(ServerError::Ended { program: "postgres", status, output });
        }
        let text = fs::read_to_string(&pid_file).unwrap_or_default();
        let mut lines = text.lines();
        // A pid file of an earlier, killed server can still be there.
        let own_pid = lines.next().is_some_and(|pid| pid == process.id().to_string());
        if own_pid && lines.last().is_some_and(|state| state.trim() == "ready") {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(ServerError::NotReady { program: "postgres", output: last_lines(&home.log()) });
        }
        sleep(POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_the_folder_name() {
        assert_eq!(version_in(Path::new("/usr/lib/postgresql/15/bin")), 15);
        assert_eq!(version_in(Path::new("/usr/lib/postgresql/pg17/bin")), 17);
        assert_eq!(version_in(Path::new("/usr/local/pgsql/bin")), 0);
    }

    #[test]
    fn unreachable_folder_is_replaced() {
        let stranger = UserAccount { uid: 4_000_000, gid: 4_000_000 };
        let closed = std::env::temp_dir().join(format!("orchid-home-{}", random_password()));
        fs::DirBuilder::new().mode(0o700).create(&closed).expect("folder");
        let moved = ClusterFolder::locate(&closed, Some(stranger)).expect("a home");
        assert!(moved.folder.starts_with("/var/tmp"), "{moved:?}");
        let own = ClusterFolder::locate(&closed, None).expect("a home");
        assert_eq!(own.folder, closed.join("postgres"));
        fs::remove_dir(&closed).expect("clean up");
    }

    #[test]
    fn long_folder_gets_no_socket() {
        assert_eq!(socket_folder(Path::new("/tmp/x")), "/tmp/x");
        assert_eq!(socket_folder(Path::new(&"/long".repeat(20))), "");
    }
}
