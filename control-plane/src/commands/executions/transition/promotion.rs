//! Promotion: one execution of a plan and config saves progress at a time. When it is gone, the
//! oldest pending one is queued, and the schedule moves on if the execution was the schedule's.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, LimitedExecution, NextBeginning, beginning, decide};
use uuid::Uuid;

use super::decided::{DecidedTransition, TransitionFacts};
use super::effects::EffectRows;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::executions::locked::{self, LockWait, LockedExecution};
use crate::store::fleet::schedules::{self, FreedSchedule, LockedSchedule, ScheduleChange, ScheduleLock};
use crate::store::keys::{ExecutionKey, ScheduleKey};

/// Promotes the next execution of each freed schedule, and returns whether any was promoted.
///
/// A schedule with no `execution_id` is checked for a pending execution that waits behind nothing.
///
/// # Errors
/// A statement fails, or an execution changed despite its lock.
pub async fn promote_next(tx: &Tx, now: DateTime<Utc>, freed: &[FreedSchedule]) -> Result<bool, StoreError> {
    let keys: Vec<ScheduleKey> = freed.iter().map(|schedule| schedule.key).collect();
    let schedules = schedules::lock(tx, &keys, ScheduleLock::All).await?;
    let mut changes: Vec<ScheduleChange> =
        schedules.iter().filter_map(|schedule| free(schedule, freed, now)).collect();
    let idle: HashMap<ScheduleKey, Option<LimitedExecution>> = changes
        .iter()
        .filter(|change| change.active.is_none())
        .map(|change| (change.key, change.limited))
        .collect();
    let promoted = promote_oldest(tx, now, &idle).await?;
    for change in &mut changes {
        change.active = change.active.or_else(|| promoted.get(&change.key).copied());
    }
    schedules::apply_changes(tx, now, &changes).await?;
    Ok(!promoted.is_empty())
}

/// Returns the schedule without the executions that are gone; none when it held none of them.
fn free(schedule: &LockedSchedule, freed: &[FreedSchedule], now: DateTime<Utc>) -> Option<ScheduleChange> {
    let gone = |execution_id: Option<Uuid>| {
        let same = |freed: &&FreedSchedule| freed.key == schedule.key && freed.execution_id == execution_id;
        execution_id.and_then(|id| freed.iter().find(same).map(|freed| (id, freed)))
    };
    let mut change = ScheduleChange::unchanged(schedule);
    if gone(schedule.current).is_some() {
        change.ended = change.current.take();
        change.due = schedule.rules.after_execution(schedule.due, now);
    }
    if let Some((id, freed)) = gone(schedule.active) {
        change.active = None;
        change.limited = match freed.next {
            Some(NextBeginning::Continues) => {
                Some(LimitedExecution { id: id.into(), revision: freed.revision })
            }
            Some(NextBeginning::Fresh) => None,
            None => change.limited,
        };
    }
    (change.ended.is_some() || change.active.is_none()).then_some(change)
}

/// Queues the oldest pending execution of each schedule, which continues the limited one if there
/// is one.
async fn promote_oldest(
    tx: &Tx,
    now: DateTime<Utc>,
    idle: &HashMap<ScheduleKey, Option<LimitedExecution>>,
) -> Result<HashMap<ScheduleKey, Uuid>, StoreError> {
    let mut schedules: Vec<ScheduleKey> = idle.keys().copied().collect();
    schedules.sort_unstable();
    let pending = schedules::oldest_pending(tx, &schedules).await?;
    if pending.is_empty() {
        return Ok(HashMap::new());
    }
    let keys: Vec<ExecutionKey> = pending.iter().map(|(_, key)| *key).collect();
    // Executions are locked here after schedules, against the usual order, so nothing may wait. A
    // row that another transaction holds is being ended by it, and that transaction promotes the
    // next one itself as soon as it gets the schedule's lock.
    let locked = locked::lock(tx, &keys, LockWait::Skip).await?;
    let limited = |execution: &LockedExecution| idle.get(&execution.schedule_key()).copied().flatten();
    let decided: Vec<DecidedTransition> =
        locked.into_iter().filter_map(|execution| decide_promotion(limited(&execution), execution)).collect();
    EffectRows::of(&decided, now)?.write(tx, now, None).await?;
    let promoted = decided
        .into_iter()
        .map(|DecidedTransition { execution, .. }| (execution.schedule_key(), execution.key.execution_id));
    Ok(promoted.collect())
}

fn decide_promotion(
    limited: Option<LimitedExecution>,
    execution: LockedExecution,
) -> Option<DecidedTransition> {
    let beginning = beginning(execution.chains(), execution.plan_revision, limited);
    let transition = decide(execution.snapshot(), ExecutionEvent::Promoted(beginning)).ok()?;
    Some(DecidedTransition { execution, transition, facts: TransitionFacts::default() })
}
