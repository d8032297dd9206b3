//! Hands executions back at once, with their checkpoints. Does not count as a loss.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{
    ExecutionEvent, ReleaseReason, TransitionCause, UNSUPPORTED_WINDOW, unsupported_retry,
};
use orchid_domain::lease::EndingCall;

use super::attempt::{AttemptEnding, end_attempts};
use crate::commands::executions::progress::ExecutionError;
use crate::commands::fleet::checkpoint::update::CheckpointUpdate;
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::lease_results::LeaseResult;
use crate::commands::fleet::lease_token::LeaseToken;
use crate::commands::fleet::resources::Fleet;
use crate::commands::fleet::session::Session;
use crate::store::error::StoreError;
use crate::store::executions::history;

/// An execution to release.
#[derive(Clone, Debug)]
pub struct ReleaseItem {
    /// Lease token from the grant.
    pub lease_token: Vec<u8>,
    /// The last checkpoint; its seq is 0 when the attempt made none.
    pub checkpoint: CheckpointUpdate,
    /// Reason for the release.
    pub reason: ReleaseReason,
    /// Error that the executor met, if it cannot compile or resume the execution.
    pub error: Option<ExecutionError>,
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
    let earlier = earlier_refusals(fleet, session, now, &items).await?;
    let items = items.into_iter().map(|item| {
        let ReleaseItem { lease_token, checkpoint, reason, error } = item;
        let earlier = earlier.get(&lease_token).copied().unwrap_or(0);
        let mut ending = AttemptEnding {
            call: EndingCall::Release,
            event: ExecutionEvent::Released(reason),
            checkpoint,
            partial: false,
            complete: false,
            error: None,
            waiting_for: String::new(),
        };
        if reason == ReleaseReason::Unsupported {
            let not_before = unsupported_retry(earlier, now);
            ending.event = ExecutionEvent::Unsupported { not_before };
            let error = error.unwrap_or_default();
            if not_before.is_some() {
                ending.waiting_for = format!("an executor that can run it ({})", error.message);
            } else {
                ending.partial = true;
                ending.error = Some(error);
            }
        }
        (lease_token, ending)
    });
    Ok(end_attempts(fleet, session, now, items.collect()).await?.results)
}

/// Returns how often executors could not compile or resume each execution lately, by lease token.
async fn earlier_refusals(
    fleet: &Fleet,
    session: &Session,
    now: DateTime<Utc>,
    items: &[ReleaseItem],
) -> Result<HashMap<Vec<u8>, u32>, StoreError> {
    let mut refusals = HashMap::new();
    for item in items.iter().filter(|item| item.reason == ReleaseReason::Unsupported) {
        // A token that does not open is refused below.
        if let Ok(token) = LeaseToken::open(&fleet.sealer, &item.lease_token, session.id) {
            let since = now - UNSUPPORTED_WINDOW;
            let count = history::count(&fleet.databases, token.key, TransitionCause::Unsupported, since);
            refusals.insert(item.lease_token.clone(), count.await?);
        }
    }
    Ok(refusals)
}
