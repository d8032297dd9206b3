//! Reads executions and their attempts.

use chrono::{DateTime, Utc};
use orchid_domain::execution::State;
use uuid::Uuid;

use super::WHAT;
use crate::commands::pagination::{PageRequest, ResultPage};
use crate::commands::{CommandError, Diagnostic};
use crate::store::db::{Databases, TenantTx, Transaction};
use crate::store::error::StoreError;
use crate::store::executions::status::{self, CurrentLease};
use crate::store::executions::{Attempt, Execution, ExecutionFilter, read};
use crate::store::plans;

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
    /// Only of the plan with this key.
    pub plan: Option<String>,
    /// Only of the config with this key; needs a plan.
    pub config: Option<String>,
    /// Only in one of these states; empty allows any.
    pub states: Vec<State>,
    /// Only due or requested at or after this time.
    pub from: Option<DateTime<Utc>>,
    /// Only due or requested before this time.
    pub before: Option<DateTime<Utc>>,
    /// Page to return.
    pub page: PageRequest<Uuid>,
}

impl Transaction<TenantTx> for ListExecutions {
    type Output = ResultPage<Execution, Uuid>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Output, CommandError> {
        self.check()?;
        let Some(filter) = self.filter(tx).await? else { return Ok(ResultPage::empty()) };
        let rows = read::list(tx, &filter, self.page.after, self.page.limit()).await?;
        Ok(self.page.cut(rows, |row| row.id))
    }
}

impl ListExecutions {
    /// Checks that a filter by config names the plan too: config keys are only unique per
    /// integration.
    fn check(&self) -> Result<(), CommandError> {
        if self.plan.is_none() && self.config.is_some() {
            let diagnostic = Diagnostic::new("REQUIRED", "/plan", "a filter by config also needs the plan");
            return Err(CommandError::invalid("INVALID_FILTER", diagnostic));
        }
        Ok(())
    }

    /// Returns the filter by ids; none if there is no such plan or config.
    async fn filter(&self, tx: &TenantTx) -> Result<Option<ExecutionFilter>, StoreError> {
        let mut filter = ExecutionFilter {
            states: self.distinct_states(),
            from: self.from,
            before: self.before,
            ..ExecutionFilter::default()
        };
        if let Some(plan) = &self.plan {
            let Some(ids) = plans::ids_by_keys(tx, plan, self.config.as_deref()).await? else {
                return Ok(None);
            };
            if self.config.is_some() && ids.config_id.is_none() {
                return Ok(None);
            }
            (filter.plan_id, filter.config_id) = (Some(ids.plan_id), ids.config_id);
        }
        Ok(Some(filter))
    }

    /// Returns each state once, so that no execution is listed twice.
    fn distinct_states(&self) -> Vec<State> {
        let mut states: Vec<State> = Vec::new();
        for state in &self.states {
            if !states.contains(state) {
                states.push(*state);
            }
        }
        states
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_filter_without_plan_is_refused() {
        let by_config = ListExecutions {
            plan: None,
            config: Some("main".to_owned()),
            states: Vec::new(),
            from: None,
            before: None,
            page: PageRequest { size: 1, after: None },
        };
        assert!(by_config.check().is_err());
        let by_both = ListExecutions { plan: Some("orders".to_owned()), ..by_config };
        assert!(by_both.check().is_ok());
    }
}
