//! One row of a page while its sub-steps are in progress.

use bytes::Bytes;

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::step_state::RowState;
use crate::message::id::short_hash;
use crate::page::attach_steps::attach_steps;
use crate::page::sub_steps::SubSteps;
use crate::page::writer::FinishedRow;
use crate::program::node::StepNode;
use crate::state::execution::ExecutionState;
use crate::state::step_env::StepEnv;

/// A row, or a whole page whose sub-steps run once.
pub(crate) struct RowExecution<S> {
    pub(crate) steps: S,
    raw: Bytes,
    resumed_from: Option<Box<RowState>>,
}

impl<S: SubSteps> RowExecution<S> {
    /// Creates a row at the beginning of its sub-steps, or where a checkpoint left it; `None` if
    /// there are no sub-steps.
    ///
    /// # Errors
    /// Fails if the checkpoint does not fit the plan.
    pub(crate) fn new(
        run: &ExecutionState,
        node: &StepNode,
        env: StepEnv,
        raw: Bytes,
        resumed_from: Option<Box<RowState>>,
    ) -> Result<Option<Self>, CheckpointError> {
        let steps = match &resumed_from {
            Some(state) => Some(S::resume(&node.subs, env, state.steps.clone(), &run.lists)?),
            None => S::begin(&node.subs, env),
        };
        Ok(steps.map(|steps| Self { steps, raw, resumed_from }))
    }

    /// Returns the state for a checkpoint.
    pub(crate) fn state(&self, whole: bool) -> Result<RowState, CheckpointError> {
        Ok(RowState { row_hash: short_hash(&self.raw), steps: self.steps.state(whole)? })
    }

    /// Ends the row. `is_row` is false for a whole page, which carries only the rows of its
    /// sub-steps.
    pub(crate) fn finish(self, node: &StepNode, is_row: bool) -> FinishedRow {
        let Self { steps, raw, resumed_from } = self;
        let carries = node.subs.iter().any(|sub| sub.gathers);
        let emitted = match (carries, is_row) {
            (true, true) => attach_steps(&raw, &steps.gathered()),
            (true, false) => steps.gathered().into(),
            (false, _) => raw.clone(),
        };
        let (_, _, StepEnv { writes, cursors, .. }) = steps.into_results();
        FinishedRow { raw, emitted, writes, cursors, resumed_from, is_emitted: false }
    }
}
