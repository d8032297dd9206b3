//! A child process of the stack: starts it, waits until it serves, and restarts it with backoff
//! when it ends.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use orchid_kit::address_file::read_address;
use orchid_kit::backoff::Backoff;
use orchid_kit::clock;
use orchid_kit::servers::{ChildCommand, ChildProcess, ProcessSignal, orchid_variables};
use orchid_kit::stall::StallDetector;
use tokio::time;

use crate::console::Console;

/// The time without a new line in its log after which a starting child counts as stuck.
const STALL_LIMIT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The time after which a child counts as stable, so that its next end resets the backoff.
const STABLE_AFTER: Duration = Duration::from_secs(20);

/// The program of a child process with its arguments and settings.
#[derive(Clone)]
pub(crate) struct ChildSettings {
    /// The child's name in logs and notices.
    pub name: String,
    /// The path of the program.
    pub program: PathBuf,
    /// The arguments.
    pub arguments: Vec<&'static str>,
    /// The settings, as environment variables.
    pub settings: Vec<(&'static str, String)>,
}

/// A child process that is restarted whenever it ends.
pub(crate) struct ChildService {
    settings: ChildSettings,
    log: PathBuf,
    announcement: PathBuf,
    process: Option<ChildProcess>,
    backoff: Backoff,
    state: ServiceState,
}

/// The state of a child process.
enum ServiceState {
    /// It has started, but has not announced its address yet.
    Starting { since: Instant },
    /// It serves at this address.
    Serving { address: String, since: Instant },
    /// It has ended; the next start is due at this time.
    Down { restart_at: Instant },
}

impl ChildService {
    /// Starts a child and waits until it serves. Its log and its address are files in `folder`.
    ///
    /// # Errors
    /// When it cannot be started, ends, or makes no progress before it serves.
    pub(crate) async fn start(settings: ChildSettings, folder: &Path) -> anyhow::Result<Self> {
        let mut service = Self {
            log: log_file(folder, &settings.name),
            announcement: folder.join(format!("{}.address", settings.name)),
            settings,
            process: None,
            backoff: Backoff::new(Duration::from_millis(250), Duration::from_secs(10)),
            state: ServiceState::Starting { since: clock::monotonic() },
        };
        service.spawn()?;
        let mut detector = StallDetector::new(STALL_LIMIT, clock::monotonic());
        loop {
            if let Some(status) = service.ended() {
                bail!("{} ended before it served ({status}){}", service.name(), service.log_tail());
            }
            if let Some(address) = read_address(&service.announcement) {
                service.state = ServiceState::Serving { address, since: clock::monotonic() };
                return Ok(service);
            }
            let log_length = service.log.metadata().map_or(0, |log| log.len());
            if detector.stalled(clock::monotonic(), log_length) {
                let seconds = STALL_LIMIT.as_secs();
                bail!(
                    "{} made no progress for {seconds} s before it served{}",
                    service.name(),
                    service.log_tail()
                );
            }
            time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns the child's name.
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Returns the address at which it serves; empty while it does not.
    pub(crate) fn address(&self) -> &str {
        match &self.state {
            ServiceState::Serving { address, .. } => address,
            ServiceState::Starting { .. } | ServiceState::Down { .. } => "",
        }
    }

    /// Checks the child once: schedules a restart after its end, restarts it when that is due, and
    /// prints a line for each.
    pub(crate) fn supervise(&mut self, now: Instant, console: Console) {
        if let Some(status) = self.ended() {
            self.process = None;
            let stable =
                matches!(self.state, ServiceState::Serving { since, .. } if now - since > STABLE_AFTER);
            if stable {
                self.backoff.reset();
            }
            let delay = self.backoff.next_delay();
            self.state = ServiceState::Down { restart_at: now + delay };
            let (name, log) = (self.name(), self.log.display());
            console.notice(format!(
                "{name} ended ({status}); restarting it in {} ms; see {log}",
                delay.as_millis()
            ));
        }
        match &self.state {
            ServiceState::Down { restart_at } if *restart_at <= now => {
                self.state = ServiceState::Starting { since: now };
                if let Err(error) = self.spawn() {
                    self.state = ServiceState::Down { restart_at: now + self.backoff.next_delay() };
                    console.notice(format!("cannot restart {}: {error:#}", self.name()));
                }
            }
            ServiceState::Starting { since } => {
                if let Some(address) = read_address(&self.announcement) {
                    let took = now - *since;
                    console.notice(format!("{} is serving again after {} ms", self.name(), took.as_millis()));
                    self.state = ServiceState::Serving { address, since: now };
                }
            }
            ServiceState::Serving { .. } | ServiceState::Down { .. } => {}
        }
    }

    /// Asks the child to stop; [`ChildService::wait_stopped`] waits for its end.
    pub(crate) fn ask_to_stop(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal(ProcessSignal::Term);
        }
    }

    /// Waits until the child has ended, and kills it after `timeout`.
    pub(crate) async fn wait_stopped(&mut self, timeout: Duration) {
        if let Some(mut process) = self.process.take()
            && process.wait(timeout).await.is_none()
        {
            process.kill();
        }
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        // The address of an earlier start must not be mistaken for the new one.
        let _ = fs::remove_file(&self.announcement);
        let program =
            program(&self.settings, &self.log)?.args(["--announce"]).args([self.announcement.clone()]);
        let started = program.spawn().with_context(|| format!("cannot start {}", self.name()))?;
        self.process = Some(started);
        Ok(())
    }

    fn ended(&mut self) -> Option<String> {
        self.process.as_mut()?.exit_status().map(|status| status.to_string())
    }

    fn log_tail(&self) -> String {
        log_tail(&self.log)
    }
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be started, fails, or takes longer than `timeout`; the message quotes its log.
pub(super) async fn run_once(
    settings: &ChildSettings,
    folder: &Path,
    timeout: Duration,
) -> anyhow::Result<()> {
    let log = log_file(folder, &settings.name);
    let name = &settings.name;
    let mut process = program(settings, &log)?.spawn().with_context(|| format!("cannot start {name}"))?;
    match process.wait(timeout).await {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{name} failed ({status}){}", log_tail(&log)),
        None => bail!("{name} did not finish within {} s{}", timeout.as_secs(), log_tail(&log)),
    }
}

fn log_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

/// Returns the program with its own settings. This process's `ORCHID_…` variables are removed: a
/// child would refuse those it does not know.
fn program(settings: &ChildSettings, log: &Path) -> anyhow::Result<ChildCommand> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    let mut program = ChildCommand::new(&settings.program)
        .without_env(orchid_variables())
        .args(settings.arguments.clone())
        .log(log);
    for (name, value) in &settings.settings {
        program = program.env(*name, value);
    }
    Ok(program)
}

/// Returns the last lines of a log as the end of an error message.
fn log_tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
    format!("; its log {} ends with:\n  {last}", log.display())
}
