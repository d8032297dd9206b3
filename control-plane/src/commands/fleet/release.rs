//! Hands executions back at once, with their checkpoints. Burns no attempt.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{Event, ReleaseReason};
use orchid_domain::lease::EndingCall;

use super::ending::{self, Ending};
use super::{CheckpointData, Fleet, FleetError, ItemResult, Session};

/// One run to hand back at once.
#[derive(Clone, Debug)]
pub struct Releasing {
    /// From the grant.
    pub lease_token: Vec<u8>,
    /// The last checkpoint; seq 0: none was made by this attempt.
    pub checkpoint: CheckpointData,
    /// Why.
    pub reason: ReleaseReason,
}

/// Releases the runs; one that is to be cancelled ends instead, or goes to the next executor where an upstream has to be told.
pub async fn run(
    fleet: &Fleet,
    session: &Session,
    now: DateTime<Utc>,
    items: Vec<Releasing>,
) -> Result<Vec<ItemResult>, FleetError> {
    let items = items.into_iter().map(|item| {
        let Releasing { lease_token, checkpoint, reason } = item;
        let ending = Ending {
            call: EndingCall::Release,
            event: Event::Released(reason),
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
