//! Explains an execution: a summary of its state, its history and its attempts. It only reads, in
//! several transactions, so the parts may describe slightly different moments.

use chrono::{DateTime, Utc};
use orchid_domain::execution::State;
use uuid::Uuid;

use super::explanation::{ExecutionStatus, ExplanationFacts, summary};
use super::read::{GetExecution, last_request_of};
use super::report::ExecutionReport;
use crate::commands::CommandError;
use crate::store::db::{Databases, TenantTx, Transaction};
use crate::store::error::StoreError;
use crate::store::executions::status::{self, ActiveExecution, CurrentLease, LastCheckpoint, QueuePosition};
use crate::store::executions::{Attempt, Execution, HistoryEvent, read};

/// Maximum number of events and of attempts; the newest are returned.
const MAX_ENTRIES: i64 = 1000;

/// Explanation of an execution.
pub struct ExecutionExplanation {
    /// The execution.
    pub execution: Execution,
    /// Summary in one paragraph.
    pub summary: String,
    /// State transitions, oldest first.
    pub events: Vec<HistoryEvent>,
    /// Attempts, oldest first.
    pub attempts: Vec<Attempt>,
}

/// Explains one execution of a tenant.
///
/// # Errors
/// Fails if the execution does not exist or the database does.
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

/// Reads the load of the pool or the session of the executor. Both are shared by all tenants, so
/// this needs the fleet's role and is not part of the tenant's transaction.
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
        let mut attempts = read::attempts(tx, self.id, None, MAX_ENTRIES).await?;
        // The limit keeps the newest entries; the explanation shows them oldest first.
        attempts.reverse();
        let mut events = read::history(tx, self.id, MAX_ENTRIES).await?;
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
