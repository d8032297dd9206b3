//! Frees schedules whose run is gone, queues runs that wait behind nobody, and sets going again what should run and waits for nothing.
//! In a healthy system it finds nothing: every transition passes the turn in its own transaction.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_kit::clock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::pace::{Health, jittered, pause};
use crate::commands::fleet::{Fleet, FleetError, GroupTransaction, turn};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::schedules::{self, ScheduleKey, ScheduleLock, ScheduleMove};

const INTERVAL: Duration = Duration::from_secs(15);
const BATCH: i64 = 500;

pub(super) async fn run(fleet: Fleet, stop: CancellationToken) {
    let mut health = Health::new("sweep");
    while pause(&stop, jittered(INTERVAL)).await {
        health.note(pass(&fleet, clock::utc_now()).await);
    }
}

async fn pass(fleet: &Fleet, now: DateTime<Utc>) -> Result<(), FleetError> {
    let stuck = schedules::find_stuck(&fleet.databases, BATCH).await?;
    if !stuck.is_empty() {
        tracing::warn!(schedules = stuck.len(), "schedules stood behind runs that are gone");
        if fleet.placement.run(&Free { now }, stuck).await?.contains(&true) {
            fleet.wakeups.work_is_ready();
        }
    }
    let idle = schedules::find_idle(&fleet.databases, BATCH).await?;
    if !idle.is_empty() {
        fleet.placement.run(&Resume { now }, idle).await?;
    }
    Ok(())
}

struct Free {
    now: DateTime<Utc>,
}

impl GroupTransaction for Free {
    /// A schedule, and the run that is gone.
    type Item = (ScheduleKey, Option<Uuid>);
    /// Whether work is ready.
    type Output = bool;
    type Error = StoreError;

    fn tenant(item: &Self::Item) -> Uuid {
        item.0.tenant_id
    }

    async fn run(&self, tx: &Tx, gone: &[Self::Item]) -> Result<bool, StoreError> {
        turn::pass(tx, self.now, gone).await
    }
}

struct Resume {
    now: DateTime<Utc>,
}

impl GroupTransaction for Resume {
    type Item = ScheduleKey;
    type Output = ();
    type Error = StoreError;

    fn tenant(item: &ScheduleKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, keys: &[ScheduleKey]) -> Result<(), StoreError> {
        let locked = schedules::lock(tx, keys, ScheduleLock::All).await?;
        let waits_for_nothing =
            locked.iter().filter(|schedule| schedule.dues.next_at.is_none() && schedule.current.is_none());
        let moves: Vec<ScheduleMove> = waits_for_nothing
            .map(|schedule| ScheduleMove {
                dues: schedule.rules.after_run(schedule.dues, self.now),
                ..ScheduleMove::of(schedule)
            })
            .collect();
        schedules::apply(tx, self.now, &moves).await
    }
}
