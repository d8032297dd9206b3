//! Deletes an integration that nothing uses.

use super::WHAT;
use crate::{
    commands::{CommandError, etag},
    store::{
        db::{TenantTx, Transaction},
        integrations,
    },
};

/// What to delete.
pub struct DeleteIntegration {
    /// Its key.
    pub key: String,
    /// Only if this is still its etag.
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
            let message = format!("integration {:?} is used by {}", row.key, users.join(", "));
            return Err(CommandError::Refused { reason: "IN_USE", message });
        }
        integrations::delete(tx, row.id).await?;
        Ok(())
    }
}
