//! What all steps of a run share: who it is, what it may do, what it knows, and what it did.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orchid_plan::{Definition, Value};

use super::context::{Changes, Context};
use crate::checkpoint::Finished;
use crate::error::StartError;
use crate::input::{Now, TryId, WaitId};
use crate::job::{Job, RunLimits};
use crate::message::Origin;
use crate::message::redact::Redactor;
use crate::progress::{Progress, Warning};
use crate::request::HostPolicy;

/// The run, apart from the step it is at.
pub(super) struct Run {
    pub(super) origin: Origin,
    pub(super) redactor: Redactor,
    pub(super) definition: Arc<Definition>,
    pub(super) config: Value,
    pub(super) limits: RunLimits,
    pub(super) seed: u64,
    pub(super) context: Context,
    /// Context changes since the last place.
    pub(super) changes: Changes,
    pub(super) finished: FinishedSteps,
    pub(super) progress: Progress,
    /// Something was ignored, left out or limited.
    pub(super) partial: bool,
    /// Every loop so far ended by itself.
    pub(super) complete: bool,
    allowed_hosts: Option<Arc<[String]>>,
    /// Execution time of earlier attempts, and when this one began.
    ran: Duration,
    began: Option<Duration>,
    tries: u64,
    waits: u64,
}

/// Values of finished steps that later ones read.
#[derive(Default)]
pub(super) struct FinishedSteps {
    pub(super) values: BTreeMap<String, Value>,
    /// All of them as one object, for scopes.
    pub(super) object: Option<Value>,
    /// Something came since the last place.
    pub(super) changed: bool,
}

impl FinishedSteps {
    pub(super) fn insert(&mut self, id: &str, value: Value) {
        self.values.insert(id.to_owned(), value);
        self.changed = true;
        self.refresh();
    }

    fn refresh(&mut self) {
        self.object = Some(Value::object(self.values.iter().map(|(id, value)| (id.as_str(), value.clone()))));
    }
}

impl Run {
    /// Takes a job apart. Its checkpoint's place is the caller's to read.
    pub(super) fn new(job: Job) -> Result<Run, StartError> {
        let values: serde_json::Value = serde_json::from_slice(&job.config.values)
            .map_err(|error| StartError::Config(error.to_string()))?;
        if !values.is_object() {
            return Err(StartError::Config("they are no object".to_owned()));
        }
        let config =
            Value::parse(&job.config.values).map_err(|error| StartError::Config(error.to_string()))?;
        let context =
            Context::read(job.context).map_err(|(name, reason)| StartError::Context { name, reason })?;
        let mut finished = FinishedSteps::default();
        if let Some(bytes) = job.resume.as_ref().and_then(|saved| saved.finished.as_ref()) {
            finished.values =
                Finished::decode(bytes).map_err(|error| StartError::Checkpoint(error.to_string()))?;
            finished.refresh();
        }
        let hosts = job.config.allowed_hosts;
        Ok(Run {
            origin: Origin::new(&job.identity, &job.trace),
            redactor: Redactor::new(&values, &job.config.secret_pointers).with(&job.config.secrets),
            definition: job.definition,
            config,
            limits: job.limits,
            seed: job.seed,
            context,
            changes: Changes::new(),
            finished,
            progress: job.resume.map(|saved| saved.progress).unwrap_or_default(),
            partial: false,
            complete: true,
            allowed_hosts: (!hosts.is_empty()).then(|| hosts.into()),
            ran: job.ran,
            began: None,
            tries: 0,
            waits: 0,
        })
    }

    pub(super) fn begin(&mut self, now: Now) {
        self.began = Some(now.monotonic);
    }

    /// Execution time that is left to the run.
    pub(super) fn time_left(&self, now: Now) -> Duration {
        let running = self.began.map_or(Duration::ZERO, |began| now.monotonic.saturating_sub(began));
        self.definition.max_execution.saturating_sub(self.ran + running)
    }

    pub(super) fn next_try(&mut self) -> TryId {
        self.tries += 1;
        TryId(self.tries)
    }

    pub(super) fn next_wait(&mut self) -> WaitId {
        self.waits += 1;
        WaitId(self.waits)
    }

    /// Hosts that a step with this home may reach.
    pub(super) fn hosts(&self, home: &url::Url) -> HostPolicy {
        match &self.allowed_hosts {
            Some(patterns) => HostPolicy::Allowed(patterns.clone()),
            None => HostPolicy::SameAs(home.clone()),
        }
    }

    /// Adds a warning, unless the same code and pointer stands there.
    pub(super) fn warn(&mut self, warning: Warning) {
        let known = |before: &Warning| before.code == warning.code && before.pointer == warning.pointer;
        if !self.progress.warnings.iter().any(known) {
            self.progress.warnings.push(warning);
        }
    }
}
