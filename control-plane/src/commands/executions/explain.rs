//! Explains an execution: its state in words, its history, its attempts. Reads only; what it says was true at one moment each, not at the
//! same one.

use chrono::{DateTime, Utc};
use orchid_domain::execution::State;
use uuid::Uuid;

use super::{
    read::{GetExecution, last_request_of},
    report::Report,
    words::{Facts, Standing, summary},
};
use crate::{
    commands::CommandError,
    store::{
        db::{Databases, TenantTx, Transaction},
        error::StoreError,
        executions::{self, Attempt, Execution, HistoryEvent},
        status::{self, ActiveExecution, CurrentLease, LastCheckpoint, QueuePosition},
    },
};

/// The most events and the most attempts that are told of, the newest of them.
const TOLD: i64 = 1000;

/// An execution, explained.
pub struct Explained {
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
) -> Result<Explained, CommandError> {
    let mut read = databases.run_tenant(tenant_id, &Read { id, now }).await?;
    last_request_of(databases, &mut read.attempts).await?;
    let state = state_of(&read.execution)?;
    let standing = stand(databases, &read, state).await?;
    let report = Report::of(&read.execution)?;
    let facts = Facts {
        execution: &read.execution,
        state,
        report: &report,
        attempt: read.attempts.last(),
        standing: &standing,
        now,
    };
    let summary = summary(&facts);
    Ok(Explained { execution: read.execution, summary, events: read.events, attempts: read.attempts })
}

fn state_of(execution: &Execution) -> Result<State, StoreError> {
    execution.state.parse().map_err(|error| StoreError::corrupt("plan_executions.state", error))
}

/// What the fleet's role must be asked for: sessions belong to no tenant.
async fn stand(databases: &Databases, read: &Found, state: State) -> Result<Standing, StoreError> {
    Ok(match state {
        State::Pending => Standing::Behind { going: read.going.clone(), before: read.pending_before },
        State::Queued | State::Parked | State::Blocked => {
            let pool = read.queued.as_ref().map_or("", |queued| queued.pool.as_str());
            let load = status::find_pool_load(databases, pool).await?;
            Standing::Ready { queued: read.queued.clone(), load }
        }
        State::Running => {
            let session = match &read.lease {
                Some(lease) => status::find_session(databases, lease).await?,
                None => None,
            };
            Standing::Held { session, saved: read.saved.clone() }
        }
        State::Succeeded | State::Failed | State::Aborted | State::Cancelled | State::DeadLettered => {
            Standing::Ended
        }
    })
}

struct Read {
    id: Uuid,
    now: DateTime<Utc>,
}

struct Found {
    execution: Execution,
    events: Vec<HistoryEvent>,
    attempts: Vec<Attempt>,
    going: Option<ActiveExecution>,
    pending_before: i64,
    queued: Option<QueuePosition>,
    lease: Option<CurrentLease>,
    saved: Option<LastCheckpoint>,
}

impl Transaction<TenantTx> for Read {
    type Output = Found;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Found, CommandError> {
        let execution = GetExecution { id: self.id }.run(tx).await?;
        let mut attempts = executions::attempts(tx, self.id, None, TOLD).await?;
        attempts.reverse();
        let mut events = executions::history(tx, self.id, TOLD).await?;
        events.reverse();
        let pending = state_of(&execution)? == State::Pending;
        let going = if pending { status::active_execution(tx, &execution).await? } else { None };
        let pending_before = if pending { status::pending_before(tx, &execution).await? } else { 0 };
        Ok(Found {
            events,
            attempts,
            going,
            pending_before,
            queued: status::queue_position(tx, self.id, self.now).await?,
            lease: status::current_lease(tx, self.id).await?,
            saved: status::last_checkpoint(tx, self.id).await?,
            execution,
        })
    }
}
