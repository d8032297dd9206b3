//! One child process of the stack: started, waited for, watched, started again with back-off when it dies.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use orchid_kit::{
    address_file::read_address,
    backoff::Backoff,
    clock,
    servers::{ChildCommand, ChildProcess, ProcessSignal, orchid_variables},
};
use tokio::time;

use crate::console::Console;

const SERVES_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
/// A child that ran this long had a good start: the next failure is a new one.
const SETTLED_AFTER: Duration = Duration::from_secs(20);

/// What to run.
#[derive(Clone)]
pub(crate) struct Recipe {
    /// The child's name, in logs and notices.
    pub name: String,
    /// Its program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<&'static str>,
    /// Its settings, as environment.
    pub settings: Vec<(&'static str, String)>,
}

/// A child that shall always run.
pub(crate) struct Service {
    recipe: Recipe,
    log: PathBuf,
    announcement: PathBuf,
    process: Option<ChildProcess>,
    backoff: Backoff,
    state: State,
}

enum State {
    /// Started; has not told its address yet.
    Starting { since: Instant },
    /// Serves at this address.
    Serving { address: String, since: Instant },
    /// Ended; starts again then.
    Down { again_at: Instant },
}

impl Service {
    /// Starts it and waits until it serves. Its log and its address go into `folder`.
    pub(crate) async fn start(recipe: Recipe, folder: &Path) -> anyhow::Result<Self> {
        let mut service = Self {
            log: log_file(folder, &recipe.name),
            announcement: folder.join(format!("{}.address", recipe.name)),
            recipe,
            process: None,
            backoff: Backoff::new(Duration::from_millis(250), Duration::from_secs(10)),
            state: State::Starting { since: clock::monotonic() },
        };
        service.spawn()?;
        let deadline = clock::monotonic() + SERVES_WITHIN;
        loop {
            if let Some(ending) = service.ended() {
                bail!("{} ended before it served ({ending}){}", service.name(), service.last_words());
            }
            if let Some(address) = read_address(&service.announcement) {
                service.state = State::Serving { address, since: clock::monotonic() };
                return Ok(service);
            }
            if clock::monotonic() > deadline {
                let seconds = SERVES_WITHIN.as_secs();
                bail!("{} did not serve within {seconds} s{}", service.name(), service.last_words());
            }
            time::sleep(POLL).await;
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.recipe.name
    }

    /// Where it serves; empty while it does not.
    pub(crate) fn address(&self) -> &str {
        match &self.state {
            State::Serving { address, .. } => address,
            State::Starting { .. } | State::Down { .. } => "",
        }
    }

    /// Looks after it: notices its end, starts it again when it is time, says both in a line each.
    pub(crate) fn tend(&mut self, now: Instant, console: Console) {
        if let Some(ending) = self.ended() {
            self.process = None;
            let settled = matches!(self.state, State::Serving { since, .. } if now - since > SETTLED_AFTER);
            if settled {
                self.backoff.reset();
            }
            let delay = self.backoff.next_delay();
            self.state = State::Down { again_at: now + delay };
            let (name, log) = (self.name(), self.log.display());
            console.notice(format!(
                "{name} ended ({ending}); it starts again in {} ms; its log: {log}",
                delay.as_millis()
            ));
        }
        match &self.state {
            State::Down { again_at } if *again_at <= now => {
                self.state = State::Starting { since: now };
                if let Err(error) = self.spawn() {
                    self.state = State::Down { again_at: now + self.backoff.next_delay() };
                    console.notice(format!("{} does not start: {error:#}", self.name()));
                }
            }
            State::Starting { since } => {
                if let Some(address) = read_address(&self.announcement) {
                    let took = now - *since;
                    console.notice(format!("{} serves again after {} ms", self.name(), took.as_millis()));
                    self.state = State::Serving { address, since: now };
                }
            }
            State::Serving { .. } | State::Down { .. } => {}
        }
    }

    /// Asks it to stop; [`Service::stopped`] waits for that.
    pub(crate) fn ask_to_stop(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal(ProcessSignal::Term);
        }
    }

    /// Waits until it has stopped; kills it when it takes longer than `patience`.
    pub(crate) async fn stopped(&mut self, patience: Duration) {
        if let Some(mut process) = self.process.take()
            && process.wait(patience).await.is_none()
        {
            process.kill();
        }
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        // An address of an earlier start would be taken for the new one.
        let _ = fs::remove_file(&self.announcement);
        let program =
            program(&self.recipe, &self.log)?.args(["--announce"]).args([self.announcement.clone()]);
        let started = program.spawn().with_context(|| format!("cannot start {}", self.name()))?;
        self.process = Some(started);
        Ok(())
    }

    fn ended(&mut self) -> Option<String> {
        self.process.as_mut()?.exit_status().map(|status| status.to_string())
    }

    fn last_words(&self) -> String {
        last_words(&self.log)
    }
}

/// Runs something to its end; an error quotes its last words.
pub(super) async fn run_once(recipe: &Recipe, folder: &Path, within: Duration) -> anyhow::Result<()> {
    let log = log_file(folder, &recipe.name);
    let name = &recipe.name;
    let mut process = program(recipe, &log)?.spawn().with_context(|| format!("cannot start {name}"))?;
    match process.wait(within).await {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("{name} failed ({status}){}", last_words(&log)),
        None => bail!("{name} was not done within {} s{}", within.as_secs(), last_words(&log)),
    }
}

fn log_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

/// The program with its settings and nobody else's: this process's own `ORCHID_…` are not meant for its children.
fn program(recipe: &Recipe, log: &Path) -> anyhow::Result<ChildCommand> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    let mut program = ChildCommand::new(&recipe.program)
        .without_env(orchid_variables())
        .args(recipe.arguments.clone())
        .log(log);
    for (name, value) in &recipe.settings {
        program = program.env(*name, value);
    }
    Ok(program)
}

/// The end of a log, as the end of an error message.
fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
    format!("; its log, {}, ends:\n  {last}", log.display())
}
