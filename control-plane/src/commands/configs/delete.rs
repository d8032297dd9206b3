//! Deletes a config and its schedules, unless an execution of it is active.

use super::WHAT;
use crate::commands::{CommandError, etag};
use crate::store::db::{TenantTx, Transaction};
use crate::store::{configs, integrations};

/// Command that deletes a config.
pub struct DeleteConfig {
    /// Key of the integration.
    pub integration: String,
    /// Key of the config.
    pub key: String,
    /// Etag that must be the current one, if given.
    pub etag: Option<String>,
}

impl Transaction<TenantTx> for DeleteConfig {
    type Output = ();
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<(), CommandError> {
        let missing = || CommandError::not_found(WHAT, format!("{}/{}", self.integration, self.key));
        integrations::lock_by_key(tx, &self.integration).await?.ok_or_else(missing)?;
        let row = configs::by_key(tx, &self.integration, &self.key).await?.ok_or_else(missing)?;
        etag::check(WHAT, &row.key, row.id, row.version, self.etag.as_deref())?;
        // Creating an execution locks its schedule, or holds the config if it saves nothing: with
        // all of them locked here, none can start before this transaction ends.
        configs::lock_for_delete(tx, row.id).await?;
        configs::lock_schedules(tx, row.id).await?;
        let open = configs::open_executions(tx, &row).await?;
        if !open.is_empty() {
            let message = format!(
                "config {:?} has active executions, wait for them or cancel them: {}",
                row.key,
                open.join(", ")
            );
            return Err(CommandError::Refused { reason: "EXECUTIONS_ACTIVE", message });
        }
        configs::delete(tx, row.id).await?;
        Ok(())
    }
}
