//! A decided transition, with what its rows will say.

use orchid_domain::execution::Transition;

use crate::commands::executions::progress::ExecutionError;
use crate::store::executions::locked::LockedExecution;

/// A transition that was decided for a locked execution.
#[derive(Clone, Debug)]
pub struct DecidedTransition {
    /// The execution as the decision saw it.
    pub execution: LockedExecution,
    /// The decision.
    pub transition: Transition,
    /// Everything else that the rows record.
    pub facts: TransitionFacts,
}

/// The facts of a transition that the decision does not need. An empty value leaves what is stored.
#[derive(Clone, Debug, Default)]
pub struct TransitionFacts {
    /// Seq of the call that ended the attempt; 0 when no call did.
    pub final_seq: i64,
    /// Seq of the checkpoint that came with the call; 0 when none did.
    pub checkpoint_seq: i64,
    /// Running time of the attempt, in milliseconds.
    pub attempt_ms: i64,
    /// The reason why a parked execution waits.
    pub waiting_for: String,
    /// True if something was ignored, skipped or limited.
    pub partial: bool,
    /// True if every loop ended by itself.
    pub complete: bool,
    /// Encoded progress.
    pub progress: Vec<u8>,
    /// The error that ended the execution.
    pub error: Option<ExecutionError>,
    /// The last request that a heartbeat reported.
    pub last_request: String,
    /// Reason of a requested cancel.
    pub cancel_reason: String,
    /// Details for the history.
    pub detail: String,
}
