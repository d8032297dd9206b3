//! The steps of one level, run in order: those of the root, of one row, or the downloads of an
//! async job.
//!
//! A sequence passes events to the step in progress, and moves on when that step has ended. It
//! keeps what later steps and the enclosing row read of each step.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use orchid_plan::Value;

use crate::checkpoint::deferred_writes::DeferredWrites;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{decode_value, encode_value, raw_json, to_bytes_unless_null};
use crate::checkpoint::prune::prune;
use crate::checkpoint::step_state::{ActiveStepState, SequenceState};
use crate::message::exchange::SentRequest;
use crate::page::sub_steps::{PendingCancel, SubSteps};
use crate::program::node::StepNode;
use crate::state::context::ContextChanges;
use crate::state::deferred_writes;
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::event::StepEvent;
use crate::state::execution::ExecutionState;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::failed_row;
use crate::state::location::StepLocation;
use crate::state::status::StepStatus;
use crate::state::step_env::StepEnv;
use crate::tree::for_each::{ForEach, list_key};
use crate::tree::single_step::SingleStep;

/// The steps of one level.
pub(crate) struct StepSequence {
    nodes: Arc<[Arc<StepNode>]>,
    index: usize,
    active: ActiveStep,
    env: StepEnv,
    /// Rows that steps without messages leave to the enclosing row, as JSON lists by step id;
    /// `None` for a failed step.
    gathered: BTreeMap<String, Option<Bytes>>,
    /// The last response of the step that ended last, and its rows for the enclosing row.
    last: (Value, Vec<Bytes>),
}

/// The step in progress.
enum ActiveStep {
    Single(SingleStep<StepSequence>),
    ForEach(Box<ForEach<StepSequence>>),
}

impl ActiveStep {
    fn new(node: &Arc<StepNode>) -> Self {
        if node.step.for_each.is_some() {
            Self::ForEach(Box::new(ForEach::new(node)))
        } else {
            Self::Single(SingleStep::new(node, None))
        }
    }

    fn resume(
        node: &Arc<StepNode>,
        env: &StepEnv,
        state: ActiveStepState,
        lists: &BTreeMap<String, Value>,
    ) -> Result<Self, CheckpointError> {
        Ok(match state {
            ActiveStepState::ForEach(state) => {
                Self::ForEach(Box::new(ForEach::resume(node, env, state, lists)?))
            }
            state @ (ActiveStepState::Loop(_) | ActiveStepState::AsyncJob(_)) => {
                Self::Single(SingleStep::resume(node, None, env, state, lists)?)
            }
        })
    }

    fn state(&self, whole: bool) -> Result<ActiveStepState, CheckpointError> {
        match self {
            Self::Single(step) => step.state(whole),
            Self::ForEach(items) => Ok(ActiveStepState::ForEach(items.state(whole)?)),
        }
    }

    fn start(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        match self {
            Self::Single(step) => step.start(cx, env),
            Self::ForEach(items) => items.start(cx, env),
        }
    }

    fn deliver(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        route: &[u64],
        event: StepEvent,
    ) -> Result<StepStatus, StepExit> {
        match self {
            Self::Single(step) => step.deliver(cx, env, route, event),
            Self::ForEach(items) => items.deliver(cx, env, route, event),
        }
    }

    fn flush(&mut self, cx: &mut EngineCx<'_>) {
        match self {
            Self::Single(step) => step.flush(cx),
            Self::ForEach(items) => items.flush(cx),
        }
    }

    fn take_cancels(&mut self, env: &StepEnv, found: &mut Vec<PendingCancel>) {
        match self {
            Self::Single(step) => step.take_cancels(env, found),
            Self::ForEach(items) => items.take_cancels(env, found),
        }
    }

    fn works_upstream(&self) -> bool {
        match self {
            Self::Single(step) => step.works_upstream(),
            Self::ForEach(items) => items.works_upstream(),
        }
    }

    fn take_results(
        &mut self,
        run: &mut ExecutionState,
        env: &StepEnv,
    ) -> Result<(Value, Vec<Bytes>), CheckpointError> {
        match self {
            Self::Single(step) => Ok(step.take_results()),
            Self::ForEach(items) => items.take_results(run, env),
        }
    }

    fn location(&self, env: &StepEnv) -> StepLocation {
        match self {
            Self::Single(step) => step.location(env),
            Self::ForEach(items) => items.location(env),
        }
    }
}

impl SubSteps for StepSequence {
    fn begin(nodes: &Arc<[Arc<StepNode>]>, env: StepEnv) -> Option<Self> {
        let active = ActiveStep::new(nodes.first()?);
        let last = (Value::null(), Vec::new());
        Some(Self { nodes: nodes.clone(), index: 0, active, env, gathered: BTreeMap::new(), last })
    }

    fn resume(
        nodes: &Arc<[Arc<StepNode>]>,
        mut env: StepEnv,
        state: SequenceState,
        lists: &BTreeMap<String, Value>,
    ) -> Result<Self, CheckpointError> {
        let SequenceState { index, id, step, finished, gathered, deferred } = state;
        let node = nodes.get(index).ok_or_else(|| CheckpointError::invalid("its step is not in the plan"))?;
        // The index alone would resume another step if the plan had changed.
        if *node.step.id != *id {
            return Err(CheckpointError::invalid("its step has another id in the plan"));
        }
        for (id, value) in &finished {
            env.finished.insert(id, decode_value(value)?);
        }
        let (writes, cursors) = deferred_writes::decode(deferred);
        env.merge(writes).map_err(|error| CheckpointError::Json(error.to_string()))?;
        env.cursors = cursors;
        let gathered = gathered.into_iter().map(|(id, rows)| (id, to_bytes_unless_null(&rows)));
        Ok(Self {
            active: ActiveStep::resume(node, &env, step, lists)?,
            nodes: nodes.clone(),
            index,
            env,
            gathered: gathered.collect(),
            last: (Value::null(), Vec::new()),
        })
    }

    fn start(&mut self, cx: &mut EngineCx<'_>) -> Result<StepStatus, StepExit> {
        let status = self.active.start(cx, &mut self.env);
        self.proceed(cx, status)
    }

    fn deliver(
        &mut self,
        cx: &mut EngineCx<'_>,
        route: &[u64],
        event: StepEvent,
    ) -> Result<StepStatus, StepExit> {
        let status = self.active.deliver(cx, &mut self.env, route, event);
        self.proceed(cx, status)
    }

    fn flush(&mut self, cx: &mut EngineCx<'_>) {
        self.active.flush(cx);
    }

    fn state(&self, whole: bool) -> Result<SequenceState, CheckpointError> {
        let mut state = SequenceState {
            index: self.index,
            id: self.node().step.id.to_string(),
            step: self.active.state(whole)?,
            finished: BTreeMap::new(),
            gathered: BTreeMap::new(),
            deferred: DeferredWrites::default(),
        };
        // The values and writes of the root are documents of their own in a checkpoint.
        if self.env.nesting > 0 {
            for (id, value) in self.env.finished.own() {
                state.finished.insert(id.to_owned(), encode_value(value)?);
            }
            for (id, rows) in &self.gathered {
                state.gathered.insert(id.clone(), raw_json(rows.as_deref().unwrap_or(b"null"))?);
            }
            state.deferred = deferred_writes::encode(&self.env.writes, &self.env.cursors)?;
        }
        Ok(state)
    }

    fn works_upstream(&self) -> bool {
        self.active.works_upstream()
    }

    fn take_cancels(&mut self, found: &mut Vec<PendingCancel>) {
        self.active.take_cancels(&self.env, found);
    }

    fn env(&self) -> &StepEnv {
        &self.env
    }

    fn hold_unfinished(&self, cx: &mut EngineCx<'_>, row: &str) {
        if let ActiveStep::Single(step) = &self.active
            && let Some(key) = step.cursor_key()
        {
            failed_row::hold(cx.run, key, row);
        }
        self.nodes[self.index..].iter().for_each(|node| failed_row::hold_shared(cx.run, node, row));
    }

    fn gathered(&self) -> Vec<u8> {
        let mut object = vec![b'{'];
        for (id, rows) in &self.gathered {
            if object.len() > 1 {
                object.push(b',');
            }
            object.extend(Value::from(id.as_str()).to_json());
            object.push(b':');
            object.extend_from_slice(rows.as_deref().unwrap_or(b"null"));
        }
        object.push(b'}');
        object
    }

    fn into_results(self) -> (Value, Vec<Bytes>, StepEnv) {
        let (value, rows) = self.last;
        (value, rows, self.env)
    }
}

impl StepSequence {
    /// Goes on over steps that are done or skipped, until something has to be waited for.
    fn proceed(
        &mut self,
        cx: &mut EngineCx<'_>,
        mut status: Result<StepStatus, StepExit>,
    ) -> Result<StepStatus, StepExit> {
        loop {
            match status {
                Ok(status @ (StepStatus::InFlight | StepStatus::Deferred(_))) => return Ok(status),
                Ok(StepStatus::Done) => self.leave_step(cx, true)?,
                Ok(StepStatus::Skipped) => self.leave_step(cx, false)?,
                Err(exit) => {
                    let node = self.node();
                    // A failed step leaves null to the enclosing row, so that it differs from one
                    // without rows.
                    if node.gathers && matches!(exit, StepExit::Error(_)) {
                        self.gathered.insert(node.step.id.to_string(), None);
                    }
                    return Err(exit);
                }
            }
            let Some(next) = self.nodes.get(self.index + 1) else { return Ok(StepStatus::Done) };
            self.active = ActiveStep::new(next);
            self.index += 1;
            // Below a row, a finished step is not worth a checkpoint: a lost row starts again as a
            // whole.
            cx.run.moved |= self.env.durable;
            // The next step may finish at once, e.g. when it is skipped: hence the loop.
            status = self.active.start(cx, &mut self.env);
        }
    }

    /// Keeps what later steps and the enclosing row read of a step that has ended.
    ///
    /// # Errors
    /// Fails if the responses of items do not read as they were kept.
    fn leave_step(&mut self, cx: &mut EngineCx<'_>, ran: bool) -> Result<(), StepExit> {
        let node = self.node().clone();
        let (value, rows) = self.active.take_results(cx.run, &self.env).map_err(|error| {
            let detail = ErrorDetail::checkpoint(&node.step.pointer, &error);
            StepError::new(&cx.run.redactor, self.location(), detail, ErrorContext::default())
        })?;
        let read = node.needs.finished.as_ref().is_none_or(|paths| !paths.is_empty());
        if read && !value.is_null() {
            self.env.finished.insert(&node.step.id, prune(&value, node.needs.finished.as_deref()));
            cx.run.finished_changed |= self.env.nesting == 0;
        }
        if node.gathers && ran {
            self.gathered.insert(node.step.id.to_string(), Some(json_list(&rows)));
        }
        self.last = (value, rows);
        // The list is saved as long as the for_each runs; a later attempt does not need it any
        // more.
        if node.step.for_each.is_some() && cx.run.lists.remove(&list_key(&self.env, &node)).is_some() {
            cx.run.finished_changed = true;
        }
        Ok(())
    }

    /// Returns the step in progress.
    pub(crate) fn node(&self) -> &Arc<StepNode> {
        &self.nodes[self.index]
    }

    /// Returns the location for an error that is not about a request.
    pub(crate) fn location(&self) -> StepLocation {
        self.active.location(&self.env)
    }

    /// Returns the request in progress, if the step in progress is a loop.
    pub(crate) fn request_in_progress(&self) -> Option<&SentRequest> {
        match &self.active {
            ActiveStep::Single(step) => step.request_in_progress(),
            ActiveStep::ForEach(_) => None,
        }
    }

    /// Takes the context writes since the last checkpoint.
    pub(crate) fn take_writes(&mut self) -> ContextChanges {
        std::mem::take(&mut self.env.writes)
    }
}

/// Joins rows into one JSON list.
fn json_list(rows: &[Bytes]) -> Bytes {
    let mut list = Vec::with_capacity(2 + rows.iter().map(|row| row.len() + 1).sum::<usize>());
    list.push(b'[');
    for (number, row) in rows.iter().enumerate() {
        if number > 0 {
            list.push(b',');
        }
        list.extend_from_slice(row);
    }
    list.push(b']');
    list.into()
}
