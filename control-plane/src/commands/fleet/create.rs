//! Makes an execution that somebody asked for, in the asker's transaction: queued at once, or pending behind the run of its plan and
//! config that is going. (The scheduler makes its own, many at a time.)

use chrono::{DateTime, Utc};
use orchid_domain::execution::{self, Effect, State, Transition};

use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::ready::{self, NewReadyRow};
use crate::store::fleet::runs::{self, HistoryEntry, NewExecution};
use crate::store::fleet::schedules::{self, ScheduleKey, ScheduleLock, ScheduleMove};

/// Inserts the execution; answers the state that it begins in. After the commit, tell the relay (`Wakeups::work_is_ready`).
pub async fn run(tx: &Tx, now: DateTime<Utc>, new: &NewExecution) -> Result<State, StoreError> {
    let key = ScheduleKey { tenant_id: new.key.tenant_id, plan_id: new.plan_id, config_id: new.config_id };
    let turn = if new.persists { schedules::lock(tx, &[key], ScheduleLock::All).await?.pop() } else { None };
    let going = turn.as_ref().is_some_and(|schedule| schedule.going.is_some());
    let transition = execution::create(new.origin, new.persists, going);
    insert(tx, now, &[(new.clone(), transition.clone())]).await?;
    if let Some(schedule) = turn.filter(|_| !going) {
        let entry = ScheduleMove { going: Some(new.key.execution_id), ..ScheduleMove::of(&schedule) };
        schedules::apply(tx, now, &[entry]).await?;
    }
    Ok(transition.next)
}

/// Inserts executions with what their beginning asks for; answers which were not there yet.
pub(crate) async fn insert(
    tx: &Tx,
    now: DateTime<Utc>,
    created: &[(NewExecution, Transition)],
) -> Result<Vec<NewExecution>, StoreError> {
    let rows: Vec<(NewExecution, State)> =
        created.iter().map(|(new, transition)| (new.clone(), transition.next)).collect();
    let inserted = runs::insert(tx, now, &rows).await?;
    let created: Vec<&(NewExecution, Transition)> =
        created.iter().filter(|(new, _)| inserted.contains(&new.key)).collect();
    let enters = |transition: &Transition| {
        transition.effects.iter().any(|effect| matches!(effect, Effect::EnterReady { .. }))
    };
    let entered: Vec<NewReadyRow> = created
        .iter()
        .filter(|(_, transition)| enters(transition))
        .map(|(new, _)| NewReadyRow::of_new(new))
        .collect();
    ready::insert(tx, now, &entered).await?;
    let history: Vec<HistoryEntry> = created
        .iter()
        .map(|(new, transition)| HistoryEntry {
            key: new.key,
            state: transition.next,
            attempt: 0,
            cause: transition.cause.as_str(),
            detail: String::new(),
        })
        .collect();
    runs::record(tx, now, &history).await?;
    Ok(created.into_iter().map(|(new, _)| new.clone()).collect())
}
