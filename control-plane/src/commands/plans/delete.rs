//! Deletes a plan with its revisions, schedules and contexts, unless a run of it is going.

use super::{WHAT, update};
use crate::{
    commands::{CommandError, etag},
    store::{
        db::{TenantTx, Transaction},
        plans, schedules,
    },
};

/// What to delete.
pub struct DeletePlan {
    /// Its key.
    pub key: String,
    /// Only if this is still its etag.
    pub etag: Option<String>,
}

impl Transaction<TenantTx> for DeletePlan {
    type Output = ();
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<(), CommandError> {
        let row = update::lock(tx, &self.key).await?;
        etag::check(WHAT, &row.key, row.id, row.version, self.etag.as_deref())?;
        // The locks on its schedules keep new runs away until this is through.
        schedules::lock_of_plan(tx, row.id).await?;
        let open = plans::open_runs(tx, row.id).await?;
        if !open.is_empty() {
            let message = format!("plan {:?} has runs that have not ended: {}", row.key, open.join(", "));
            return Err(CommandError::Refused { reason: "EXECUTIONS_ACTIVE", message });
        }
        plans::delete(tx, row.id).await?;
        Ok(())
    }
}
