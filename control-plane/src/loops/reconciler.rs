//! Repairs schedules: frees those held by an execution that is gone, promotes pending executions
//! that wait behind nothing, restarts schedules that should run and are not due, and ends pending
//! executions whose schedule is gone.
//!
//! A healthy system gives it little to do, because every transition promotes the next execution in
//! its own transaction. It walks over the schedules in pages of a fixed size: a run costs the same
//! with a thousand schedules and with a million, and with more of them a walk takes longer.

use std::collections::HashSet;
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
use crate::store::executions::locked;
use crate::store::fleet::schedule_scan::{self, HeldSchedule};
use crate::store::fleet::schedules::{self, FreedSchedule, ScheduleChange, ScheduleLock};
use crate::store::keys::{ExecutionKey, ScheduleKey};

const INTERVAL: Duration = Duration::from_secs(15);
/// Time between two pages of a walk.
const PAGE_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum rows of each kind that one run looks at. It bounds the cost of a run, whatever is
/// stored.
const PAGE: i64 = 1000;

pub(super) async fn run(fleet: Fleet, stop: CancellationToken) {
    let mut health = LoopHealth::new("reconciler");
    let mut stranded = StrandedScan::default();
    let mut reconciler =
        Reconciler { fleet: fleet.clone(), held: Walk::new(), pending: Walk::new(), idle: Walk::new() };
    let mut wait = INTERVAL;
    while pause(&stop, jittered(wait)).await {
        let now = clock::utc_now();
        health.record(stranded.end_next(&fleet, now).await);
        let more = health.record(reconciler.reconcile(now).await);
        wait = if more == Some(true) { PAGE_INTERVAL } else { INTERVAL };
    }
}

/// A walk over schedules in pages, again and again.
struct Walk {
    after: ScheduleKey,
}

impl Walk {
    fn new() -> Self {
        Self { after: ScheduleKey::LOWEST }
    }

    /// Moves behind a page, or back to the start when no page follows. Returns whether one does.
    fn advance(&mut self, last: Option<ScheduleKey>, is_full: bool) -> bool {
        self.after = last.filter(|_| is_full).unwrap_or(ScheduleKey::LOWEST);
        is_full
    }
}

/// The walks of this replica. Others walk on their own.
struct Reconciler {
    fleet: Fleet,
    held: Walk,
    pending: Walk,
    idle: Walk,
}

impl Reconciler {
    /// Repairs one page of each kind, and returns whether more pages follow.
    async fn reconcile(&mut self, now: DateTime<Utc>) -> Result<bool, FleetError> {
        let (mut stuck, more_held) = self.next_stuck().await?;
        let (waiting, more_pending) = self.next_waiting().await?;
        stuck.extend(waiting);
        if !stuck.is_empty() {
            tracing::warn!(schedules = stuck.len(), "freeing schedules held by executions that are gone");
            if self.fleet.placement.run(&FreeSchedules { now }, stuck).await?.contains(&true) {
                self.fleet.wakeups.work_is_ready();
            }
        }
        // Schedules that are only idle wake no one: the scheduler sees their new due time itself.
        let (idle, more_idle) = self.next_idle().await?;
        if !idle.is_empty() {
            self.fleet.placement.run(&RestartSchedules { now }, idle).await?;
        }
        Ok(more_held || more_pending || more_idle)
    }

    /// Returns schedules of the next page that are held by an execution that has ended or is gone.
    async fn next_stuck(&mut self) -> Result<(Vec<FreedSchedule>, bool), FleetError> {
        let databases = &self.fleet.databases;
        let page = schedule_scan::find_held(databases, self.held.after, PAGE).await?;
        let more = self.held.advance(page.last().map(HeldSchedule::key), page.len() == PAGE as usize);
        let holders: Vec<ExecutionKey> = page.iter().flat_map(HeldSchedule::holders).collect();
        // Executions whose history was dropped are in no state.
        let open: HashSet<ExecutionKey> = locked::find_states(databases, &holders)
            .await?
            .into_iter()
            .filter(|(_, state)| !state.is_terminal())
            .map(|(key, _)| key)
            .collect();
        let is_held_by_ended = |schedule: &&HeldSchedule| schedule.holders().any(|key| !open.contains(&key));
        let suspects: Vec<ScheduleKey> =
            page.iter().filter(is_held_by_ended).map(HeldSchedule::key).collect();
        if suspects.is_empty() {
            return Ok((Vec::new(), more));
        }
        // An execution that ended between the two reads has moved its schedule on.
        let seen: HashSet<HeldSchedule> = page.into_iter().collect();
        let stuck = schedule_scan::find_by_keys(databases, &suspects)
            .await?
            .into_iter()
            .filter(|schedule| seen.contains(schedule))
            .flat_map(|schedule| schedule.holders().map(move |holder| (schedule.key(), holder)))
            .filter(|(_, holder)| !open.contains(holder))
            .map(|(key, holder)| freed(key, Some(holder.execution_id)))
            .collect();
        Ok((stuck, more))
    }

    /// Returns schedules of the next page with pending executions that no active one holds back.
    async fn next_waiting(&mut self) -> Result<(Vec<FreedSchedule>, bool), FleetError> {
        let databases = &self.fleet.databases;
        let (keys, is_full) = schedule_scan::find_with_pending(databases, self.pending.after, PAGE).await?;
        let more = self.pending.advance(keys.last().copied(), is_full);
        if keys.is_empty() {
            return Ok((Vec::new(), more));
        }
        let waiting = schedule_scan::find_by_keys(databases, &keys)
            .await?
            .into_iter()
            .filter(|schedule| schedule.active_execution_id.is_none())
            .map(|schedule| freed(schedule.key(), None));
        Ok((waiting.collect(), more))
    }

    /// Returns schedules of the next page that should run, but are not due and have no execution.
    /// That happens when a change of the plan or config races with the end of an execution.
    async fn next_idle(&mut self) -> Result<(Vec<ScheduleKey>, bool), FleetError> {
        let databases = &self.fleet.databases;
        let page = schedule_scan::find_idle(databases, self.idle.after, PAGE).await?;
        let more = self.idle.advance(page.last().copied(), page.len() == PAGE as usize);
        if page.is_empty() {
            return Ok((page, more));
        }
        Ok((schedule_scan::find_enabled(databases, &page).await?, more))
    }
}

/// Returns a schedule to free from an execution. How that ended is not known here; beginning where
/// it was meant to loses nothing.
fn freed(key: ScheduleKey, execution_id: Option<Uuid>) -> FreedSchedule {
    FreedSchedule { key, execution_id, revision: 0, next: None }
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
