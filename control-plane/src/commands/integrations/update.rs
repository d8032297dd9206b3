//! Changes the names of an integration.

use chrono::{DateTime, Utc};

use super::WHAT;
use crate::{
    commands::{CommandError, etag},
    store::{
        db::{TenantTx, Transaction},
        integrations::{self, Integration},
    },
};

/// What to change; what is none stays.
pub struct UpdateIntegration {
    /// Its key.
    pub key: String,
    /// Only if this is still its etag.
    pub etag: Option<String>,
    /// For people.
    pub display_name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// When.
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
