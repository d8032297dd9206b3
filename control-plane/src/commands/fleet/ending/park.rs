//! Hands executions back until a time, with their checkpoints. Does not count as a loss.

use chrono::{DateTime, Utc};
use orchid_domain::execution::ExecutionEvent;
use orchid_domain::lease::EndingCall;

use super::attempt::{AttemptEnding, end_attempts};
use crate::commands::fleet::checkpoint::update::CheckpointUpdate;
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::lease_results::LeaseResult;
use crate::commands::fleet::resources::Fleet;
use crate::commands::fleet::session::Session;

/// An execution to park.
#[derive(Clone, Debug)]
pub struct ParkItem {
    /// Lease token from the grant.
    pub lease_token: Vec<u8>,
    /// The last checkpoint.
    pub checkpoint: CheckpointUpdate,
    /// Earliest time of the next grant.
    pub not_before: DateTime<Utc>,
    /// The reason why the execution waits, for people.
    pub reason: String,
}

/// Parks the executions. One with a requested cancel ends instead, or goes to the next executor
/// when its upstream has to be told.
///
/// # Errors
/// The database fails. Refused leases are results, not errors.
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
            error: None,
            waiting_for: reason,
        };
        (lease_token, ending)
    });
    Ok(end_attempts(fleet, session, now, items.collect()).await?.results)
}
