//! Repairs schedules: frees those held by an execution that is gone, promotes pending executions
//! that wait behind nothing, restarts schedules that should run and are not due, and ends pending
//! executions whose schedule is gone.
//!
//! A healthy system gives it little to do, because every transition promotes the next execution in
//! its own transaction.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_kit::clock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::loop_runtime::{LoopHealth, jittered, pause};
use super::stranded::StrandedScan;
use crate::commands::executions::transition::promotion::promote_next;
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::placement::GroupTransaction;
use crate::commands::fleet::resources::Fleet;
use crate::store::db::Tx;
use crate::store::fleet::schedule_scan;
use crate::store::fleet::schedules::{self, FreedSchedule, ScheduleChange, ScheduleLock};
use crate::store::keys::ScheduleKey;

const INTERVAL: Duration = Duration::from_secs(15);
/// Maximum schedules of each kind that one run repairs.
const BATCH: i64 = 500;

pub(super) async fn run(fleet: Fleet, stop: CancellationToken) {
    let mut health = LoopHealth::new("reconciler");
    let mut stranded = StrandedScan::default();
    while pause(&stop, jittered(INTERVAL)).await {
        let now = clock::utc_now();
        health.record(reconcile(&fleet, &mut stranded, now).await);
    }
}

async fn reconcile(fleet: &Fleet, stranded: &mut StrandedScan, now: DateTime<Utc>) -> Result<(), FleetError> {
    let stuck = schedule_scan::find_stuck(&fleet.databases, BATCH).await?;
    if !stuck.is_empty() {
        tracing::warn!(schedules = stuck.len(), "freeing schedules held by executions that are gone");
        if fleet.placement.run(&FreeSchedules { now }, stuck).await?.contains(&true) {
            fleet.wakeups.work_is_ready();
        }
    }
    // Schedules that are only idle wake no one: the scheduler sees their new due time by itself.
    let idle = schedule_scan::find_idle(&fleet.databases, BATCH).await?;
    if !idle.is_empty() {
        fleet.placement.run(&RestartSchedules { now }, idle).await?;
    }
    stranded.end_next(fleet, now).await
}

struct FreeSchedules {
    now: DateTime<Utc>,
}

impl GroupTransaction for FreeSchedules {
    type Item = FreedSchedule;
    /// True if work is ready.
    type Output = bool;

    fn tenant(item: &FreedSchedule) -> Uuid {
        item.key.tenant_id
    }

    async fn run(&self, tx: &Tx, freed: &[FreedSchedule]) -> Result<bool, FleetError> {
        Ok(promote_next(tx, self.now, freed).await?)
    }
}

struct RestartSchedules {
    now: DateTime<Utc>,
}

impl GroupTransaction for RestartSchedules {
    type Item = ScheduleKey;
    type Output = ();

    fn tenant(item: &ScheduleKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, keys: &[ScheduleKey]) -> Result<(), FleetError> {
        let locked = schedules::lock(tx, keys, ScheduleLock::All).await?;
        // The scan took no locks: a schedule may be due or have an execution by now.
        let idle =
            locked.iter().filter(|schedule| schedule.due.next_at.is_none() && schedule.current.is_none());
        let changes: Vec<ScheduleChange> = idle
            .map(|schedule| ScheduleChange {
                due: schedule.rules.after_execution(schedule.due, self.now),
                ..ScheduleChange::unchanged(schedule)
            })
            .collect();
        Ok(schedules::apply_changes(tx, self.now, &changes).await?)
    }
}
