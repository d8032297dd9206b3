//! Creates the executions of schedules that are due, in batches.
//!
//! Each occurrence is created once: the schedule's row is locked and must still be due, and the
//! execution's id is derived from the occurrence.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_domain::ScheduleId;
use orchid_domain::execution::{Kind, NewRun, Origin, Transition, beginning, create};
use orchid_domain::occurrence;
use orchid_domain::schedule::{ActiveExecutions, DueDecision, DueTimes};
use orchid_kit::clock;
use orchid_kit::telemetry::Traceparent;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::loop_runtime::{LoopHealth, jittered, pause_until};
use crate::commands::executions::transition::create::insert_executions;
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::placement::GroupTransaction;
use crate::commands::fleet::resources::Fleet;
use crate::store::db::Tx;
use crate::store::executions::insert::NewExecution;
use crate::store::fleet::schedule_scan;
use crate::store::fleet::schedules::{self, LockedSchedule, ScheduleChange, ScheduleLock};
use crate::store::keys::{ExecutionKey, ScheduleKey};

/// Maximum schedules of one run. After a full batch the next run follows at once.
const BATCH: usize = 500;
/// Minimum wait. A schedule that is due but locked by another replica is looked at again after it.
const MIN_WAIT: Duration = Duration::from_millis(5);

pub(super) async fn run(fleet: Fleet, interval: Duration, retention: Duration, stop: CancellationToken) {
    let mut health = LoopHealth::new("scheduler");
    loop {
        let wait = match health.record(create_due(&fleet, clock::utc_now(), retention).await) {
            // Other replicas change schedules too, and their changes do not wake this process.
            Some(Some(until)) => until.min(interval).max(MIN_WAIT),
            Some(None) => Duration::ZERO,
            None => jittered(interval),
        };
        if !pause_until(&stop, wait, fleet.wakeups.schedules()).await {
            return;
        }
    }
}

/// Handles one batch. Returns the time until the next schedule is due, or none if more may be due
/// now.
async fn create_due(
    fleet: &Fleet,
    now: DateTime<Utc>,
    retention: Duration,
) -> Result<Option<Duration>, FleetError> {
    // At rest, this one statement is all that a run costs.
    let next = schedule_scan::next_due(&fleet.databases).await?;
    let until = next.map_or(Duration::MAX, |due| (due - now).to_std().unwrap_or_default());
    if !until.is_zero() {
        return Ok(Some(until));
    }
    let due = schedule_scan::find_due(&fleet.databases, now, BATCH as i64).await?;
    let is_full = due.len() == BATCH;
    let transaction = CreateDue { now, oldest: now - retention };
    let created: usize = fleet.placement.run(&transaction, due).await?.into_iter().sum();
    if created > 0 {
        fleet.wakeups.work_is_ready();
    }
    // What is due but locked by another replica is looked at again after the minimum wait.
    Ok((!is_full).then_some(Duration::ZERO))
}

struct CreateDue {
    now: DateTime<Utc>,
    /// The oldest time that the history reaches back to.
    oldest: DateTime<Utc>,
}

/// A decision about a locked schedule: its change, and the execution to create.
type DecidedSchedule = (ScheduleChange, Option<(NewExecution, Transition)>);

impl GroupTransaction for CreateDue {
    type Item = ScheduleKey;
    /// Number of created executions.
    type Output = usize;

    fn tenant(item: &ScheduleKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, keys: &[ScheduleKey]) -> Result<usize, FleetError> {
        let locked = schedules::lock(tx, keys, ScheduleLock::Due(self.now)).await?;
        let decided: Vec<DecidedSchedule> = locked.iter().map(|schedule| self.decide(schedule)).collect();
        let created = decided.iter().filter_map(|(_, created)| created.clone()).collect();
        let inserted = insert_executions(tx, self.now, created).await?;
        let changes: Vec<ScheduleChange> = locked
            .iter()
            .zip(decided)
            .map(|(schedule, (change, created))| match created {
                // The occurrence exists already: a fail-over lost the schedule's update, but not
                // the execution. The schedule goes on as after that execution's end.
                Some((new, _)) if !inserted.contains(&new.key) => ScheduleChange {
                    due: schedule.rules.after_execution(change.due, self.now),
                    ..ScheduleChange::unchanged(schedule)
                },
                Some(_) | None => change,
            })
            .collect();
        schedules::apply_changes(tx, self.now, &changes).await?;
        Ok(inserted.len())
    }
}

impl CreateDue {
    fn decide(&self, schedule: &LockedSchedule) -> DecidedSchedule {
        let unchanged = ScheduleChange::unchanged(schedule);
        let active = ActiveExecutions { own: schedule.current.is_some(), other: schedule.active.is_some() };
        match schedule.rules.decide_due(schedule.due, self.now, self.oldest, active) {
            DueDecision::Suspend => {
                (ScheduleChange { due: DueTimes { next_at: None, ..schedule.due }, ..unchanged }, None)
            }
            DueDecision::Skip { due } => (ScheduleChange { due, ..unchanged }, None),
            DueDecision::Start { scheduled_at, due } => {
                let new = new_execution(schedule, scheduled_at);
                let id = Some(new.key.execution_id);
                let change = ScheduleChange {
                    due,
                    current: id,
                    active: schedule.active.or(id),
                    started: 1,
                    ..unchanged
                };
                // Scheduled executions always save their state, so another active one holds them
                // back.
                let beginning = beginning(new.chains(), new.plan_revision, schedule.limited);
                let run = NewRun { origin: Origin::Schedule, persists: true, beginning };
                (change, Some((new, create(run, active.other))))
            }
        }
    }
}

fn new_execution(schedule: &LockedSchedule, scheduled_at: DateTime<Utc>) -> NewExecution {
    let id = occurrence::execution_id(ScheduleId(schedule.id), scheduled_at);
    NewExecution {
        key: ExecutionKey { tenant_id: schedule.key.tenant_id, execution_id: id.0 },
        plan_id: schedule.key.plan_id,
        plan_key: schedule.plan_key.clone(),
        plan_revision: schedule.revision,
        integration_key: schedule.integration_key.clone(),
        config_id: schedule.key.config_id,
        config_key: schedule.config_key.clone(),
        kind: Kind::Run,
        origin: Origin::Schedule,
        persists: true,
        context_override: None,
        persist_context: false,
        priority: schedule.priority,
        scheduled_at,
        traceparent: Some(Traceparent::random().to_string()),
        pool: schedule.pool.clone(),
    }
}
