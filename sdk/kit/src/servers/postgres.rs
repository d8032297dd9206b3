//! A private Postgres server.
//!
//! In goes a folder; out comes a server with a cluster of its own in it, made at the first start and used again later.
//! As root it runs under an unprivileged account, and where that account cannot enter the folder, beside it in
//! `/var/tmp`. It never touches a cluster that it did not make.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{
    ChildCommand, ChildProcess, POLL_INTERVAL, ProcessSignal, START_TIMEOUT, STOP_TIMEOUT, ServerError,
    UserAccount, doing, find_program, free_port, random_password, tail,
};

const REMEDY: &str = "install the package postgresql (Debian, Ubuntu: apt-get install postgresql)";
/// Where Debian, Fedora and Homebrew keep the programs, outside of `PATH`.
const PROGRAM_FOLDERS: [&str; 4] =
    ["/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt/postgresql", "/usr/local/pgsql"];

/// How a private Postgres server runs.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Whether commits survive a crash of the machine; tests need not.
    pub durable: bool,
    /// Most connections at once.
    pub max_connections: u32,
    /// Further settings, `name=value`.
    pub settings: Vec<String>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { durable: true, max_connections: 100, settings: Vec::new() }
    }
}

/// A running private Postgres server; stopped when dropped.
#[derive(Debug)]
pub struct PostgresServer {
    process: ChildProcess,
    launch: PostgresLaunch,
    password: String,
}

impl PostgresServer {
    /// Starts a server with its data below `folder`, which is made when missing.
    ///
    /// # Errors
    /// When Postgres is not installed, the folder cannot be used, or the server does not start.
    pub async fn start(folder: &Path, options: &PostgresOptions) -> Result<PostgresServer, ServerError> {
        let programs = PostgresPrograms::find()?;
        let account = account()?;
        let home = ClusterFolder::prepare(folder, account)?;
        if !home.data.join("PG_VERSION").exists() {
            let (initdb, made) = (programs.initdb.clone(), home.clone());
            spawn_blocking(move || made.init(&initdb, account))
                .await
                .map_err(|failed| doing("initdb")(failed.into()))??;
        }
        let password =
            fs::read_to_string(home.password_file()).map_err(doing("reading the server's password"))?;
        let port = free_port().map_err(doing("looking for a free port"))?;
        let launch =
            PostgresLaunch { program: programs.postgres, account, home, port, options: options.clone() };
        let process = launch.start().await?;
        Ok(PostgresServer { process, launch, password: password.trim().to_owned() })
    }

    /// Starts it again after its process has ended, on the same port with the same data.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.process = self.launch.start().await?;
        Ok(())
    }

    /// The url of a database for a role. The server's own password opens `postgres`, the superuser; a role that is made
    /// with the password of this url is opened by it, too.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}:{}@127.0.0.1:{}/{database}", self.password, self.launch.port)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.launch.port
    }

    /// The folder that its data and log really lie in.
    pub fn folder(&self) -> &Path {
        &self.launch.home.folder
    }

    /// The server's process.
    pub fn process(&mut self) -> &mut ChildProcess {
        &mut self.process
    }

    /// Stops it in good order.
    pub async fn stop(mut self) {
        self.process.stop(ProcessSignal::Int, STOP_TIMEOUT).await;
    }

    /// Removes what a stopped server left below `folder`, its data included.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn wipe(folder: &Path) -> Result<(), ServerError> {
        let home = ClusterFolder::locate(folder, account()?)?;
        match fs::remove_dir_all(&home.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(doing(format!("removing {}", home.folder.display()))(error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // A kill would leave a segment of shared memory behind until the next start.
        self.process.signal(ProcessSignal::Int);
        let patience = std::time::Instant::now() + STOP_TIMEOUT;
        while self.process.exit_status().is_none() && std::time::Instant::now() < patience {
            std::thread::park_timeout(POLL_INTERVAL);
        }
    }
}

/// All that a start needs, so that a second one is like the first.
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
        let log = File::create(self.home.log()).map_err(doing("making the server's log"))?;
        let mut process = ChildCommand::new(&self.program)
            .args(arguments(&self.home, self.port, &self.options))
            .current_dir(&self.home.folder)
            .account(self.account)
            .parent_death_signal(ProcessSignal::Int)
            .log(log)
            .spawn()
            .map_err(doing("starting postgres"))?;
        ready(&mut process, &self.home).await?;
        Ok(process)
    }
}

#[derive(Debug)]
struct PostgresPrograms {
    initdb: PathBuf,
    postgres: PathBuf,
}

impl PostgresPrograms {
    fn find() -> Result<PostgresPrograms, ServerError> {
        let mut folders: Vec<PathBuf> = PROGRAM_FOLDERS
            .iter()
            .flat_map(|root| fs::read_dir(root).into_iter().flatten().flatten())
            .map(|version| version.path().join("bin"))
            .collect();
        folders.sort_by_key(|folder| std::cmp::Reverse(version_in(folder)));
        folders.extend(PROGRAM_FOLDERS.iter().map(|root| Path::new(root).join("bin")));
        let find = |program: &'static str| {
            find_program(program, &folders).ok_or(ServerError::NotInstalled { program, remedy: REMEDY })
        };
        Ok(PostgresPrograms { initdb: find("initdb")?, postgres: find("postgres")? })
    }
}

/// The number in `/usr/lib/postgresql/15/bin`.
fn version_in(folder: &Path) -> u32 {
    let version = folder.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    version.trim_start_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap_or(0)
}

/// The account to run as: `None` is this process's own.
fn account() -> Result<Option<UserAccount>, ServerError> {
    if !UserAccount::running_as_root() {
        return Ok(None);
    }
    UserAccount::unprivileged().map(Some).ok_or(ServerError::NoAccount { tried: UserAccount::TRIED })
}

/// Where a server's files lie.
#[derive(Debug, Clone)]
struct ClusterFolder {
    folder: PathBuf,
    data: PathBuf,
}

impl ClusterFolder {
    /// Where the files lie that belong to `folder`: below it, or in `/var/tmp` when the account cannot enter it.
    fn locate(folder: &Path, account: Option<UserAccount>) -> Result<ClusterFolder, ServerError> {
        let absolute = std::path::absolute(folder).map_err(doing(format!("finding {}", folder.display())))?;
        // The nearest folder that exists decides.
        let existing = absolute.ancestors().find(|step| step.exists()).unwrap_or(Path::new("/"));
        let reachable = account.is_none_or(|account| account.can_enter(existing));
        let folder = if reachable { absolute.join("postgres") } else { aside(&absolute) };
        Ok(ClusterFolder { data: folder.join("data"), folder })
    }

    fn prepare(folder: &Path, account: Option<UserAccount>) -> Result<ClusterFolder, ServerError> {
        let home = ClusterFolder::locate(folder, account)?;
        let making = || doing(format!("making {}", home.folder.display()));
        if let Some(parent) = home.folder.parent() {
            fs::create_dir_all(parent).map_err(making())?;
        }
        match fs::DirBuilder::new().mode(0o700).create(&home.folder) {
            Ok(()) => {
                if let Some(account) = account {
                    account.own(&home.folder).map_err(making())?;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let found = fs::symlink_metadata(&home.folder).map_err(making())?;
                let owner = account.map_or_else(own_uid, |account| Some(account.uid));
                if !found.is_dir() || owner.is_some_and(|owner| owner != found.uid()) {
                    return Err(ServerError::ForeignFolder(home.folder));
                }
            }
            Err(error) => return Err(making()(error)),
        }
        Ok(home)
    }

    fn password_file(&self) -> PathBuf {
        self.folder.join("password")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    /// Makes the cluster.
    fn init(&self, initdb: &Path, account: Option<UserAccount>) -> Result<(), ServerError> {
        // What an interrupted initdb left is of no use.
        if self.data.exists() {
            fs::remove_dir_all(&self.data).map_err(doing("removing a half-made cluster"))?;
        }
        let file = self.password_file();
        let mut secret = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&file)
            .map_err(doing("writing the server's password"))?;
        writeln!(secret, "{}", random_password()).map_err(doing("writing the server's password"))?;
        if let Some(account) = account {
            account.own(&file).map_err(doing("giving the password to the server"))?;
        }
        let log = File::create(self.log()).map_err(doing("making the log of initdb"))?;
        let mut process = ChildCommand::new(initdb)
            .args(["--username=postgres", "--auth=password", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .args(["--pgdata".into(), self.data.clone().into_os_string()])
            .args(["--pwfile".into(), file.into_os_string()])
            .current_dir(&self.folder)
            .account(account)
            .log(log)
            .spawn()
            .map_err(doing("starting initdb"))?;
        let status = process.wait_blocking().map_err(doing("waiting for initdb"))?;
        if status.success() {
            return Ok(());
        }
        Err(ServerError::Ended { program: "initdb", status: status.to_string(), said: tail(&self.log()) })
    }
}

fn own_uid() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|me| me.uid())
}

/// A folder that every account can enter, one for each folder that is asked for.
fn aside(folder: &Path) -> PathBuf {
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
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
    }
    settings.extend(options.settings.iter().cloned());
    let mut arguments = vec!["-D".into(), home.data.clone().into_os_string()];
    arguments.extend(settings.into_iter().flat_map(|setting| ["-c".into(), setting.into()]));
    arguments
}

/// Its own folder, unless its name is too long for a socket (107 bytes on Linux) or would be read as a list: then no
/// socket at all.
fn socket_folder(folder: &Path) -> String {
    let name = folder.to_string_lossy();
    if name.len() > 80 || name.contains([',', '"', '\'']) { String::new() } else { name.into_owned() }
}

/// Waits until the server says so in its pid file.
async fn ready(process: &mut ChildProcess, home: &ClusterFolder) -> Result<(), ServerError> {
    let pid_file = home.data.join("postmaster.pid");
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(status) = process.exit_status() {
            let (status, said) = (status.to_string(), tail(&home.log()));
            return Err(ServerError::Ended { program: "postgres", status, said });
        }
        let text = fs::read_to_string(&pid_file).unwrap_or_default();
        let mut lines = text.lines();
        let own = lines.next().is_some_and(|pid| pid == process.id().to_string());
        if own && lines.last().is_some_and(|state| state.trim() == "ready") {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(ServerError::Silent { program: "postgres", said: tail(&home.log()) });
        }
        sleep(POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_read_from_its_folder() {
        assert_eq!(version_in(Path::new("/usr/lib/postgresql/15/bin")), 15);
        assert_eq!(version_in(Path::new("/usr/lib/postgresql/pg17/bin")), 17);
        assert_eq!(version_in(Path::new("/usr/local/pgsql/bin")), 0);
    }

    #[test]
    fn a_folder_that_the_account_cannot_enter_is_replaced_by_one_that_all_can() {
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
    fn a_long_folder_gets_no_socket() {
        assert_eq!(socket_folder(Path::new("/tmp/x")), "/tmp/x");
        assert_eq!(socket_folder(Path::new(&"/long".repeat(20))), "");
    }
}
