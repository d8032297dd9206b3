//! Child processes that cannot outlive this one.
//!
//! In goes a program with its arguments; out comes a process that is killed when its value is dropped, and by the kernel
//! when this process dies. The kernel ties a child to the *thread* that started it, so one thread, which never ends,
//! starts them all.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{POLL_INTERVAL, UserAccount, find_program};

/// A program to start.
#[derive(Debug)]
pub struct ChildCommand {
    file: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    removed_env: Vec<OsString>,
    folder: Option<PathBuf>,
    account: Option<UserAccount>,
    parent_death_signal: ProcessSignal,
    log: Option<File>,
}

/// Signals that are sent to child processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessSignal {
    /// End in good order.
    Term,
    /// Interrupt; a Postgres server disconnects its clients and ends in good order.
    Int,
    /// End at once.
    Kill,
    /// Freeze.
    Stop,
    /// Go on after a freeze.
    Cont,
}

impl ProcessSignal {
    fn name(self) -> &'static str {
        match self {
            ProcessSignal::Term => "TERM",
            ProcessSignal::Int => "INT",
            ProcessSignal::Kill => "KILL",
            ProcessSignal::Stop => "STOP",
            ProcessSignal::Cont => "CONT",
        }
    }
}

impl ChildCommand {
    /// A program by its file; it gets SIGKILL when this process dies.
    pub fn new(file: impl Into<PathBuf>) -> ChildCommand {
        ChildCommand {
            file: file.into(),
            args: Vec::new(),
            env: Vec::new(),
            removed_env: Vec::new(),
            folder: None,
            account: None,
            parent_death_signal: ProcessSignal::Kill,
            log: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> ChildCommand {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> ChildCommand {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Keeps variables of this process's own environment from it.
    #[must_use]
    pub fn without_env<N: Into<OsString>>(mut self, names: impl IntoIterator<Item = N>) -> ChildCommand {
        self.removed_env.extend(names.into_iter().map(Into::into));
        self
    }

    /// The folder that it runs in.
    #[must_use]
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> ChildCommand {
        self.folder = Some(folder.into());
        self
    }

    /// Runs it as another account; only root may.
    #[must_use]
    pub fn account(mut self, account: Option<UserAccount>) -> ChildCommand {
        self.account = account;
        self
    }

    /// The signal that it gets when this process dies.
    #[must_use]
    pub fn parent_death_signal(mut self, signal: ProcessSignal) -> ChildCommand {
        self.parent_death_signal = signal;
        self
    }

    /// Where its standard output and error go; without it, nowhere.
    #[must_use]
    pub fn log(mut self, log: File) -> ChildCommand {
        self.log = Some(log);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the file cannot be run.
    pub fn spawn(self) -> io::Result<ChildProcess> {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let child = spawn_on_lasting_thread(self.into_command()?)?;
        Ok(ChildProcess { name, child })
    }

    fn into_command(self) -> io::Result<Command> {
        let mut command = match find_program("setpriv", &[]) {
            Some(setpriv) => wrapped(&setpriv, &self.file, self.parent_death_signal, self.account),
            None if self.account.is_some() => {
                return Err(io::Error::new(io::ErrorKind::NotFound, "setpriv (util-linux) is not installed"));
            }
            None => Command::new(&self.file),
        };
        for name in &self.removed_env {
            command.env_remove(name);
        }
        // A Ctrl-C at the terminal is for this process, which then stops its children in order.
        command.args(self.args).envs(self.env).stdin(Stdio::null()).process_group(0);
        if let Some(folder) = self.folder {
            command.current_dir(folder);
        }
        match self.log {
            Some(log) => command.stdout(log.try_clone()?).stderr(log),
            None => command.stdout(Stdio::null()).stderr(Stdio::null()),
        };
        Ok(command)
    }
}

fn wrapped(
    setpriv: &Path,
    file: &Path,
    parent_death_signal: ProcessSignal,
    account: Option<UserAccount>,
) -> Command {
    let mut command = Command::new(setpriv);
    command.arg("--pdeathsig").arg(parent_death_signal.name());
    if let Some(account) = account {
        command
            .arg(format!("--reuid={}", account.uid))
            .arg(format!("--regid={}", account.gid))
            .arg("--clear-groups");
    }
    command.arg("--").arg(file);
    command
}

struct SpawnRequest {
    command: Command,
    reply: SyncSender<io::Result<Child>>,
}

fn spawn_on_lasting_thread(command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<Option<SyncSender<SpawnRequest>>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts processes is gone");
    let orders = ORDERS.get_or_init(|| {
        let (sender, receiver) = sync_channel::<SpawnRequest>(16);
        let serve = move || {
            for mut order in receiver {
                // Whoever gave the order may have gone meanwhile; then the child goes with the reply.
                let _ = order.reply.send(order.command.spawn());
            }
        };
        thread::Builder::new().name("processes".to_owned()).spawn(serve).ok().map(|_| sender)
    });
    let (reply, answer) = sync_channel(1);
    orders.as_ref().ok_or_else(gone)?.send(SpawnRequest { command, reply }).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// A running child process; killed when dropped.
#[derive(Debug)]
pub struct ChildProcess {
    name: String,
    child: Child,
}

impl ChildProcess {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The name of its program.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it ended, if it did.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal; false when the process is gone.
    pub fn signal(&mut self, signal: ProcessSignal) -> bool {
        if self.exit_status().is_some() {
            return false;
        }
        let script = format!("kill -s {} {}", signal.name(), self.child.id());
        let sent = Command::new("sh").arg("-c").arg(script).stderr(Stdio::null()).status();
        sent.is_ok_and(|status| status.success())
    }

    /// Waits for the end; `None` when it did not come in time.
    pub async fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exit_status() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits for the end, however long it takes; blocks the thread.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn wait_blocking(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Asks it to end by a signal, and kills it when it has not ended in time; `None` when it had to be killed.
    pub async fn stop(&mut self, signal: ProcessSignal, timeout: Duration) -> Option<ExitStatus> {
        self.signal(signal);
        let status = self.wait(timeout).await;
        if status.is_none() {
            self.kill();
        }
        status
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.exit_status().is_none() {
            // An error means that it ended by itself in this moment.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> ChildProcess {
        ChildCommand::new("sleep").args(["600"]).spawn().expect("sleep starts")
    }

    #[tokio::test]
    async fn a_process_ends_by_a_signal() {
        let mut process = sleeper();
        assert_eq!(process.name(), "sleep");
        assert!(process.exit_status().is_none());
        let status = process.stop(ProcessSignal::Term, Duration::from_secs(10)).await;
        assert!(status.is_some_and(|status| !status.success()), "{status:?}");
        assert!(!process.signal(ProcessSignal::Term), "a process that is gone takes no signal");
    }

    #[tokio::test]
    async fn a_dropped_process_is_gone() {
        let process = sleeper();
        let folder = PathBuf::from(format!("/proc/{}", process.id()));
        assert!(folder.exists());
        drop(process);
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn a_process_outlives_the_thread_that_asked_for_it() {
        let mut process = thread::spawn(sleeper).join().expect("thread");
        assert_eq!(process.wait(Duration::from_millis(100)).await, None);
    }

    #[test]
    fn a_file_that_is_no_program_is_an_error() {
        let mut process = match ChildCommand::new("/orchid/no/such/program").spawn() {
            Err(error) => return assert_eq!(error.kind(), io::ErrorKind::NotFound),
            Ok(process) => process,
        };
        // With setpriv in front, it is setpriv that fails.
        let status = process.child.wait().expect("wait");
        assert!(!status.success());
    }
}
