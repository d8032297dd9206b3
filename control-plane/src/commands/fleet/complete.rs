//! Ends executions, and may ask for the next leases in the same call.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, Outcome};
use orchid_domain::lease::EndingCall;

use super::acquire::{self, AcquireRequest, AcquireResponse};
use super::ending::{self, AttemptEnding, EndedAttempts};
use super::progress::ExecutionError;
use super::{CheckpointUpdate, Fleet, FleetError, Session};

/// The end of one run.
#[derive(Clone, Debug)]
pub struct CompleteItem {
    /// From the grant.
    pub lease_token: Vec<u8>,
    /// The last checkpoint.
    pub checkpoint: CheckpointUpdate,
    /// How it ended.
    pub outcome: Outcome,
    /// Something was ignored, skipped or limited.
    pub partial: bool,
    /// Every loop ended by itself, and nothing was ignored or failed.
    pub complete: bool,
    /// Why, for every outcome but success.
    pub fault: Option<ExecutionError>,
}

/// Ends the runs, then acquires.
pub async fn run(
    fleet: &Fleet,
    session: &Session,
    now: DateTime<Utc>,
    items: Vec<CompleteItem>,
    acquire: Option<AcquireRequest>,
) -> Result<(EndedAttempts, Option<AcquireResponse>), FleetError> {
    let items = items.into_iter().map(|item| {
        let CompleteItem { lease_token, checkpoint, outcome, partial, complete, fault } = item;
        let event = ExecutionEvent::Completed(outcome);
        let waiting_for = String::new();
        (
            lease_token,
            AttemptEnding {
                call: EndingCall::Complete,
                event,
                checkpoint,
                partial,
                complete,
                fault,
                waiting_for,
            },
        )
    });
    let ended = ending::run(fleet, session, now, items.collect()).await?;
    let acquired = match acquire {
        Some(acquire) => match acquire::run(fleet, session, acquire).await {
            Ok(acquired) => Some(acquired),
            // The ends are committed, and their announcements must arrive; what was not acquired is rung again.
            Err(error) => {
                tracing::warn!(%error, session_id = %session.id, "runs ended, and no leases acquired");
                None
            }
        },
        None => None,
    };
    Ok((ended, acquired))
}
