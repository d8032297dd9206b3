//! Child processes that cannot outlive this process.
//!
//! A child is killed when its value is dropped, and the kernel signals it when this process dies.
//! The kernel ties a child to the *thread* that started it, so one thread that never ends starts
//! all children.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;
use std::{io, thread};

use tokio::time::{Instant, sleep};

use super::account::UserAccount;
use super::host::{POLL_INTERVAL, find_program};

/// A builder for a child process.
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
    /// Shut down cleanly.
    Term,
    /// Interrupt. A Postgres server disconnects its clients and shuts down cleanly.
    Int,
    /// End at once, without cleanup.
    Kill,
    /// Freeze.
    Stop,
    /// Continue after a freeze.
    Cont,
}

impl ProcessSignal {
    fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
        }
    }
}

impl ChildCommand {
    /// Creates a command for a program file. The child gets SIGKILL when this process dies.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
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
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable of the child.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Removes inherited environment variables.
    #[must_use]
    pub fn without_env<N: Into<OsString>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.removed_env.extend(names.into_iter().map(Into::into));
        self
    }

    /// Sets the working folder.
    #[must_use]
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Runs the child as another account, which requires root.
    #[must_use]
    pub fn account(mut self, account: Option<UserAccount>) -> Self {
        self.account = account;
        self
    }

    /// Sets the signal that the child gets when this process dies.
    #[must_use]
    pub fn parent_death_signal(mut self, signal: ProcessSignal) -> Self {
        self.parent_death_signal = signal;
        self
    }

    /// Writes standard output and error to a file. Without it they are discarded.
    #[must_use]
    pub fn log(mut self, log: File) -> Self {
        self.log = Some(log);
        self
    }

    /// Starts the child.
    ///
    /// # Errors
    /// Fails if the file cannot be run, or if `setpriv` is missing and an account is set.
    pub fn spawn(self) -> io::Result<ChildProcess> {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let child = spawn_on_lasting_thread(self.into_command()?)?;
        Ok(ChildProcess { name, child })
    }

    fn into_command(self) -> io::Result<Command> {
        let mut command = match find_program("setpriv", &[]) {
            Some(setpriv) => with_setpriv(&setpriv, &self.file, self.parent_death_signal, self.account),
            None if self.account.is_some() => {
                return Err(io::Error::new(io::ErrorKind::NotFound, "setpriv (util-linux) is not installed"));
            }
            None => Command::new(&self.file),
        };
        for name in &self.removed_env {
            command.env_remove(name);
        }
        // In its own process group, the child gets no Ctrl-C from the terminal: this process stops
        // its children in order.
        command.args(self.args).envs(self.env).stdin(Stdio::null()).process_group(0);
        if let Some(folder) = self.folder {
            command.current_dir(folder);
        }
        match self.log {
            Some(log) => command.stdout(log.try_clone()?).stderr(log),
            // An inherited stdout would mix the server's output into that of a command.
            None => command.stdout(Stdio::null()).stderr(Stdio::null()),
        };
        Ok(command)
    }
}

/// Wraps the program in `setpriv`, which sets the parent-death signal and the account.
fn with_setpriv(
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

/// A command for the spawning thread, and the channel for its result.
struct SpawnRequest {
    command: Command,
    reply: SyncSender<io::Result<Child>>,
}

fn spawn_on_lasting_thread(command: Command) -> io::Result<Child> {
    // One thread for the whole process. It never ends, so the parent-death signal only fires when
    // the process dies.
    static REQUESTS: OnceLock<Option<SyncSender<SpawnRequest>>> = OnceLock::new();
    let thread_ended = || io::Error::other("the thread that starts child processes has ended");
    let requests = REQUESTS.get_or_init(|| {
        let (sender, receiver) = sync_channel::<SpawnRequest>(16);
        let serve = move || {
            for mut request in receiver {
                // If the requester is gone, the child is dropped with the reply.
                let _ = request.reply.send(request.command.spawn());
            }
        };
        thread::Builder::new().name("processes".to_owned()).spawn(serve).ok().map(|_| sender)
    });
    let (reply, response) = sync_channel(1);
    requests
        .as_ref()
        .ok_or_else(thread_ended)?
        .send(SpawnRequest { command, reply })
        .map_err(|_| thread_ended())?;
    response.recv().map_err(|_| thread_ended())?
}

/// A running child process. It is killed when dropped.
#[derive(Debug)]
pub struct ChildProcess {
    name: String,
    child: Child,
}

impl ChildProcess {
    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the name of the program file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the exit status, or `None` while the process runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal. Returns false if the process has ended.
    pub fn signal(&mut self, signal: ProcessSignal) -> bool {
        if self.exit_status().is_some() {
            return false;
        }
        // `kill` of the shell needs no unsafe code, which a system call would.
        let script = format!("kill -s {} {}", signal.name(), self.child.id());
        let sent = Command::new("sh").arg("-c").arg(script).stderr(Stdio::null()).status();
        sent.is_ok_and(|status| status.success())
    }

    /// Waits for the process to end. Returns `None` on timeout.
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

    /// Waits for the process to end, without a timeout. Blocks the thread.
    ///
    /// # Errors
    /// Fails if the process cannot be waited for.
    pub fn wait_blocking(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Asks the process to end by a signal, and kills it after the timeout. Returns `None` if it
    /// had to be killed.
    pub async fn stop(&mut self, signal: ProcessSignal, timeout: Duration) -> Option<ExitStatus> {
        self.signal(signal);
        let status = self.wait(timeout).await;
        if status.is_none() {
            self.kill();
        }
        status
    }

    /// Kills the process, and waits until it has ended.
    pub fn kill(&mut self) {
        if self.exit_status().is_none() {
            // An error means that the process has just ended by itself.
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
    async fn process_ends_on_a_signal() {
        let mut process = sleeper();
        assert_eq!(process.name(), "sleep");
        assert!(process.exit_status().is_none());
        let status = process.stop(ProcessSignal::Term, Duration::from_secs(10)).await;
        assert!(status.is_some_and(|status| !status.success()), "{status:?}");
        assert!(!process.signal(ProcessSignal::Term), "an ended process takes no signal");
    }

    #[tokio::test]
    async fn dropped_process_is_killed() {
        let process = sleeper();
        let folder = PathBuf::from(format!("/proc/{}", process.id()));
        assert!(folder.exists());
        drop(process);
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn process_outlives_the_requesting_thread() {
        let mut process = thread::spawn(sleeper).join().expect("thread");
        assert_eq!(process.wait(Duration::from_millis(100)).await, None);
    }

    #[test]
    fn missing_program_file_is_an_error() {
        let mut process = match ChildCommand::new("/orchid/no/such/program").spawn() {
            Err(error) => return assert_eq!(error.kind(), io::ErrorKind::NotFound),
            Ok(process) => process,
        };
        // If setpriv wraps the program, setpriv itself fails later.
        let status = process.child.wait().expect("wait");
        assert!(!status.success());
    }
}
