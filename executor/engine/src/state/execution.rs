//! The state that all steps of an execution share: identity, permissions, knowledge and counts.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orchid_plan::{Definition, Value};

use crate::attempt::{AttemptSpec, ExecutionLimits};
use crate::checkpoint::finished_values::ItemAnswers;
use crate::checkpoint::path_observations::PathObservations;
use crate::error::StartError;
use crate::input::{CurrentTime, TimerId, TryId};
use crate::limits::CANCEL_GRACE;
use crate::message::MessageOrigin;
use crate::message::exchange::{HttpExchange, ReceivedResponse, SentRequest};
use crate::message::limits::MessageLimits;
use crate::message::redact::Redactor;
use crate::program::node::{Program, StepNode};
use crate::progress::{Progress, Warning};
use crate::request::HostPolicy;
use crate::state::buffer_meter::BufferMeter;
use crate::state::context::Context;
use crate::state::cursor_store::{CursorStore, CursorValues};
use crate::state::error_detail::ErrorDetail;
use crate::state::held_cursors::HeldCursors;
use crate::state::path_check::PathCheck;
use crate::state::plan_limit::PlanLimit;

/// The state of an execution, apart from its position in the plan.
pub(crate) struct ExecutionState {
    pub(crate) origin: MessageOrigin,
    pub(crate) redactor: Redactor,
    /// The empty exchange of pages that emit nothing.
    pub(crate) no_exchange: HttpExchange,
    pub(crate) definition: Arc<Definition>,
    pub(crate) program: Program,
    pub(crate) config: Value,
    pub(crate) limits: ExecutionLimits,
    pub(crate) message_limits: MessageLimits,
    pub(crate) seed: u64,
    pub(crate) progress: Progress,
    /// True once a response was ignored, a row failed, or a limit was reached.
    pub(crate) partial: bool,
    /// True while every loop so far reached its own end.
    pub(crate) complete: bool,
    /// Path checks of each step, by its index.
    pub(crate) watches: Vec<PathCheck>,
    pub(crate) cursors: CursorStore,
    /// The error of a cursor that did not fit; it ends the execution.
    pub(crate) cursor_overflow: Option<Box<ErrorDetail>>,
    /// Cursors that this execution began with, by key: later rows and attempts begin with the same.
    pub(crate) began: BTreeMap<String, Bytes>,
    /// Cursors that are not saved, because rows behind them failed.
    pub(crate) held: HeldCursors,
    /// Cursors that changed since the last recorded resume state.
    pub(crate) cursor_changes: CursorValues,
    /// Validators that changed. They are saved only if the execution succeeds: otherwise a 304
    /// could hide rows that a later attempt still needs.
    pub(crate) validators: CursorValues,
    /// Lists of active `for_each` steps, by step path; saved outside the resume state.
    pub(crate) lists: BTreeMap<String, Value>,
    /// Answers of finished `for_each` items that later steps read, by step path; saved outside the
    /// resume state. The newest ones may still be in it.
    pub(crate) answers: BTreeMap<String, ItemAnswers>,
    /// True if a list, an answer or the value of a finished step changed since the last recorded
    /// resume state.
    pub(crate) finished_changed: bool,
    /// True if the resume state changed since it was last recorded.
    pub(crate) moved: bool,
    /// True if a step waits long enough to park the execution: no further row or item starts.
    pub(crate) parking: bool,
    /// True once the execution has ended and only cancels jobs upstream.
    pub(crate) cancelling: bool,
    /// Bytes held beside what the caller handed in.
    pub(crate) buffers: BufferMeter,
    /// Number of tries in flight.
    pub(crate) in_flight: usize,
    /// Routes from the root to the step that waits for a try or timer.
    tries: HashMap<TryId, Box<[u64]>>,
    waits: HashMap<TimerId, Box<[u64]>>,
    /// Routes to the steps that wait for acknowledgements, in the order in which they began to.
    room_waits: VecDeque<Box<[u64]>>,
    allowed_hosts: Option<Arc<[String]>>,
    /// Step path of the last error, and the number of earlier errors of the same page.
    pub(crate) last_error: Option<(String, u32)>,
    /// Execution time of earlier attempts.
    ran: Duration,
    /// Monotonic start time of this attempt.
    began_at: Option<Duration>,
    next_try: u64,
    next_timer: u64,
}

impl ExecutionState {
    /// Creates the state of an attempt. The caller reads the resume state and the context.
    ///
    /// # Errors
    /// If the config's values are not a JSON object.
    pub(crate) fn new(job: &mut AttemptSpec) -> Result<Self, StartError> {
        // Parsed twice: the redactor follows JSON pointers, and expressions need exact digits.
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
        Ok(Self {
            origin: MessageOrigin::new(&job.identity, &job.trace),
            no_exchange: HttpExchange::new(&SentRequest::default(), &ReceivedResponse::default(), &redactor),
            redactor,
            definition: job.definition.clone(),
            program,
            config,
            limits: job.limits.clone(),
            message_limits: MessageLimits::new(job.limits.message_max_bytes),
            seed: job.seed,
            progress: job.resume.as_ref().map(|saved| saved.progress.clone()).unwrap_or_default(),
            partial: false,
            complete: true,
            watches,
            cursors: CursorStore::new(std::mem::take(&mut job.cursors)),
            cursor_overflow: None,
            began: BTreeMap::new(),
            held: HeldCursors::default(),
            cursor_changes: CursorValues::new(),
            validators: CursorValues::new(),
            lists: BTreeMap::new(),
            answers: BTreeMap::new(),
            finished_changed: false,
            moved: false,
            parking: false,
            cancelling: false,
            buffers: BufferMeter::default(),
            in_flight: 0,
            tries: HashMap::new(),
            waits: HashMap::new(),
            room_waits: VecDeque::new(),
            allowed_hosts: (!hosts.is_empty()).then(|| hosts.into()),
            last_error: None,
            ran: job.time_used,
            began_at: None,
            next_try: 0,
            next_timer: 0,
        })
    }

    /// Takes the context that the attempt begins with.
    ///
    /// # Errors
    /// If a context field is not JSON.
    pub(crate) fn context(job: &mut AttemptSpec) -> Result<Context, StartError> {
        Context::read(std::mem::take(&mut job.context))
            .map_err(|(name, reason)| StartError::Context { name, reason })
    }

    pub(crate) fn begin(&mut self, now: CurrentTime) {
        self.began_at = Some(now.monotonic);
    }

    /// Returns the remaining execution time.
    pub(crate) fn time_left(&self, now: CurrentTime) -> Duration {
        // The time limit is used up or irrelevant now: only the grace period counts.
        if self.cancelling {
            return CANCEL_GRACE;
        }
        let running = self.began_at.map_or(Duration::ZERO, |began| now.monotonic.saturating_sub(began));
        self.definition.max_execution.saturating_sub(self.ran + running)
    }

    /// Registers a try of the step at `route`.
    pub(crate) fn next_try(&mut self, route: &[u64]) -> TryId {
        self.next_try += 1;
        let try_id = TryId(self.next_try);
        self.tries.insert(try_id, route.into());
        self.in_flight += 1;
        try_id
    }

    /// Registers a timer of the step at `route`.
    pub(crate) fn next_timer(&mut self, route: &[u64]) -> TimerId {
        self.next_timer += 1;
        let timer_id = TimerId(self.next_timer);
        self.waits.insert(timer_id, route.into());
        timer_id
    }

    /// Returns the route of a try. It stays registered while its body is streamed.
    pub(crate) fn route_of_try(&self, try_id: TryId) -> Option<Box<[u64]>> {
        self.tries.get(&try_id).cloned()
    }

    /// Removes a try that gets no further input.
    pub(crate) fn try_ended(&mut self, try_id: TryId) {
        // A try may be ended twice, e.g. discarded after its last piece: it counts only once.
        if self.tries.remove(&try_id).is_some() {
            self.in_flight -= 1;
        }
    }

    /// Ends the tries and waits of all steps at a route and below it. Returns the tries in order.
    pub(crate) fn end_below(&mut self, route: &[u64]) -> Vec<TryId> {
        let is_below = |other: &[u64]| other.starts_with(route);
        let mut ended: Vec<TryId> =
            self.tries.iter().filter(|(_, other)| is_below(other)).map(|(try_id, _)| *try_id).collect();
        ended.sort_unstable();
        ended.iter().for_each(|try_id| self.try_ended(*try_id));
        self.waits.retain(|_, other| !is_below(other));
        self.room_waits.retain(|other| !is_below(other));
        ended
    }

    /// Takes the route of an expired timer.
    pub(crate) fn route_of_timer(&mut self, timer_id: TimerId) -> Option<Box<[u64]>> {
        self.waits.remove(&timer_id)
    }

    /// Registers the step at `route` as one that waits for acknowledgements.
    pub(crate) fn wait_for_room(&mut self, route: &[u64]) {
        self.room_waits.push_back(route.into());
    }

    /// Takes the route of the step that has waited longest for acknowledgements.
    pub(crate) fn next_room_wait(&mut self) -> Option<Box<[u64]>> {
        self.room_waits.pop_front()
    }

    /// Returns the hosts that a step with this first URL may reach.
    pub(crate) fn hosts(&self, home: &url::Url) -> HostPolicy {
        match &self.allowed_hosts {
            Some(patterns) => HostPolicy::Allowed(patterns.clone()),
            // Without a list, a plan reaches only the host it names itself; a response cannot lead
            // elsewhere.
            None => HostPolicy::SameAs(home.clone()),
        }
    }

    /// Adds a warning, unless there is one with the same code and pointer.
    pub(crate) fn warn(&mut self, warning: Warning) {
        // A loop would otherwise repeat the warning on every page.
        let known = |before: &Warning| before.code == warning.code && before.pointer == warning.pointer;
        if !self.progress.warnings.iter().any(known) {
            // Warnings quote what upstreams sent, and leave the engine like errors do.
            let message = self.redactor.prose(&warning.message).into_owned();
            self.progress.warnings.push(Warning { message, ..warning });
        }
    }

    /// Adds a warning about something that the execution may have missed.
    pub(crate) fn warn_incomplete(&mut self, warning: Warning) {
        self.complete = false;
        self.warn(warning);
    }

    /// Warns of a limit of which 80 % or more are used.
    pub(crate) fn warn_if_near(&mut self, limit: PlanLimit, used: u64, max: u64) {
        if u128::from(used) * 5 >= u128::from(max) * 4 {
            self.warn(Warning {
                code: "LIMIT_NEAR".to_owned(),
                pointer: limit.pointer().to_owned(),
                message: format!("{used} of {max} were used ({})", limit.code()),
            });
        }
    }

    /// Lets the next checkpoint save the validators, because the execution succeeded.
    pub(crate) fn save_validators(&mut self) {
        self.cursor_changes.append(&mut self.validators);
    }

    /// Records that some data of the upstream was left out.
    pub(crate) fn left_out(&mut self) {
        (self.partial, self.complete) = (true, false);
    }

    pub(crate) fn watch(&mut self, node: &StepNode) -> &mut PathCheck {
        &mut self.watches[node.index]
    }

    /// Returns the path observations so far, by step path, for a checkpoint.
    pub(crate) fn seen(&self) -> BTreeMap<String, PathObservations> {
        let nodes = self.program.nodes.iter().zip(&self.watches);
        nodes.filter_map(|(node, watch)| Some((node.path.clone(), watch.seen()?.clone()))).collect()
    }

    /// Restores path observations from a checkpoint.
    pub(crate) fn restore_seen(&mut self, mut seen: BTreeMap<String, PathObservations>) {
        for (node, watch) in self.program.nodes.iter().zip(&mut self.watches) {
            if let Some(seen) = seen.remove(&node.path) {
                *watch = PathCheck::new(&node.step, seen);
            }
        }
    }
}
