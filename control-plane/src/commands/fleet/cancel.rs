//! Asks for a run to be cancelled, in the asker's transaction: it ends at once where nobody has it, else by its executor's next beat.
//! One that nobody has and whose upstream works for it is queued instead, so that an executor tells the upstream.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, State, TransitionRefusal, decide};

use super::settle::{DecidedTransition, TransitionFacts, settle};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::ExecutionKey;
use crate::store::fleet::runs::{self, LockWait};

/// What became of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// There is no such execution.
    Unknown,
    /// It had ended before, and stays as it ended.
    EndedBefore(State),
    /// It has ended now.
    Ended {
        /// A run that waited behind it is ready now: tell the relay after the commit.
        work_is_ready: bool,
    },
    /// An executor ends it: the one that has it, told by its next beat, or the next one that takes it.
    Requested {
        /// It was queued for that: tell the relay after the commit.
        work_is_ready: bool,
    },
}

/// Cancels one execution. Asking again changes nothing.
pub async fn run(
    tx: &Tx,
    now: DateTime<Utc>,
    key: ExecutionKey,
    reason: &str,
) -> Result<Cancelled, StoreError> {
    let Some(run) = runs::lock(tx, &[key], LockWait::Wait).await?.pop() else {
        return Ok(Cancelled::Unknown);
    };
    if !run.state.is_terminal() && run.cancel_requested_at.is_some() {
        return Ok(Cancelled::Requested { work_is_ready: false });
    }
    let transition = match decide(run.snapshot(), ExecutionEvent::CancelRequested) {
        Ok(transition) => transition,
        Err(TransitionRefusal::Terminal(state)) => return Ok(Cancelled::EndedBefore(state)),
        Err(refusal) => return Err(StoreError::corrupt("cancel", refusal)),
    };
    let ended = transition.next.is_terminal();
    let facts = TransitionFacts {
        cancel_reason: reason.to_owned(),
        detail: reason.to_owned(),
        ..TransitionFacts::default()
    };
    let settled = settle(tx, now, &[DecidedTransition { run, transition, facts }], false).await?;
    let work_is_ready = settled.work_is_ready;
    Ok(if ended { Cancelled::Ended { work_is_ready } } else { Cancelled::Requested { work_is_ready } })
}
