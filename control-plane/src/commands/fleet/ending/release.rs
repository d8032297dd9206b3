//! Hands executions back at once, with their checkpoints. Does not count as a loss.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, ReleaseReason};
use orchid_domain::lease::EndingCall;

use super::attempt::{AttemptEnding, end_attempts};
use crate::commands::fleet::checkpoint::update::CheckpointUpdate;
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::lease_results::LeaseResult;
use crate::commands::fleet::resources::Fleet;
use crate::commands::fleet::session::Session;

/// An execution to release.
#[derive(Clone, Debug)]
pub struct ReleaseItem {
    /// Lease token from the grant.
    pub lease_token: Vec<u8>,
    /// The last checkpoint; its seq is 0 when the attempt made none.
    pub checkpoint: CheckpointUpdate,
    /// Reason for the release.
    pub reason: ReleaseReason,
}

/// Releases the executions. One with a requested cancel ends instead, or goes to the next executor
/// when its upstream has to be told.
///
/// # Errors
/// The database fails. Refused leases are results, not errors.
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
            error: None,
            waiting_for: String::new(),
        };
        (lease_token, ending)
    });
    Ok(end_attempts(fleet, session, now, items.collect()).await?.results)
}
