//! What all steps of a run share: who it is, what it may do, what it knows, and what it did.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orchid_plan::{Definition, Value};

use crate::attempt::{AttemptSpec, ExecutionLimits};
use crate::checkpoint::path_observations::PathObservations;
use crate::error::StartError;
use crate::input::{CurrentTime, TimerId, TryId};
use crate::limits::CANCEL_GRACE;
use crate::message::MessageOrigin;
use crate::message::exchange::{HttpExchange, ReceivedResponse, SentRequest};
use crate::message::redact::Redactor;
use crate::program::node::{Program, StepNode};
use crate::progress::{Progress, Warning};
use crate::request::HostPolicy;
use crate::state::context::Context;
use crate::state::cursor_store::{CursorStore, CursorValues};
use crate::state::error_detail::ErrorDetail;
use crate::state::path_check::PathCheck;

/// The run, apart from where it is.
pub(crate) struct ExecutionState {
    pub(crate) origin: MessageOrigin,
    pub(crate) redactor: Redactor,
    /// Stands for the request of a page that emits nothing.
    pub(crate) no_exchange: HttpExchange,
    pub(crate) definition: Arc<Definition>,
    pub(crate) program: Program,
    pub(crate) config: Value,
    pub(crate) limits: ExecutionLimits,
    pub(crate) seed: u64,
    pub(crate) progress: Progress,
    /// Something was ignored, left out or limited.
    pub(crate) partial: bool,
    /// Every loop so far ended by itself.
    pub(crate) complete: bool,
    /// What was seen of the answers of each step, by its index.
    pub(crate) watches: Vec<PathCheck>,
    pub(crate) cursors: CursorStore,
    /// A value that there was no room for ends the run.
    pub(crate) cursor_overflow: Option<Box<ErrorDetail>>,
    /// Those that this run began with, where a later instance of the step begins with the same.
    pub(crate) began: BTreeMap<String, Bytes>,
    /// Cursors that changed since the last place.
    pub(crate) cursor_changes: CursorValues,
    /// Validators that changed. They are saved where the run succeeds: what an upstream is told to leave out must not be needed
    /// again by a later attempt.
    pub(crate) validators: CursorValues,
    /// Lists of `for_each` that places refer to, by the step's path.
    pub(crate) lists: BTreeMap<String, Value>,
    /// A list or the value of a finished step came since the last place.
    pub(crate) finished_changed: bool,
    /// Something that a place says has changed since the last one.
    pub(crate) moved: bool,
    /// Steps that wait longer than an executor holds a run for: no further row starts.
    pub(crate) parking: bool,
    /// The run has ended, and only tells upstreams.
    pub(crate) farewell: bool,
    /// Tries under way.
    pub(crate) in_flight: usize,
    /// Where the answers to tries belong, and the ends of waits.
    tries: HashMap<TryId, Box<[u64]>>,
    waits: HashMap<TimerId, Box<[u64]>>,
    allowed_hosts: Option<Arc<[String]>>,
    /// Where the last error was, and how many stood there before it.
    pub(crate) last_error: Option<(String, u32)>,
    /// Execution time of earlier attempts, and when this one began.
    ran: Duration,
    began_at: Option<Duration>,
    next_try: u64,
    next_timer: u64,
}

impl ExecutionState {
    /// Takes a job apart. Its checkpoint's place and its context are the caller's to read.
    pub(crate) fn new(job: &mut AttemptSpec) -> Result<ExecutionState, StartError> {
        let values: serde_json::Value = serde_json::from_slice(&job.config.values)
            .map_err(|error| StartError::Config(error.to_string()))?;
        if !values.is_object() {
            return Err(StartError::Config("they are no object".to_owned()));
        }
        let config =
            Value::parse(&job.config.values).map_err(|error| StartError::Config(error.to_string()))?;
        let hosts = std::mem::take(&mut job.config.allowed_hosts);
        let program = Program::new(&job.definition);
        let watches = program
            .nodes
            .iter()
            .map(|node| PathCheck::new(&node.step, PathObservations::default()))
            .collect();
        let redactor = Redactor::new(&values, &job.config.secret_pointers).with_secrets(&job.config.secrets);
        Ok(ExecutionState {
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
            cursors: CursorStore::new(std::mem::take(&mut job.cursors)),
            cursor_overflow: None,
            began: BTreeMap::new(),
            cursor_changes: CursorValues::new(),
            validators: CursorValues::new(),
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
            next_timer: 0,
        })
    }

    /// The context as it stood at the grant.
    pub(crate) fn context(job: &mut AttemptSpec) -> Result<Context, StartError> {
        Context::read(std::mem::take(&mut job.context))
            .map_err(|(name, reason)| StartError::Context { name, reason })
    }

    pub(crate) fn begin(&mut self, now: CurrentTime) {
        self.began_at = Some(now.monotonic);
    }

    /// Execution time that is left to the run.
    pub(crate) fn time_left(&self, now: CurrentTime) -> Duration {
        if self.farewell {
            return CANCEL_GRACE;
        }
        let running = self.began_at.map_or(Duration::ZERO, |began| now.monotonic.saturating_sub(began));
        self.definition.max_execution.saturating_sub(self.ran + running)
    }

    /// A name for a try of whoever is at `route`.
    pub(crate) fn next_try(&mut self, route: &[u64]) -> TryId {
        self.next_try += 1;
        let try_id = TryId(self.next_try);
        self.tries.insert(try_id, route.into());
        self.in_flight += 1;
        try_id
    }

    /// A name for a wait of whoever is at `route`.
    pub(crate) fn next_timer(&mut self, route: &[u64]) -> TimerId {
        self.next_timer += 1;
        let timer_id = TimerId(self.next_timer);
        self.waits.insert(timer_id, route.into());
        timer_id
    }

    /// Who waits for this try. It stays known while its body comes in pieces.
    pub(crate) fn route_of_try(&self, try_id: TryId) -> Option<Box<[u64]>> {
        self.tries.get(&try_id).cloned()
    }

    /// Nothing more comes of a try.
    pub(crate) fn try_ended(&mut self, try_id: TryId) {
        if self.tries.remove(&try_id).is_some() {
            self.in_flight -= 1;
        }
    }

    /// Who waits for this time; asked once.
    pub(crate) fn route_of_timer(&mut self, timer_id: TimerId) -> Option<Box<[u64]>> {
        self.waits.remove(&timer_id)
    }

    /// Hosts that a step with this home may reach.
    pub(crate) fn hosts(&self, home: &url::Url) -> HostPolicy {
        match &self.allowed_hosts {
            Some(patterns) => HostPolicy::Allowed(patterns.clone()),
            None => HostPolicy::SameAs(home.clone()),
        }
    }

    /// Adds a warning, unless the same code and pointer stands there.
    pub(crate) fn warn(&mut self, warning: Warning) {
        let known = |before: &Warning| before.code == warning.code && before.pointer == warning.pointer;
        if !self.progress.warnings.iter().any(known) {
            self.progress.warnings.push(warning);
        }
    }

    /// Something of the run is not as the upstream has it.
    pub(crate) fn left_out(&mut self) {
        (self.partial, self.complete) = (true, false);
    }

    pub(crate) fn watch(&mut self, node: &StepNode) -> &mut PathCheck {
        &mut self.watches[node.index]
    }

    /// What was seen so far, by the path of each step, for a place.
    pub(crate) fn seen(&self) -> BTreeMap<String, PathObservations> {
        let nodes = self.program.nodes.iter().zip(&self.watches);
        nodes.filter_map(|(node, watch)| Some((node.path.clone(), watch.seen()?.clone()))).collect()
    }

    /// The reverse.
    pub(crate) fn restore_seen(&mut self, mut seen: BTreeMap<String, PathObservations>) {
        for (node, watch) in self.program.nodes.iter().zip(&mut self.watches) {
            if let Some(seen) = seen.remove(&node.path) {
                *watch = PathCheck::new(&node.step, seen);
            }
        }
    }
}
