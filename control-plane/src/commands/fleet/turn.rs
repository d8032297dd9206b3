//! Whose turn it is among the runs of a plan for a config: one that saves progress at a time. When it is gone, the oldest that
//! waits is queued, and the schedule moves on where the run was the schedule's.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, State, TransitionCause, decide};
use uuid::Uuid;

use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::ExecutionKey;
use crate::store::fleet::ready::{self, NewReadyRow};
use crate::store::fleet::runs::{self, ExecutionChange, HistoryEntry, LockWait, LockedExecution};
use crate::store::fleet::schedules::{self, LockedSchedule, ScheduleKey, ScheduleLock, ScheduleMove};

/// Passes the turn on from runs that have ended or are gone; none: look whether anybody waits before nobody. Answers whether
/// ready rows were inserted.
pub async fn pass(
    tx: &Tx,
    now: DateTime<Utc>,
    gone: &[(ScheduleKey, Option<Uuid>)],
) -> Result<bool, StoreError> {
    let keys: Vec<ScheduleKey> = gone.iter().map(|(key, _)| *key).collect();
    let schedules = schedules::lock(tx, &keys, ScheduleLock::All).await?;
    let mut moves: Vec<ScheduleMove> =
        schedules.iter().filter_map(|schedule| without(schedule, gone, now)).collect();
    let free: Vec<ScheduleKey> =
        moves.iter().filter(|entry| entry.going.is_none()).map(|entry| entry.key).collect();
    let promoted = promote(tx, now, &free).await?;
    for entry in &mut moves {
        entry.going = entry.going.or_else(|| promoted.get(&entry.key).copied());
    }
    schedules::apply(tx, now, &moves).await?;
    Ok(!promoted.is_empty())
}

/// The schedule without the runs that are gone; none where it stood behind none of them.
fn without(
    schedule: &LockedSchedule,
    gone: &[(ScheduleKey, Option<Uuid>)],
    now: DateTime<Utc>,
) -> Option<ScheduleMove> {
    let is_gone = |run: Option<Uuid>| run.is_some() && gone.contains(&(schedule.key, run));
    let mut entry = ScheduleMove::of(schedule);
    if is_gone(schedule.current) {
        entry.ended = entry.current.take();
        entry.dues = schedule.rules.after_run(schedule.dues, now);
    }
    if is_gone(schedule.going) {
        entry.going = None;
    }
    (entry.ended.is_some() || entry.going.is_none()).then_some(entry)
}

/// Queues the oldest run that waits behind each of these. One that another transaction holds is left: that one is ending it, and
/// passes the turn on itself.
async fn promote(
    tx: &Tx,
    now: DateTime<Utc>,
    free: &[ScheduleKey],
) -> Result<HashMap<ScheduleKey, Uuid>, StoreError> {
    let waiting = schedules::oldest_pending(tx, free).await?;
    if waiting.is_empty() {
        return Ok(HashMap::new());
    }
    let keys: Vec<ExecutionKey> = waiting.iter().map(|(_, key)| *key).collect();
    let locked = runs::lock(tx, &keys, LockWait::Skip).await?;
    let moves: Vec<ExecutionChange> = locked.iter().filter_map(queued).collect();
    let moved = runs::apply(tx, now, &moves).await?;
    let queued: Vec<&LockedExecution> = locked.iter().filter(|run| moved.contains(&run.key)).collect();
    let rows: Vec<NewReadyRow> = queued.iter().map(|run| NewReadyRow::of(run, None, run.losses)).collect();
    ready::insert(tx, now, &rows).await?;
    let history: Vec<HistoryEntry> = queued
        .iter()
        .map(|run| HistoryEntry {
            key: run.key,
            state: State::Queued,
            attempt: 0,
            cause: TransitionCause::Promoted.as_str(),
            detail: String::new(),
        })
        .collect();
    runs::record(tx, now, &history).await?;
    Ok(queued
        .into_iter()
        .map(|run| {
            let key =
                ScheduleKey { tenant_id: run.key.tenant_id, plan_id: run.plan_id, config_id: run.config_id };
            (key, run.key.execution_id)
        })
        .collect())
}

fn queued(run: &LockedExecution) -> Option<ExecutionChange> {
    let transition = decide(run.snapshot(), ExecutionEvent::Promoted).ok()?;
    Some(ExecutionChange::of(run, &transition))
}
