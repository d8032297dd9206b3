//! Deletes an integration, unless a config or plan uses it.

use super::WHAT;
use crate::commands::{CommandError, etag};
use crate::store::db::{TenantTx, Transaction};
use crate::store::integrations;

/// Command that deletes an integration.
pub struct DeleteIntegration {
    /// Key of the resource.
    pub key: String,
    /// Etag that must be the current one, if given.
    pub etag: Option<String>,
}

impl Transaction<TenantTx> for DeleteIntegration {
    type Output = ();
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<(), CommandError> {
        let row = integrations::lock_by_key(tx, &self.key)
            .await?
            .ok_or_else(|| CommandError::not_found(WHAT, &self.key))?;
        etag::check(WHAT, &row.key, row.id, row.version, self.etag.as_deref())?;
        let users = integrations::users(tx, row.id).await?;
        if !users.is_empty() {
            let message = format!("integration {:?} is still used by {}", row.key, users.join(", "));
            return Err(CommandError::Refused { reason: "IN_USE", message });
        }
        integrations::delete(tx, row.id).await?;
        Ok(())
    }
}
