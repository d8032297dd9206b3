//! Creates the partitions of the history ahead of time, drops old ones, and deletes old rows of
//! tables that have no partitions.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use orchid_kit::clock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::loop_runtime::{LoopHealth, jittered, pause};
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::placement::GroupTransaction;
use crate::commands::fleet::resources::Fleet;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::retention::{self, PrunedTable};
use crate::store::keys::ExecutionKey;

const INTERVAL: Duration = Duration::from_secs(600);
/// Time ahead for which partitions exist.
const AHEAD: TimeDelta = TimeDelta::days(15);
/// Time for which a request id is remembered.
const REQUESTS_KEPT: TimeDelta = TimeDelta::hours(24);
/// Time for which an ended session is kept, for questions about what happened.
const SESSIONS_KEPT: TimeDelta = TimeDelta::days(1);
/// Wait after the first time that a partition's table is in use. It doubles with each try.
const FIRST_PARTITION_WAIT: Duration = Duration::from_secs(1);
/// Maximum tries of one run to change partitions.
const MAX_PARTITION_TRIES: u32 = 8;
/// Maximum rows of one batch.
const BATCH: usize = 1000;
/// Maximum batches of one table in one run.
const MAX_BATCHES: usize = 100;

pub(super) async fn run(fleet: Fleet, kept: Duration, stop: CancellationToken) {
    let mut health = LoopHealth::new("retention");
    loop {
        health.record(maintain_partitions(&fleet, kept, &stop).await);
        health.record(enforce_retention(&fleet, kept, clock::utc_now()).await);
        if !pause(&stop, jittered(INTERVAL)).await {
            return;
        }
    }
}

/// Creates the partitions ahead and drops the old ones. While others use a table for long, it tries
/// again for some minutes, and then at the next run.
async fn maintain_partitions(
    fleet: &Fleet,
    kept: Duration,
    stop: &CancellationToken,
) -> Result<(), FleetError> {
    let mut wait = FIRST_PARTITION_WAIT;
    for _ in 1..MAX_PARTITION_TRIES {
        match change_partitions(fleet, kept, clock::utc_now()).await {
            Err(StoreError::Unavailable(error)) => {
                tracing::debug!(%error, wait_ms = wait.as_millis(), "cannot change a partition, trying again");
            }
            done => return Ok(done?),
        }
        if !pause(stop, jittered(wait)).await {
            return Ok(());
        }
        wait *= 2;
    }
    Ok(change_partitions(fleet, kept, clock::utc_now()).await?)
}

/// Creates and drops partitions, up to the first whose table is in use: each one more would make
/// others wait again.
async fn change_partitions(fleet: &Fleet, kept: Duration, now: DateTime<Utc>) -> Result<(), StoreError> {
    let oldest = now - kept;
    // The id of a scheduled execution holds the time at which it was due. That may be as old as the
    // history is kept, and its partition must exist.
    for missing in retention::find_missing_partitions(&fleet.databases, oldest, now + AHEAD).await? {
        retention::create_partition(&fleet.databases, &missing).await?;
    }
    for old in retention::find_old_partitions(&fleet.databases, oldest).await? {
        retention::drop_partition(&fleet.databases, &old).await?;
    }
    Ok(())
}

async fn enforce_retention(fleet: &Fleet, kept: Duration, now: DateTime<Utc>) -> Result<(), FleetError> {
    let oldest = now - kept;
    prune(fleet, PrunedTable::Requests, now - REQUESTS_KEPT).await?;
    prune(fleet, PrunedTable::Announcements, oldest).await?;
    prune(fleet, PrunedTable::Checkpoints, oldest).await?;
    prune(fleet, PrunedTable::Ready, oldest).await?;
    retention::delete_sessions(&fleet.databases, now - SESSIONS_KEPT).await?;
    Ok(())
}

async fn prune(fleet: &Fleet, table: PrunedTable, before: DateTime<Utc>) -> Result<(), FleetError> {
    for _ in 0..MAX_BATCHES {
        let found = table.find(&fleet.databases, before, BATCH as i64).await?;
        let is_full = found.len() == BATCH;
        fleet.placement.run(&DeleteRows { table }, found).await?;
        if !is_full {
            break;
        }
    }
    Ok(())
}

struct DeleteRows {
    table: PrunedTable,
}

impl GroupTransaction for DeleteRows {
    type Item = ExecutionKey;
    type Output = u64;

    fn tenant(item: &ExecutionKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, keys: &[ExecutionKey]) -> Result<u64, FleetError> {
        Ok(self.table.delete(tx, keys).await?)
    }
}
