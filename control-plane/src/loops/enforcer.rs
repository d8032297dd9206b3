//! Ends runs that passed a limit of time and whose executors did not end them: cancels that were not obeyed, execution times, ages.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, Overdue, State, decide};
use orchid_kit::clock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::pace::{Health, jittered, pause};
use crate::commands::fleet::progress::ExecutionError;
use crate::commands::fleet::settle::{DecidedTransition, TransitionFacts, settle};
use crate::commands::fleet::{Fleet, FleetError, GroupTransaction};
use crate::settings::ExecutionSettings;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::runs::{self, LockWait, LockedExecution};
use crate::store::fleet::{ExecutionKey, overdue};

const INTERVAL: Duration = Duration::from_secs(1);
/// `max_execution_seconds` of a plan that does not say.
const DEFAULT_EXECUTION_SECONDS: i64 = 300;
/// What an executor gets beyond the plan's limit to end the run itself.
const EXECUTION_SLACK_SECONDS: i64 = 60;
/// A run whose upstream has to be told first gets so many times as long for its cancel: it waits for an executor, which waits for the
/// upstream.
const TIMES_TO_TELL: u32 = 2;
const BATCH: i64 = 500;

pub(super) async fn run(fleet: Fleet, settings: ExecutionSettings, stop: CancellationToken) {
    let mut health = Health::new("enforcer");
    loop {
        health.note(pass(&fleet, &settings, clock::utc_now()).await);
        if !pause(&stop, jittered(INTERVAL)).await {
            return;
        }
    }
}

async fn pass(fleet: &Fleet, settings: &ExecutionSettings, now: DateTime<Utc>) -> Result<(), FleetError> {
    let databases = &fleet.databases;
    let requested_before = now - settings.cancel_after;
    let told_before = now - settings.cancel_after * TIMES_TO_TELL;
    let uncancelled = overdue::find_uncancelled(databases, requested_before, told_before, BATCH).await?;
    end(fleet, now, Overdue::Cancel, uncancelled).await?;
    let too_long =
        overdue::find_too_long(databases, now, DEFAULT_EXECUTION_SECONDS, EXECUTION_SLACK_SECONDS, BATCH)
            .await?;
    end(fleet, now, Overdue::ExecutionTime, too_long).await?;
    let too_old = overdue::find_too_old(databases, now - settings.max_age, BATCH).await?;
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
    tracing::warn!(runs = keys.len(), limit = limit.as_str(), "ending runs past their time");
    if fleet.placement.run(&End { now, limit }, keys).await?.contains(&true) {
        fleet.wakeups.work_is_ready();
    }
    Ok(())
}

struct End {
    now: DateTime<Utc>,
    limit: Overdue,
}

impl GroupTransaction for End {
    type Item = ExecutionKey;
    /// Whether work is ready.
    type Output = bool;
    type Error = StoreError;

    fn tenant(item: &ExecutionKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, keys: &[ExecutionKey]) -> Result<bool, StoreError> {
        let locked = runs::lock(tx, keys, LockWait::Skip).await?;
        let settlements: Vec<DecidedTransition> =
            locked.into_iter().filter_map(|run| self.end(run)).collect();
        Ok(settle(tx, self.now, &settlements, false).await?.work_is_ready)
    }
}

impl End {
    fn end(&self, run: LockedExecution) -> Option<DecidedTransition> {
        let transition = decide(run.snapshot(), ExecutionEvent::Overdue(self.limit)).ok()?;
        let (code, message) = match self.limit {
            Overdue::Cancel if run.state == State::Running => {
                ("CANCELLED", "its executor did not cancel it in time")
            }
            Overdue::Cancel => ("CANCELLED", "no executor took it in time to tell its upstream"),
            Overdue::ExecutionTime => {
                ("MAX_EXECUTION_SECONDS", "its executor did not end it at its plan's max_execution_seconds")
            }
            Overdue::RunAge => ("MAX_RUN_AGE", "it lived longer than the server allows"),
        };
        let fault = (transition.next == State::Failed).then(|| ExecutionError {
            class: "limit".to_owned(),
            code: code.to_owned(),
            message: message.to_owned(),
            ..ExecutionError::default()
        });
        let facts = TransitionFacts { fault, detail: message.to_owned(), ..TransitionFacts::default() };
        Some(DecidedTransition { run, transition, facts })
    }
}
