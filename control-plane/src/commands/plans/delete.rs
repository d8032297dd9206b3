//! Deletes a plan with its revisions, schedules and contexts, unless an execution of it is active.

use super::{WHAT, update};
use crate::commands::{CommandError, etag};
use crate::store::db::{TenantTx, Transaction};
use crate::store::plans;
use crate::store::schedules::{self, ScheduleOwner};

/// Command that deletes a plan.
pub struct DeletePlan {
    /// Key of the resource.
    pub key: String,
    /// Etag that must be the current one, if given.
    pub etag: Option<String>,
}

impl Transaction<TenantTx> for DeletePlan {
    type Output = ();
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<(), CommandError> {
        let row = update::lock(tx, &self.key).await?;
        etag::check(WHAT, &row.key, row.id, row.version, self.etag.as_deref())?;
        // Creating an execution locks its schedule, or holds the plan if it saves nothing: with all
        // of them locked here, none can start before this transaction ends.
        plans::lock_for_delete(tx, row.id).await?;
        schedules::lock_of(tx, ScheduleOwner::Plan(row.id)).await?;
        let open = plans::open_executions(tx, row.id).await?;
        if !open.is_empty() {
            let message = format!(
                "plan {:?} has active executions, wait for them or cancel them: {}",
                row.key,
                open.join(", ")
            );
            return Err(CommandError::Refused { reason: "EXECUTIONS_ACTIVE", message });
        }
        plans::delete(tx, row.id).await?;
        Ok(())
    }
}
