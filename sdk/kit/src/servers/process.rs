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

use super::{Account, POLL_INTERVAL, find_program};

/// A program to start.
#[derive(Debug)]
pub struct Program {
    file: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    withheld: Vec<OsString>,
    folder: Option<PathBuf>,
    account: Option<Account>,
    orphaned: Signal,
    log: Option<File>,
}

/// Signals that are sent to child processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
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

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Term => "TERM",
            Signal::Int => "INT",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Cont => "CONT",
        }
    }
}

impl Program {
    /// A program by its file; it gets SIGKILL when this process dies.
    pub fn new(file: impl Into<PathBuf>) -> Program {
        Program {
            file: file.into(),
            args: Vec::new(),
            env: Vec::new(),
            withheld: Vec::new(),
            folder: None,
            account: None,
            orphaned: Signal::Kill,
            log: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Program {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Program {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Keeps variables of this process's own environment from it.
    #[must_use]
    pub fn without_env<N: Into<OsString>>(mut self, names: impl IntoIterator<Item = N>) -> Program {
        self.withheld.extend(names.into_iter().map(Into::into));
        self
    }

    /// The folder that it runs in.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Program {
        self.folder = Some(folder.into());
        self
    }

    /// Runs it as another account; only root may.
    #[must_use]
    pub fn account(mut self, account: Option<Account>) -> Program {
        self.account = account;
        self
    }

    /// The signal that it gets when this process dies.
    #[must_use]
    pub fn orphaned(mut self, signal: Signal) -> Program {
        self.orphaned = signal;
        self
    }

    /// Where its standard output and error go; without it, nowhere.
    #[must_use]
    pub fn log(mut self, log: File) -> Program {
        self.log = Some(log);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When the file cannot be run.
    pub fn spawn(self) -> io::Result<Process> {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let child = spawn_on_lasting_thread(self.into_command()?)?;
        Ok(Process { name, child })
    }

    fn into_command(self) -> io::Result<Command> {
        let mut command = match find_program("setpriv", &[]) {
            Some(setpriv) => wrapped(&setpriv, &self.file, self.orphaned, self.account),
            None if self.account.is_some() => {
                return Err(io::Error::new(io::ErrorKind::NotFound, "setpriv (util-linux) is not installed"));
            }
            None => Command::new(&self.file),
        };
        for name in &self.withheld {
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

fn wrapped(setpriv: &Path, file: &Path, orphaned: Signal, account: Option<Account>) -> Command {
    let mut command = Command::new(setpriv);
    command.arg("--pdeathsig").arg(orphaned.name());
    if let Some(account) = account {
        command
            .arg(format!("--reuid={}", account.uid))
            .arg(format!("--regid={}", account.gid))
            .arg("--clear-groups");
    }
    command.arg("--").arg(file);
    command
}

struct Order {
    command: Command,
    reply: SyncSender<io::Result<Child>>,
}

fn spawn_on_lasting_thread(command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<Option<SyncSender<Order>>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts processes is gone");
    let orders = ORDERS.get_or_init(|| {
        let (sender, receiver) = sync_channel::<Order>(16);
        let serve = move || {
            for mut order in receiver {
                // Whoever gave the order may have gone meanwhile; then the child goes with the reply.
                let _ = order.reply.send(order.command.spawn());
            }
        };
        thread::Builder::new().name("processes".to_owned()).spawn(serve).ok().map(|_| sender)
    });
    let (reply, answer) = sync_channel(1);
    orders.as_ref().ok_or_else(gone)?.send(Order { command, reply }).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// A running child process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The name of its program.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal; false when the process is gone.
    pub fn signal(&mut self, signal: Signal) -> bool {
        if self.ended().is_some() {
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
            if let Some(status) = self.ended() {
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
    pub fn finish(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Asks it to end by a signal, and kills it when it has not ended in time; `None` when it had to be killed.
    pub async fn stop(&mut self, signal: Signal, timeout: Duration) -> Option<ExitStatus> {
        self.signal(signal);
        let status = self.wait(timeout).await;
        if status.is_none() {
            self.kill();
        }
        status
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            // An error means that it ended by itself in this moment.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Process {
        Program::new("sleep").args(["600"]).spawn().expect("sleep starts")
    }

    #[tokio::test]
    async fn a_process_ends_by_a_signal() {
        let mut process = sleeper();
        assert_eq!(process.name(), "sleep");
        assert!(process.ended().is_none());
        let status = process.stop(Signal::Term, Duration::from_secs(10)).await;
        assert!(status.is_some_and(|status| !status.success()), "{status:?}");
        assert!(!process.signal(Signal::Term), "a process that is gone takes no signal");
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
        let mut process = match Program::new("/orchid/no/such/program").spawn() {
            Err(error) => return assert_eq!(error.kind(), io::ErrorKind::NotFound),
            Ok(process) => process,
        };
        // With setpriv in front, it is setpriv that fails.
        let status = process.child.wait().expect("wait");
        assert!(!status.success());
    }
}
