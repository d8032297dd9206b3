//! Explains an execution: its state in words, its history, its attempts. Reads only; what it says was true at one moment each, not at the
//! same one.

use chrono::{DateTime, Utc};
use orchid_domain::execution::State;
use uuid::Uuid;

use super::{
    explanation::{ExecutionStatus, ExplanationFacts, summary},
    read::{GetExecution, last_request_of},
    report::ExecutionReport,
};
use crate::{
    commands::CommandError,
    store::{
        db::{Databases, TenantTx, Transaction},
        error::StoreError,
        executions::{
            Attempt, Execution, HistoryEvent, read,
            status::{self, ActiveExecution, CurrentLease, LastCheckpoint, QueuePosition},
        },
    },
};

/// The most events and the most attempts that are told of, the newest of them.
const TOLD: i64 = 1000;

/// An execution, explained.
pub struct ExecutionExplanation {
    /// As it is.
    pub execution: Execution,
    /// One paragraph.
    pub summary: String,
    /// Its transitions, oldest first.
    pub events: Vec<HistoryEvent>,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
}

/// Explains one execution of a tenant.
pub async fn explain(
    databases: &Databases,
    tenant_id: Uuid,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<ExecutionExplanation, CommandError> {
    let mut read = databases.run_tenant(tenant_id, &ExplainQuery { id, now }).await?;
    last_request_of(databases, &mut read.attempts).await?;
    let state = state_of(&read.execution)?;
    let status = read_status(databases, &read, state).await?;
    let report = ExecutionReport::of(&read.execution)?;
    let facts = ExplanationFacts {
        execution: &read.execution,
        state,
        report: &report,
        attempt: read.attempts.last(),
        status: &status,
        now,
    };
    let summary = summary(&facts);
    Ok(ExecutionExplanation {
        execution: read.execution,
        summary,
        events: read.events,
        attempts: read.attempts,
    })
}

fn state_of(execution: &Execution) -> Result<State, StoreError> {
    execution.state.parse().map_err(|error| StoreError::corrupt("plan_executions.state", error))
}

/// What the fleet's role must be asked for: sessions belong to no tenant.
async fn read_status(
    databases: &Databases,
    read: &ExplainRows,
    state: State,
) -> Result<ExecutionStatus, StoreError> {
    Ok(match state {
        State::Pending => {
            ExecutionStatus::Pending { active: read.active.clone(), ahead: read.pending_before }
        }
        State::Queued | State::Parked | State::Blocked => {
            let pool = read.queued.as_ref().map_or("", |queued| queued.pool.as_str());
            let load = status::find_pool_load(databases, pool).await?;
            ExecutionStatus::Waiting { queued: read.queued.clone(), load }
        }
        State::Running => {
            let session = match &read.lease {
                Some(lease) => status::find_session(databases, lease).await?,
                None => None,
            };
            ExecutionStatus::Running { session, saved: read.saved.clone() }
        }
        State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
            ExecutionStatus::Ended
        }
    })
}

struct ExplainQuery {
    id: Uuid,
    now: DateTime<Utc>,
}

struct ExplainRows {
    execution: Execution,
    events: Vec<HistoryEvent>,
    attempts: Vec<Attempt>,
    active: Option<ActiveExecution>,
    pending_before: i64,
    queued: Option<QueuePosition>,
    lease: Option<CurrentLease>,
    saved: Option<LastCheckpoint>,
}

impl Transaction<TenantTx> for ExplainQuery {
    type Output = ExplainRows;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<ExplainRows, CommandError> {
        let execution = GetExecution { id: self.id }.run(tx).await?;
        let mut attempts = read::attempts(tx, self.id, None, TOLD).await?;
        attempts.reverse();
        let mut events = read::history(tx, self.id, TOLD).await?;
        events.reverse();
        let pending = state_of(&execution)? == State::Pending;
        let active = if pending { status::active_execution(tx, &execution).await? } else { None };
        let pending_before = if pending { status::pending_before(tx, &execution).await? } else { 0 };
        Ok(ExplainRows {
            events,
            attempts,
            active,
            pending_before,
            queued: status::queue_position(tx, self.id, self.now).await?,
            lease: status::current_lease(tx, self.id).await?,
            saved: status::last_checkpoint(tx, self.id).await?,
            execution,
        })
    }
}
