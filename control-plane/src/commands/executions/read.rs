//! Reads executions and their attempts.

use uuid::Uuid;

use super::WHAT;
use crate::{
    commands::{
        CommandError,
        list::{Listed, Page},
    },
    store::{
        db::{TenantTx, Work},
        executions::{self, Attempt, Execution, Filter},
    },
};

/// One execution by its id.
pub struct GetExecution {
    /// Its id.
    pub id: Uuid,
}

impl Work<TenantTx> for GetExecution {
    type Done = Execution;
    type Fault = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Execution, CommandError> {
        executions::by_id(tx, self.id).await?.ok_or_else(|| CommandError::not_found(WHAT, self.id))
    }
}

/// Executions, newest first.
pub struct ListExecutions {
    /// Which.
    pub filter: Filter,
    /// Which page.
    pub page: Page<Uuid>,
}

impl Work<TenantTx> for ListExecutions {
    type Done = Listed<Execution, Uuid>;
    type Fault = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Done, CommandError> {
        let rows = executions::list(tx, &self.filter, self.page.after, self.page.limit()).await?;
        Ok(self.page.cut(rows, |row| row.id))
    }
}

/// Attempts of an execution, newest first.
pub struct ListExecutionAttempts {
    /// Id of the execution.
    pub execution_id: Uuid,
    /// Which page.
    pub page: Page<i32>,
}

impl Work<TenantTx> for ListExecutionAttempts {
    type Done = Listed<Attempt, i32>;
    type Fault = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Done, CommandError> {
        GetExecution { id: self.execution_id }.run(tx).await?;
        let rows = executions::attempts(tx, self.execution_id, self.page.after, self.page.limit()).await?;
        Ok(self.page.cut(rows, |row| row.attempt))
    }
}
