//! What all steps of a run share: who it is, what it may do, what it knows, and what it did.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orchid_plan::{Definition, Value};

use super::context::Context;
use super::halt::What;
use super::kept::{Cursors, Kept};
use super::program::{Node, Program};
use super::watch::{Seen, Watch};
use crate::CANCEL_GRACE;
use crate::attempt::{AttemptSpec, ExecutionLimits};
use crate::error::StartError;
use crate::input::{CurrentTime, TimerId, TryId};
use crate::message::MessageOrigin;
use crate::message::exchange::{HttpExchange, ReceivedResponse, SentRequest};
use crate::message::redact::Redactor;
use crate::progress::{Progress, Warning};
use crate::request::HostPolicy;

/// The run, apart from where it is.
pub(super) struct Run {
    pub(super) origin: MessageOrigin,
    pub(super) redactor: Redactor,
    /// Stands for the request of a page that emits nothing.
    pub(super) no_exchange: HttpExchange,
    pub(super) definition: Arc<Definition>,
    pub(super) program: Program,
    pub(super) config: Value,
    pub(super) limits: ExecutionLimits,
    pub(super) seed: u64,
    pub(super) progress: Progress,
    /// Something was ignored, left out or limited.
    pub(super) partial: bool,
    /// Every loop so far ended by itself.
    pub(super) complete: bool,
    /// What was seen of the answers of each step, by its index.
    pub(super) watches: Vec<Watch>,
    pub(super) cursors: Kept,
    /// A value that there was no room for ends the run.
    pub(super) not_kept: Option<Box<What>>,
    /// Those that this run began with, where a later instance of the step begins with the same.
    pub(super) began: BTreeMap<String, Bytes>,
    /// Cursors that changed since the last place.
    pub(super) cursor_changes: Cursors,
    /// Validators that changed. They are saved where the run succeeds: what an upstream is told to leave out must not be needed
    /// again by a later attempt.
    pub(super) validators: Cursors,
    /// Lists of `for_each` that places refer to, by the step's path.
    pub(super) lists: BTreeMap<String, Value>,
    /// A list or the value of a finished step came since the last place.
    pub(super) finished_changed: bool,
    /// Something that a place says has changed since the last one.
    pub(super) moved: bool,
    /// Steps that wait longer than an executor holds a run for: no further row starts.
    pub(super) parking: bool,
    /// The run has ended, and only tells upstreams.
    pub(super) farewell: bool,
    /// Tries under way.
    pub(super) in_flight: usize,
    /// Where the answers to tries belong, and the ends of waits.
    tries: HashMap<TryId, Box<[u64]>>,
    waits: HashMap<TimerId, Box<[u64]>>,
    allowed_hosts: Option<Arc<[String]>>,
    /// Where the last error was, and how many stood there before it.
    pub(super) last_error: Option<(String, u32)>,
    /// Execution time of earlier attempts, and when this one began.
    ran: Duration,
    began_at: Option<Duration>,
    next_try: u64,
    next_wait: u64,
}

impl Run {
    /// Takes a job apart. Its checkpoint's place and its context are the caller's to read.
    pub(super) fn new(job: &mut AttemptSpec) -> Result<Run, StartError> {
        let values: serde_json::Value = serde_json::from_slice(&job.config.values)
            .map_err(|error| StartError::Config(error.to_string()))?;
        if !values.is_object() {
            return Err(StartError::Config("they are no object".to_owned()));
        }
        let config =
            Value::parse(&job.config.values).map_err(|error| StartError::Config(error.to_string()))?;
        let hosts = std::mem::take(&mut job.config.allowed_hosts);
        let program = Program::new(&job.definition);
        let watches = program.nodes.iter().map(|node| Watch::new(&node.step, Seen::default())).collect();
        let redactor = Redactor::new(&values, &job.config.secret_pointers).with_secrets(&job.config.secrets);
        Ok(Run {
            origin: MessageOrigin::new(&job.identity, &job.trace),
            no_exchange: HttpExchange::new(&SentRequest::default(), &ReceivedResponse::default(), &redactor),
            redactor,
            definition: job.definition.clone(),
            program,
            config,
            limits: job.limits.clone(),
            seed: job.seed,
            progress: job.resume.as_ref().map(|saved| saved.progress.clone()).unwrap_or_default(),
            partial: false,
            complete: true,
            watches,
            cursors: Kept::new(std::mem::take(&mut job.cursors)),
            not_kept: None,
            began: BTreeMap::new(),
            cursor_changes: Cursors::new(),
            validators: Cursors::new(),
            lists: BTreeMap::new(),
            finished_changed: false,
            moved: false,
            parking: false,
            farewell: false,
            in_flight: 0,
            tries: HashMap::new(),
            waits: HashMap::new(),
            allowed_hosts: (!hosts.is_empty()).then(|| hosts.into()),
            last_error: None,
            ran: job.time_used,
            began_at: None,
            next_try: 0,
            next_wait: 0,
        })
    }

    /// The context as it stood at the grant.
    pub(super) fn context(job: &mut AttemptSpec) -> Result<Context, StartError> {
        Context::read(std::mem::take(&mut job.context))
            .map_err(|(name, reason)| StartError::Context { name, reason })
    }

    pub(super) fn begin(&mut self, now: CurrentTime) {
        self.began_at = Some(now.monotonic);
    }

    /// Execution time that is left to the run.
    pub(super) fn time_left(&self, now: CurrentTime) -> Duration {
        if self.farewell {
            return CANCEL_GRACE;
        }
        let running = self.began_at.map_or(Duration::ZERO, |began| now.monotonic.saturating_sub(began));
        self.definition.max_execution.saturating_sub(self.ran + running)
    }

    /// A name for a try of whoever is at `route`.
    pub(super) fn next_try(&mut self, route: &[u64]) -> TryId {
        self.next_try += 1;
        let try_id = TryId(self.next_try);
        self.tries.insert(try_id, route.into());
        self.in_flight += 1;
        try_id
    }

    /// A name for a wait of whoever is at `route`.
    pub(super) fn next_wait(&mut self, route: &[u64]) -> TimerId {
        self.next_wait += 1;
        let timer_id = TimerId(self.next_wait);
        self.waits.insert(timer_id, route.into());
        timer_id
    }

    /// Who waits for this try. It stays known while its body comes in pieces.
    pub(super) fn route_of_try(&self, try_id: TryId) -> Option<Box<[u64]>> {
        self.tries.get(&try_id).cloned()
    }

    /// Nothing more comes of a try.
    pub(super) fn try_ended(&mut self, try_id: TryId) {
        if self.tries.remove(&try_id).is_some() {
            self.in_flight -= 1;
        }
    }

    /// Who waits for this time; asked once.
    pub(super) fn route_of_wait(&mut self, timer_id: TimerId) -> Option<Box<[u64]>> {
        self.waits.remove(&timer_id)
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

    /// Something of the run is not as the upstream has it.
    pub(super) fn left_out(&mut self) {
        (self.partial, self.complete) = (true, false);
    }

    pub(super) fn watch(&mut self, node: &Node) -> &mut Watch {
        &mut self.watches[node.index]
    }

    /// What was seen so far, by the path of each step, for a place.
    pub(super) fn seen(&self) -> BTreeMap<String, Seen> {
        let nodes = self.program.nodes.iter().zip(&self.watches);
        nodes.filter_map(|(node, watch)| Some((node.path.clone(), watch.seen()?.clone()))).collect()
    }

    /// The reverse.
    pub(super) fn restore_seen(&mut self, mut seen: BTreeMap<String, Seen>) {
        for (node, watch) in self.program.nodes.iter().zip(&mut self.watches) {
            if let Some(seen) = seen.remove(&node.path) {
                *watch = Watch::new(&node.step, seen);
            }
        }
    }
}
