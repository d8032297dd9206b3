//! Ends executions, and may acquire the next leases in the same call.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, Outcome};
use orchid_domain::lease::EndingCall;

use super::attempt::{AttemptEnding, EndedAttempts, end_attempts};
use crate::commands::executions::progress::ExecutionError;
use crate::commands::fleet::acquire;
use crate::commands::fleet::acquire::request::{AcquireRequest, AcquireResponse};
use crate::commands::fleet::checkpoint::update::CheckpointUpdate;
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::resources::Fleet;
use crate::commands::fleet::session::Session;

/// The end of one execution.
#[derive(Clone, Debug)]
pub struct CompleteItem {
    /// Lease token from the grant.
    pub lease_token: Vec<u8>,
    /// The last checkpoint.
    pub checkpoint: CheckpointUpdate,
    /// The way in which the execution ended.
    pub outcome: Outcome,
    /// True if something was ignored, skipped or limited.
    pub partial: bool,
    /// True if every loop ended by itself, and nothing was ignored or failed.
    pub complete: bool,
    /// True if it stopped at a limit that its plan permits: the next execution continues there.
    pub at_limit: bool,
    /// The error, for every outcome but success.
    pub error: Option<ExecutionError>,
}

/// Ends the executions, then acquires leases if asked to.
///
/// # Errors
/// The database fails while ending. A failed acquisition is only logged.
pub async fn run(
    fleet: &Fleet,
    session: &Session,
    now: DateTime<Utc>,
    items: Vec<CompleteItem>,
    acquire: Option<AcquireRequest>,
) -> Result<(EndedAttempts, Option<AcquireResponse>), FleetError> {
    let items = items.into_iter().map(|item| {
        let CompleteItem { lease_token, checkpoint, outcome, partial, complete, at_limit, error } = item;
        let ending = AttemptEnding {
            call: EndingCall::Complete,
            event: ExecutionEvent::Completed { outcome, at_limit },
            checkpoint,
            partial,
            complete,
            error,
            waiting_for: String::new(),
        };
        (lease_token, ending)
    });
    let ended = end_attempts(fleet, session, now, items.collect()).await?;
    let acquired = match acquire {
        Some(acquire) => match acquire::run(fleet, session, acquire).await {
            Ok(acquired) => Some(acquired),
            // The ends are committed and their announcements must reach the executor. The doorbell
            // rings again for the work that was not acquired.
            Err(error) => {
                tracing::warn!(%error, session_id = %session.id, "executions ended, but acquiring leases failed");
                None
            }
        },
        None => None,
    };
    Ok((ended, acquired))
}
