//! Hands executions back at once, with their checkpoints. Burns no attempt.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, ReleaseReason};
use orchid_domain::lease::EndingCall;

use super::ending::{self, AttemptEnding};
use super::{CheckpointUpdate, Fleet, FleetError, LeaseResult, Session};

/// One run to hand back at once.
#[derive(Clone, Debug)]
pub struct ReleaseItem {
    /// From the grant.
    pub lease_token: Vec<u8>,
    /// The last checkpoint; seq 0: none was made by this attempt.
    pub checkpoint: CheckpointUpdate,
    /// Why.
    pub reason: ReleaseReason,
}

/// Releases the runs; one that is to be cancelled ends instead, or goes to the next executor where an upstream has to be told.
pub async fn run(
    fleet: &Fleet,
    session: &Session,
    now: DateTime<Utc>,
    items: Vec<ReleaseItem>,
) -> Result<Vec<LeaseResult>, FleetError> {
    let items = items.into_iter().map(|item| {
        let ReleaseItem { lease_token, checkpoint, reason } = item;
        let ending = AttemptEnding {
            call: EndingCall::Release,
            event: ExecutionEvent::Released(reason),
            checkpoint,
            partial: false,
            complete: false,
            fault: None,
            waiting_for: String::new(),
        };
        (lease_token, ending)
    });
    Ok(ending::run(fleet, session, now, items.collect()).await?.results)
}
