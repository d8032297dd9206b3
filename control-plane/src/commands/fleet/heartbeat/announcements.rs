//! Exchanges terminal announcements with an executor: deletes those that Kafka acknowledged, and
//! hands over those that wait for it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::placement::GroupTransaction;
use crate::commands::fleet::resources::Fleet;
use crate::commands::fleet::session::Session;
use crate::store::db::Tx;
use crate::store::fleet::announcements::{self, Announcement, AnnouncementKey};

/// Maximum announcements that one response hands over.
const MAX_ANNOUNCEMENTS: i64 = 64;
/// Maximum wait for a row that another transaction has locked. It is below what a heartbeat spends
/// here, so that no connection stays busy behind an abandoned statement.
const MAX_LOCK_WAIT: Duration = Duration::from_millis(500);
/// Time after which an announcement that was handed over and not confirmed goes to another
/// executor.
const HAND_OVER_AGAIN_AFTER: TimeDelta = TimeDelta::seconds(15);

/// Deletes confirmed announcements, and returns those of the pool that the executor has to produce.
pub(super) async fn exchange(
    fleet: &Fleet,
    session: &Session,
    now: DateTime<Utc>,
    confirmed: Vec<AnnouncementKey>,
) -> Result<Vec<Announcement>, FleetError> {
    if !confirmed.is_empty() {
        fleet.placement.run(&DeleteConfirmed, confirmed).await?;
    }
    let handed_before = now - HAND_OVER_AGAIN_AFTER;
    let waiting =
        announcements::find_unconfirmed(&fleet.databases, &session.pool, handed_before, MAX_ANNOUNCEMENTS)
            .await?;
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    let handed = fleet.placement.run(&HandOver { now, handed_before }, waiting).await?;
    Ok(handed.into_iter().flatten().collect())
}

struct DeleteConfirmed;

impl GroupTransaction for DeleteConfirmed {
    type Item = AnnouncementKey;
    type Output = ();

    fn tenant(item: &AnnouncementKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[AnnouncementKey]) -> Result<(), FleetError> {
        tx.limit_lock_wait(MAX_LOCK_WAIT).await?;
        Ok(announcements::delete(tx, items).await?)
    }
}

struct HandOver {
    now: DateTime<Utc>,
    handed_before: DateTime<Utc>,
}

impl GroupTransaction for HandOver {
    type Item = AnnouncementKey;
    type Output = Vec<Announcement>;

    fn tenant(item: &AnnouncementKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[AnnouncementKey]) -> Result<Vec<Announcement>, FleetError> {
        tx.limit_lock_wait(MAX_LOCK_WAIT).await?;
        // Heartbeats of other executors see the same announcements. The update hands each to one of
        // them; a duplicate would be harmless, since it has the same message id.
        Ok(announcements::hand_over(tx, self.now, self.handed_before, items).await?)
    }
}
