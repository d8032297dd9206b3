//! Hands executions back until a time, with their checkpoints. Burns no attempt.

use chrono::{DateTime, Utc};
use orchid_domain::execution::ExecutionEvent;
use orchid_domain::lease::EndingCall;

use super::ending::{self, AttemptEnding};
use super::{CheckpointUpdate, Fleet, FleetError, LeaseResult, Session};

/// One run to hand back until a time.
#[derive(Clone, Debug)]
pub struct ParkItem {
    /// From the grant.
    pub lease_token: Vec<u8>,
    /// The last checkpoint.
    pub checkpoint: CheckpointUpdate,
    /// When it may go on.
    pub not_before: DateTime<Utc>,
    /// For people: what it waits for.
    pub reason: String,
}

/// Parks the runs; one that is to be cancelled ends instead, or goes to the next executor where an upstream has to be told.
pub async fn run(
    fleet: &Fleet,
    session: &Session,
    now: DateTime<Utc>,
    items: Vec<ParkItem>,
) -> Result<Vec<LeaseResult>, FleetError> {
    let items = items.into_iter().map(|item| {
        let ParkItem { lease_token, checkpoint, not_before, reason } = item;
        let ending = AttemptEnding {
            call: EndingCall::Park,
            event: ExecutionEvent::Parked { not_before },
            checkpoint,
            partial: false,
            complete: false,
            fault: None,
            waiting_for: reason,
        };
        (lease_token, ending)
    });
    Ok(ending::run(fleet, session, now, items.collect()).await?.results)
}
