//! Reads executions and their attempts.

use uuid::Uuid;

use super::WHAT;
use crate::commands::CommandError;
use crate::commands::pagination::{PageRequest, ResultPage};
use crate::store::db::{Databases, TenantTx, Transaction};
use crate::store::error::StoreError;
use crate::store::executions::status::{self, CurrentLease};
use crate::store::executions::{Attempt, Execution, ExecutionFilter, read};

/// Query for one execution.
pub struct GetExecution {
    /// UUID of the execution.
    pub id: Uuid,
}

impl Transaction<TenantTx> for GetExecution {
    type Output = Execution;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Execution, CommandError> {
        read::by_id(tx, self.id).await?.ok_or_else(|| CommandError::not_found(WHAT, self.id))
    }
}

/// Query for executions, newest first.
pub struct ListExecutions {
    /// Filter.
    pub filter: ExecutionFilter,
    /// Page to return.
    pub page: PageRequest<Uuid>,
}

impl Transaction<TenantTx> for ListExecutions {
    type Output = ResultPage<Execution, Uuid>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Output, CommandError> {
        let rows = read::list(tx, &self.filter, self.page.after, self.page.limit()).await?;
        Ok(self.page.cut(rows, |row| row.id))
    }
}

/// Query for the attempts of an execution, newest first.
pub struct ListExecutionAttempts {
    /// UUID of the execution.
    pub execution_id: Uuid,
    /// Page to return.
    pub page: PageRequest<i32>,
}

impl Transaction<TenantTx> for ListExecutionAttempts {
    type Output = ResultPage<Attempt, i32>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Output, CommandError> {
        GetExecution { id: self.execution_id }.run(tx).await?;
        let rows = read::attempts(tx, self.execution_id, self.page.after, self.page.limit()).await?;
        Ok(self.page.cut(rows, |row| row.attempt))
    }
}

/// Sets the last request of a running attempt from its last heartbeat. Sessions are shared by all
/// tenants, so this is not part of the tenant's transaction.
pub async fn last_request_of(databases: &Databases, attempts: &mut [Attempt]) -> Result<(), StoreError> {
    for attempt in attempts.iter_mut().filter(|attempt| attempt.ended_at.is_none()) {
        let Attempt { lease_id, session_id, granted_at, .. } = *attempt;
        let session =
            status::find_session(databases, &CurrentLease { lease_id, session_id, granted_at }).await?;
        attempt.last_request = session.and_then(|session| session.last_request);
    }
    Ok(())
}
