//! Creates executions: one for a trigger, or a batch of scheduled ones.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{self, Beginning, NewRun, State, Transition};

use super::decided::{DecidedTransition, TransitionFacts};
use super::effects::EffectRows;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::executions::insert::{self, InsertedExecution, NewExecution};
use crate::store::fleet::schedules::{self, ScheduleChange, ScheduleLock};
use crate::store::keys::{ExecutionKey, ScheduleKey};

/// Creates an execution in the caller's transaction, and returns the state that it begins in:
/// queued, or pending behind the active execution of its plan and config. Returns none, and creates
/// nothing, if the plan does not run for the config any more. The caller wakes the relay after the
/// commit (`Wakeups::work_is_ready`).
///
/// An execution that saves nothing locks no schedule: its caller holds the rows of plan and config.
///
/// # Errors
/// A statement fails.
pub async fn create_execution(
    tx: &Tx,
    now: DateTime<Utc>,
    new: &NewExecution,
) -> Result<Option<State>, StoreError> {
    let key = ScheduleKey { tenant_id: new.key.tenant_id, plan_id: new.plan_id, config_id: new.config_id };
    // The schedule's row is the lock under which the one active execution is chosen. An execution
    // that saves nothing competes for nothing, and does not take it.
    let schedule =
        if new.persists { schedules::lock(tx, &[key], ScheduleLock::All).await?.pop() } else { None };
    // The config was taken out of the plan, or one of the two was deleted, while this transaction
    // waited for the lock. An execution without a schedule would wait for ever behind another one.
    if new.persists && schedule.is_none() {
        return Ok(None);
    }
    let is_behind = schedule.as_ref().is_some_and(|schedule| schedule.active.is_some());
    let limited = schedule.as_ref().and_then(|schedule| schedule.limited);
    let beginning = execution::beginning(new.chains(), new.plan_revision, limited);
    let run = NewRun { origin: new.origin, persists: new.persists, beginning };
    let transition = execution::create(run, is_behind);
    let state = transition.next;
    insert_executions(tx, now, vec![(new.clone(), transition)]).await?;
    if let Some(schedule) = schedule.filter(|_| !is_behind) {
        let change =
            ScheduleChange { active: Some(new.key.execution_id), ..ScheduleChange::unchanged(&schedule) };
        schedules::apply_changes(tx, now, &[change]).await?;
    }
    Ok(Some(state))
}

/// Inserts executions with the rows that their first transitions ask for, and returns the keys of
/// those that were inserted. An execution whose id exists already gets no rows.
///
/// # Errors
/// A statement fails.
pub async fn insert_executions(
    tx: &Tx,
    now: DateTime<Utc>,
    created: Vec<(NewExecution, Transition)>,
) -> Result<HashSet<ExecutionKey>, StoreError> {
    let row = |(new, transition): &(NewExecution, Transition)| InsertedExecution {
        new: new.clone(),
        state: transition.next,
        beginning: transition.beginning().unwrap_or(Beginning::Fresh),
    };
    let rows: Vec<InsertedExecution> = created.iter().map(row).collect();
    let inserted: HashSet<ExecutionKey> = insert::insert(tx, now, &rows).await?.into_iter().collect();
    let decided: Vec<DecidedTransition> = created
        .into_iter()
        .filter(|(new, _)| inserted.contains(&new.key))
        .map(|(new, transition)| DecidedTransition {
            execution: new.into_locked(transition.next),
            transition,
            facts: TransitionFacts::default(),
        })
        .collect();
    EffectRows::of_created(&decided, now)?.write(tx, now, None).await?;
    Ok(inserted)
}
