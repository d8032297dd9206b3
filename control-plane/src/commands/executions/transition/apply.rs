//! Applies decided transitions: the executions' rows and everything that belongs to them, in the
//! caller's transaction.

use chrono::{DateTime, Utc};

use super::decided::DecidedTransition;
use super::effects::EffectRows;
use super::promotion::promote_next;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::announcements::Announcement;

/// The way in which terminal announcements reach an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnouncementRoute {
    /// The response to this call carries them.
    Response,
    /// The next heartbeat of any executor of the pool takes them.
    Heartbeat,
}

/// The outcome of a batch of transitions.
#[derive(Debug, Default)]
pub struct AppliedTransitions {
    /// Terminal announcements, inserted with the rest.
    pub announcements: Vec<Announcement>,
    /// True if ready rows were inserted. The caller wakes the relay after the commit.
    pub work_is_ready: bool,
}

/// Writes the transitions of locked executions. Executions that waited behind ended ones are
/// promoted in the same transaction.
///
/// # Errors
/// A statement fails, or an execution changed despite its lock.
pub async fn apply_transitions(
    tx: &Tx,
    now: DateTime<Utc>,
    decided: &[DecidedTransition],
    route: AnnouncementRoute,
) -> Result<AppliedTransitions, StoreError> {
    let mut rows = EffectRows::of(decided, now)?;
    let handed_at = match route {
        AnnouncementRoute::Response => Some(now),
        AnnouncementRoute::Heartbeat => None,
    };
    rows.write(tx, now, handed_at).await?;
    // Last, since promotion locks schedules and then executions that wait behind them.
    let promoted = if rows.freed.is_empty() { false } else { promote_next(tx, now, &rows.freed).await? };
    let work_is_ready = promoted || rows.work_is_ready();
    Ok(AppliedTransitions { announcements: rows.announcements, work_is_ready })
}
