//! Makes the runs of schedules that are due, in batches, each occurrence once: the schedule's row is locked and must still be due, and
//! the run's id is derived from the occurrence.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_domain::ScheduleId;
use orchid_domain::execution::{Kind, Origin, Transition, create};
use orchid_domain::occurrence;
use orchid_domain::schedule::{ActiveExecutions, DueDecision, DueTimes};
use orchid_kit::clock;
use orchid_kit::telemetry::Traceparent;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::pace::{Health, jittered, pause_until};
use crate::commands::fleet::{Fleet, FleetError, GroupTransaction, create as make};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::ExecutionKey;
use crate::store::fleet::runs::NewExecution;
use crate::store::fleet::schedules::{self, LockedSchedule, ScheduleKey, ScheduleLock, ScheduleMove};

/// Schedules that one pass takes; where there are more, the next pass follows at once.
const BATCH: usize = 500;
/// What is due and locked by somebody else is looked at again after this.
const LEAST_WAIT: Duration = Duration::from_millis(5);

pub(super) async fn run(fleet: Fleet, interval: Duration, retention: Duration, stop: CancellationToken) {
    let mut health = Health::new("scheduler");
    loop {
        let wait = match health.note(pass(&fleet, clock::utc_now(), retention).await) {
            Some(true) => Duration::ZERO,
            Some(false) => until_next(&fleet, interval, &mut health).await,
            None => jittered(interval),
        };
        if !pause_until(&stop, wait, fleet.wakeups.schedules()).await {
            return;
        }
    }
}

/// Until the next schedule is due, but never longer than the interval: other replicas and users change schedules too.
async fn until_next(fleet: &Fleet, interval: Duration, health: &mut Health) -> Duration {
    let next = health.note(schedules::next_due(&fleet.databases).await).flatten();
    let until = next.map(|due| (due - clock::utc_now()).to_std().unwrap_or_default());
    until.map_or(interval, |until| until.min(interval)).max(LEAST_WAIT)
}

/// Takes one batch; answers whether more may be due.
async fn pass(fleet: &Fleet, now: DateTime<Utc>, retention: Duration) -> Result<bool, FleetError> {
    let due = schedules::find_due(&fleet.databases, now, BATCH as i64).await?;
    if due.is_empty() {
        return Ok(false);
    }
    let full = due.len() == BATCH;
    let made: usize =
        fleet.placement.run(&MakeDue { now, oldest: now - retention }, due).await?.into_iter().sum();
    if made > 0 {
        fleet.wakeups.work_is_ready();
    }
    Ok(full)
}

struct MakeDue {
    now: DateTime<Utc>,
    /// History does not reach further back.
    oldest: DateTime<Utc>,
}

impl GroupTransaction for MakeDue {
    type Item = ScheduleKey;
    /// Runs that were made.
    type Output = usize;
    type Error = StoreError;

    fn tenant(item: &ScheduleKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, keys: &[ScheduleKey]) -> Result<usize, StoreError> {
        let locked = schedules::lock(tx, keys, ScheduleLock::Due(self.now)).await?;
        let decided: Vec<(ScheduleMove, Option<(NewExecution, Transition)>)> =
            locked.iter().map(|schedule| self.decide(schedule)).collect();
        let created: Vec<(NewExecution, Transition)> =
            decided.iter().filter_map(|(_, run)| run.clone()).collect();
        let inserted = make::insert(tx, self.now, &created).await?;
        let made = |run: &NewExecution| inserted.iter().any(|new| new.key == run.key);
        let moves: Vec<ScheduleMove> = locked
            .iter()
            .zip(decided)
            .map(|(schedule, (entry, run))| match run {
                // The occurrence was made before: it goes on as after a run.
                Some((run, _)) if !made(&run) => ScheduleMove {
                    dues: schedule.rules.after_run(entry.dues, self.now),
                    ..ScheduleMove::of(schedule)
                },
                Some(_) | None => entry,
            })
            .collect();
        schedules::apply(tx, self.now, &moves).await?;
        Ok(inserted.len())
    }
}

impl MakeDue {
    fn decide(&self, schedule: &LockedSchedule) -> (ScheduleMove, Option<(NewExecution, Transition)>) {
        let stays = ScheduleMove::of(schedule);
        let going = ActiveExecutions { own: schedule.current.is_some(), other: schedule.going.is_some() };
        match schedule.rules.due(schedule.dues, self.now, self.oldest, going) {
            DueDecision::Suspend => {
                (ScheduleMove { dues: DueTimes { next_at: None, ..schedule.dues }, ..stays }, None)
            }
            DueDecision::Skip { dues } => (ScheduleMove { dues, ..stays }, None),
            DueDecision::Start { scheduled_at, dues } => {
                let run = new_run(schedule, scheduled_at);
                let id = Some(run.key.execution_id);
                let entry =
                    ScheduleMove { dues, current: id, going: schedule.going.or(id), began: 1, ..stays };
                (entry, Some((run, create(Origin::Schedule, true, going.other))))
            }
        }
    }
}

fn new_run(schedule: &LockedSchedule, scheduled_at: DateTime<Utc>) -> NewExecution {
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
