//! A step without its `for_each`: a loop or an async job.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use orchid_plan::Value;

use crate::attempt::CursorKey;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::step_state::ActiveStepState;
use crate::message::exchange::SentRequest;
use crate::page::sub_steps::{PendingCancel, SubSteps};
use crate::program::node::StepNode;
use crate::rules::watermark::Watermark;
use crate::state::engine_cx::EngineCx;
use crate::state::event::StepEvent;
use crate::state::exit::StepExit;
use crate::state::location::StepLocation;
use crate::state::status::StepStatus;
use crate::state::step_env::StepEnv;
use crate::step::execution::StepExecution;
use crate::tree::async_job::AsyncJobExecution;

/// A loop or an async job in progress.
pub(crate) enum SingleStep<S> {
    Loop(Box<StepExecution<S>>),
    Job(Box<AsyncJobExecution<S>>),
}

impl<S: SubSteps> SingleStep<S> {
    /// Creates a step at its beginning, for a `for_each` item if it runs for one.
    pub(crate) fn new(node: &Arc<StepNode>, item: Option<u64>) -> Self {
        match &node.job {
            Some(_) => Self::Job(Box::new(AsyncJobExecution::new(node, item))),
            None => Self::Loop(Box::new(StepExecution::new(node, item))),
        }
    }

    /// Restores a step from a checkpoint.
    ///
    /// # Errors
    /// Fails if the state does not fit the plan.
    pub(crate) fn resume(
        node: &Arc<StepNode>,
        item: Option<u64>,
        env: &StepEnv,
        state: ActiveStepState,
        lists: &BTreeMap<String, Value>,
    ) -> Result<Self, CheckpointError> {
        Ok(match state {
            ActiveStepState::Loop(state) => Self::Loop(Box::new(StepExecution::resume(node, item, *state)?)),
            ActiveStepState::AsyncJob(state) => {
                Self::Job(Box::new(AsyncJobExecution::resume(node, item, env, *state, lists)?))
            }
            ActiveStepState::ForEach(_) => return Err(CheckpointError::invalid("an item cannot have items")),
        })
    }

    /// Returns the state for a checkpoint. `whole` includes the rows in flight.
    pub(crate) fn state(&self, whole: bool) -> Result<ActiveStepState, CheckpointError> {
        Ok(match self {
            Self::Loop(step) => ActiveStepState::Loop(Box::new(step.state(whole)?)),
            Self::Job(job) => ActiveStepState::AsyncJob(Box::new(job.state(whole)?)),
        })
    }

    /// Starts or continues the step.
    pub(crate) fn start(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        match self {
            Self::Loop(step) => step.start(cx, env),
            Self::Job(job) => job.start(cx, env),
        }
    }

    /// Passes an event to the step.
    pub(crate) fn deliver(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        route: &[u64],
        event: StepEvent,
    ) -> Result<StepStatus, StepExit> {
        match self {
            Self::Loop(step) => step.deliver(cx, env, route, event),
            Self::Job(job) => job.deliver(cx, env, route, event),
        }
    }

    /// Emits finished rows that wait for a fuller message.
    pub(crate) fn flush(&mut self, cx: &mut EngineCx<'_>) {
        match self {
            Self::Loop(step) => step.flush(cx),
            Self::Job(job) => job.flush(cx),
        }
    }

    /// Moves the cancel requests of async jobs that upstreams work on into `found`.
    pub(crate) fn take_cancels(&mut self, env: &StepEnv, found: &mut Vec<PendingCancel>) {
        match self {
            Self::Loop(step) => step.take_cancels(env, found),
            Self::Job(job) => found.extend(job.take_cancel(env)),
        }
    }

    /// Returns whether an upstream works on an async job in here that can be cancelled.
    pub(crate) fn works_upstream(&self) -> bool {
        match self {
            Self::Loop(step) => step.works_upstream(),
            Self::Job(job) => job.works_upstream(),
        }
    }

    /// Returns the request in progress of a loop.
    pub(crate) fn request_in_progress(&self) -> Option<&SentRequest> {
        match self {
            Self::Loop(step) => step.request_in_progress(),
            Self::Job(_) => None,
        }
    }

    /// Returns the key of the step's own cursor.
    pub(crate) fn cursor_key(&self) -> Option<&CursorKey> {
        match self {
            Self::Loop(step) => step.position().watermark.as_ref().map(Watermark::key),
            Self::Job(_) => None,
        }
    }

    /// Takes the last response, and the rows for the enclosing row.
    pub(crate) fn take_results(&mut self) -> (Value, Vec<Bytes>) {
        match self {
            Self::Loop(step) => step.take_results(),
            Self::Job(job) => job.take_results(),
        }
    }

    /// Returns the location for an error that is not about a request.
    pub(crate) fn location(&self, env: &StepEnv) -> StepLocation {
        match self {
            Self::Loop(step) => step.position().location(env),
            Self::Job(job) => job.location(env),
        }
    }
}
