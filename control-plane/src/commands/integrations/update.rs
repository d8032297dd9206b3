//! Changes name and description of an integration.

use chrono::{DateTime, Utc};

use super::WHAT;
use crate::commands::{CommandError, etag};
use crate::store::db::{TenantTx, Transaction};
use crate::store::integrations::{self, Integration};

/// Command that changes an integration; fields that are none stay unchanged.
pub struct UpdateIntegration {
    /// Key of the resource.
    pub key: String,
    /// Etag that must be the current one, if given.
    pub etag: Option<String>,
    /// Name shown to people.
    pub display_name: Option<String>,
    /// Description shown to people.
    pub description: Option<String>,
    /// Time of the request.
    pub now: DateTime<Utc>,
}

impl Transaction<TenantTx> for UpdateIntegration {
    type Output = Integration;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Integration, CommandError> {
        let mut row = integrations::lock_by_key(tx, &self.key)
            .await?
            .ok_or_else(|| CommandError::not_found(WHAT, &self.key))?;
        etag::check(WHAT, &row.key, row.id, row.version, self.etag.as_deref())?;
        if let Some(display_name) = &self.display_name {
            row.display_name.clone_from(display_name);
        }
        if let Some(description) = &self.description {
            row.description.clone_from(description);
        }
        row.version += 1;
        row.updated_at = self.now;
        integrations::update(tx, &row).await?;
        Ok(row)
    }
}
