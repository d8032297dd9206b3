//! Ends executions that passed a time limit and that their executors did not end: cancels that were
//! not carried out, running times, and ages.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, Overdue, State, decide};
use orchid_kit::clock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::loop_runtime::{LoopHealth, jittered, pause};
use crate::commands::executions::progress::ExecutionError;
use crate::commands::executions::transition::apply::{AnnouncementRoute, apply_transitions};
use crate::commands::executions::transition::decided::{DecidedTransition, TransitionFacts};
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::placement::GroupTransaction;
use crate::commands::fleet::resources::Fleet;
use crate::settings::ExecutionSettings;
use crate::store::db::Tx;
use crate::store::executions::locked::{self, LockWait, LockedExecution};
use crate::store::executions::overdue;
use crate::store::keys::ExecutionKey;

const INTERVAL: Duration = Duration::from_secs(1);
/// Time between two looks for executions that are too old, which is a matter of days.
const AGE_INTERVAL: Duration = Duration::from_secs(60);
/// Factor of the time for a cancel that has to tell an upstream first: it waits for an executor,
/// and the executor waits for the upstream.
const UPSTREAM_CANCEL_FACTOR: u32 = 2;
/// Maximum executions that one run ends for each limit.
const BATCH: i64 = 500;

pub(super) async fn run(fleet: Fleet, settings: ExecutionSettings, stop: CancellationToken) {
    let mut health = LoopHealth::new("deadlines");
    let mut next_age = Instant::now();
    loop {
        let now = clock::utc_now();
        let mut ended = end_overdue(&fleet, &settings, now).await;
        if ended.is_ok() && Instant::now() >= next_age {
            ended = end_too_old(&fleet, &settings, now).await;
            next_age = Instant::now() + jittered(AGE_INTERVAL.min(settings.max_age));
        }
        health.record(ended);
        if !pause(&stop, jittered(INTERVAL)).await {
            return;
        }
    }
}

async fn end_overdue(
    fleet: &Fleet,
    settings: &ExecutionSettings,
    now: DateTime<Utc>,
) -> Result<(), FleetError> {
    let databases = &fleet.databases;
    let requested_before = now - settings.cancel_after;
    let upstream_before = now - settings.cancel_after * UPSTREAM_CANCEL_FACTOR;
    let uncancelled = overdue::find_uncancelled(databases, requested_before, upstream_before, BATCH).await?;
    end(fleet, now, Overdue::Cancel, uncancelled).await?;
    let too_long = overdue::find_too_long(databases, now, BATCH).await?;
    end(fleet, now, Overdue::ExecutionTime, too_long).await
}

async fn end_too_old(
    fleet: &Fleet,
    settings: &ExecutionSettings,
    now: DateTime<Utc>,
) -> Result<(), FleetError> {
    let too_old = overdue::find_too_old(&fleet.databases, now - settings.max_age, BATCH).await?;
    end(fleet, now, Overdue::RunAge, too_old).await
}

async fn end(
    fleet: &Fleet,
    now: DateTime<Utc>,
    limit: Overdue,
    keys: Vec<ExecutionKey>,
) -> Result<(), FleetError> {
    if keys.is_empty() {
        return Ok(());
    }
    tracing::warn!(executions = keys.len(), limit = limit.as_str(), "ending executions past a time limit");
    if fleet.placement.run(&EndOverdue { now, limit }, keys).await?.contains(&true) {
        fleet.wakeups.work_is_ready();
    }
    Ok(())
}

struct EndOverdue {
    now: DateTime<Utc>,
    limit: Overdue,
}

impl GroupTransaction for EndOverdue {
    type Item = ExecutionKey;
    /// True if work is ready.
    type Output = bool;

    fn tenant(item: &ExecutionKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, keys: &[ExecutionKey]) -> Result<bool, FleetError> {
        // A locked row is moving right now; if it is still overdue, the next run finds it again.
        let locked = locked::lock(tx, keys, LockWait::Skip).await?;
        let decided: Vec<DecidedTransition> =
            locked.into_iter().filter_map(|execution| self.decide_end(execution)).collect();
        let applied = apply_transitions(tx, self.now, &decided, AnnouncementRoute::Heartbeat).await?;
        Ok(applied.work_is_ready)
    }
}

impl EndOverdue {
    /// Decides the end of one execution; none when it ended since the scan.
    fn decide_end(&self, execution: LockedExecution) -> Option<DecidedTransition> {
        let transition = decide(execution.snapshot(), ExecutionEvent::Overdue(self.limit)).ok()?;
        let (code, message) = match self.limit {
            Overdue::Cancel if execution.state == State::Running => {
                ("CANCELLED", "its executor did not cancel it in time")
            }
            Overdue::Cancel => ("CANCELLED", "no executor took it in time to tell its upstream"),
            Overdue::ExecutionTime => {
                ("MAX_EXECUTION_SECONDS", "its executor did not end it at its plan's max_execution_seconds")
            }
            Overdue::RunAge => ("MAX_RUN_AGE", "it lived longer than the server allows"),
        };
        // A cancel that is overdue ends as cancelled, which is no error.
        let error = (transition.next == State::Failed).then(|| ExecutionError {
            class: "limit".to_owned(),
            code: code.to_owned(),
            message: message.to_owned(),
            ..ExecutionError::default()
        });
        let facts = TransitionFacts { error, detail: message.to_owned(), ..TransitionFacts::default() };
        Some(DecidedTransition { execution, transition, facts })
    }
}
