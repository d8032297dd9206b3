//! Requests the cancel of an execution, in the caller's transaction.
//!
//! An execution that no executor has ends at once. One that runs is ended by its executor, which
//! learns of it from its next heartbeat. One that waits while an upstream works for it is queued
//! instead, so that the next executor tells the upstream.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, State, TransitionRefusal, decide};

use super::apply::{AnnouncementRoute, apply_transitions};
use super::decided::{DecidedTransition, TransitionFacts};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::executions::locked::{self, LockWait};
use crate::store::keys::ExecutionKey;

/// The outcome of a cancel request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelRequest {
    /// The execution does not exist.
    Unknown,
    /// The execution had ended before, and stays as it ended.
    EndedBefore(State),
    /// The execution has ended now.
    Ended {
        /// True if an execution that waited behind it is ready now. The caller wakes the relay
        /// after the commit.
        work_is_ready: bool,
    },
    /// An executor will end it: the one that has it, or the next one that takes it.
    Requested {
        /// True if it was queued for that. The caller wakes the relay after the commit.
        work_is_ready: bool,
    },
}

/// Requests the cancel of one execution. A second request changes nothing.
///
/// # Errors
/// A statement fails.
pub async fn request_cancel(
    tx: &Tx,
    now: DateTime<Utc>,
    key: ExecutionKey,
    reason: &str,
) -> Result<CancelRequest, StoreError> {
    let Some(execution) = locked::lock(tx, &[key], LockWait::Wait).await?.pop() else {
        return Ok(CancelRequest::Unknown);
    };
    // The first reason and time are kept, and an execution that was queued for its cancel keeps its
    // place in the queue.
    if !execution.state.is_terminal() && execution.cancel_requested_at.is_some() {
        return Ok(CancelRequest::Requested { work_is_ready: false });
    }
    let transition = match decide(execution.snapshot(), ExecutionEvent::CancelRequested) {
        Ok(transition) => transition,
        Err(TransitionRefusal::Terminal(state)) => return Ok(CancelRequest::EndedBefore(state)),
        Err(refusal) => return Err(StoreError::corrupt("cancel", refusal)),
    };
    let ended = transition.next.is_terminal();
    let facts = TransitionFacts {
        cancel_reason: reason.to_owned(),
        detail: reason.to_owned(),
        ..TransitionFacts::default()
    };
    let decided = [DecidedTransition { execution, transition, facts }];
    let applied = apply_transitions(tx, now, &decided, AnnouncementRoute::Heartbeat).await?;
    let work_is_ready = applied.work_is_ready;
    Ok(if ended {
        CancelRequest::Ended { work_is_ready }
    } else {
        CancelRequest::Requested { work_is_ready }
    })
}
