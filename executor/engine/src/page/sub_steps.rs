//! The sub-steps of a row, as a page runs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use orchid_plan::Value;

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::step_state::SequenceState;
use crate::program::node::StepNode;
use crate::state::engine_cx::EngineCx;
use crate::state::event::StepEvent;
use crate::state::exit::StepExit;
use crate::state::status::StepStatus;
use crate::state::step_env::StepEnv;

/// A `cancel` request that an upstream is owed, with the values that it reads.
pub(crate) struct PendingCancel {
    pub(crate) env: StepEnv,
    /// The `cancel` step of the async job.
    pub(crate) node: Arc<StepNode>,
}

/// A sequence of steps that runs for one row. Implemented by the tree of steps, which contains
/// pages itself: the trait keeps that recursion out of the imports.
pub(crate) trait SubSteps: Sized {
    /// Creates the steps at their beginning; `None` if there are none.
    fn begin(nodes: &Arc<[Arc<StepNode>]>, env: StepEnv) -> Option<Self>;

    /// Restores the steps from a checkpoint.
    ///
    /// # Errors
    /// Fails if the state does not fit the plan.
    fn resume(
        nodes: &Arc<[Arc<StepNode>]>,
        env: StepEnv,
        state: SequenceState,
        lists: &BTreeMap<String, Value>,
    ) -> Result<Self, CheckpointError>;

    /// Starts or continues the steps.
    fn start(&mut self, cx: &mut EngineCx<'_>) -> Result<StepStatus, StepExit>;

    /// Passes an event to the step that waits for it.
    fn deliver(
        &mut self,
        cx: &mut EngineCx<'_>,
        route: &[u64],
        event: StepEvent,
    ) -> Result<StepStatus, StepExit>;

    /// Emits finished rows that wait for a fuller message.
    fn flush(&mut self, cx: &mut EngineCx<'_>);

    /// Returns the state for a checkpoint. `whole` includes the rows in flight.
    fn state(&self, whole: bool) -> Result<SequenceState, CheckpointError>;

    /// Returns whether an upstream works on an async job in here that can be cancelled.
    fn works_upstream(&self) -> bool;

    /// Moves the cancel requests of all such async jobs into `found`.
    fn take_cancels(&mut self, found: &mut Vec<PendingCancel>);

    /// Returns the environment of the steps.
    fn env(&self) -> &StepEnv;

    /// Holds the cursors of the step that failed and of those after it, because the row at this
    /// step path has not reached what other rows have.
    fn hold_unfinished(&self, cx: &mut EngineCx<'_>, row: &str);

    /// Returns the rows of steps that emit nothing, as one JSON object by step id.
    fn gathered(&self) -> Vec<u8>;

    /// Consumes the steps; returns the last response and the rows of the last step, and the
    /// environment with all writes.
    fn into_results(self) -> (Value, Vec<Bytes>, StepEnv);
}
