//! Hands executions back until a time, with their checkpoints. Burns no attempt.

use chrono::{DateTime, Utc};
use orchid_domain::execution::Event;
use orchid_domain::lease::EndingCall;

use super::ending::{self, Ending};
use super::{CheckpointData, Fleet, FleetError, ItemResult, Session};

/// One run to hand back until a time.
#[derive(Clone, Debug)]
pub struct Parking {
    /// From the grant.
    pub lease_token: Vec<u8>,
    /// The last checkpoint.
    pub checkpoint: CheckpointData,
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
    items: Vec<Parking>,
) -> Result<Vec<ItemResult>, FleetError> {
    let items = items.into_iter().map(|item| {
        let Parking { lease_token, checkpoint, not_before, reason } = item;
        let ending = Ending {
            call: EndingCall::Park,
            event: Event::Parked { not_before },
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
