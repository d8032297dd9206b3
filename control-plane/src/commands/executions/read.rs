//! Reads executions and their attempts.

use uuid::Uuid;

use super::WHAT;
use crate::commands::pagination::{PageRequest, ResultPage};
use crate::commands::{CommandError, Diagnostic};
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
        check_filter(&self.filter)?;
        let rows = read::list(tx, &self.filter, self.page.after, self.page.limit()).await?;
        Ok(self.page.cut(rows, |row| row.id))
    }
}

/// Checks that a filter by config names the plan too: config keys are only unique per integration.
fn check_filter(filter: &ExecutionFilter) -> Result<(), CommandError> {
    if filter.plan_key.is_none() && filter.config_key.is_some() {
        let diagnostic = Diagnostic::new("REQUIRED", "/plan", "a filter by config also needs the plan");
        return Err(CommandError::invalid("INVALID_FILTER", diagnostic));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_filter_without_plan_is_refused() {
        let by_config = ExecutionFilter { config_key: Some("main".to_owned()), ..ExecutionFilter::default() };
        assert!(check_filter(&by_config).is_err());
        let by_both = ExecutionFilter { plan_key: Some("orders".to_owned()), ..by_config };
        assert!(check_filter(&by_both).is_ok());
    }
}
