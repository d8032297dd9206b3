//! Makes the partitions of history ahead of time, drops those that are old, and deletes what has no partitions.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use orchid_kit::clock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::pace::{Health, jittered, pause};
use crate::commands::fleet::{Fleet, FleetError, GroupTransaction};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::ExecutionKey;
use crate::store::fleet::retention::{self, PrunedTable};

const INTERVAL: Duration = Duration::from_secs(600);
/// Partitions are made so far ahead.
const AHEAD: TimeDelta = TimeDelta::days(15);
/// A request id is remembered so long.
const REQUESTS_KEPT: TimeDelta = TimeDelta::hours(24);
/// A session that ended is kept so long, for those who ask what happened.
const SESSIONS_KEPT: TimeDelta = TimeDelta::days(1);
/// Rows of one kind in one batch.
const BATCH: usize = 1000;
/// Batches of one kind in one pass.
const MAX_BATCHES: usize = 100;

pub(super) async fn run(fleet: Fleet, kept: Duration, stop: CancellationToken) {
    let mut health = Health::new("retention");
    loop {
        health.note(pass(&fleet, kept, clock::utc_now()).await);
        if !pause(&stop, jittered(INTERVAL)).await {
            return;
        }
    }
}

async fn pass(fleet: &Fleet, kept: Duration, now: DateTime<Utc>) -> Result<(), FleetError> {
    let oldest = now - kept;
    // A scheduled run's id may be as old as history is kept, and its partition must be there.
    retention::make_partitions(&fleet.databases, oldest, now + AHEAD).await?;
    retention::drop_partitions(&fleet.databases, oldest).await?;
    clear(fleet, PrunedTable::Requests, now - REQUESTS_KEPT).await?;
    clear(fleet, PrunedTable::Announcements, oldest).await?;
    clear(fleet, PrunedTable::Checkpoints, oldest).await?;
    retention::delete_sessions(&fleet.databases, now - SESSIONS_KEPT).await?;
    Ok(())
}

async fn clear(fleet: &Fleet, remains: PrunedTable, before: DateTime<Utc>) -> Result<(), FleetError> {
    for _ in 0..MAX_BATCHES {
        let found = remains.find(&fleet.databases, before, BATCH as i64).await?;
        let full = found.len() == BATCH;
        fleet.placement.run(&Clear { remains }, found).await?;
        if !full {
            break;
        }
    }
    Ok(())
}

struct Clear {
    remains: PrunedTable,
}

impl GroupTransaction for Clear {
    type Item = ExecutionKey;
    type Output = u64;
    type Error = StoreError;

    fn tenant(item: &ExecutionKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, keys: &[ExecutionKey]) -> Result<u64, StoreError> {
        self.remains.delete(tx, keys).await
    }
}
