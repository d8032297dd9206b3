//! Changes a config. A secret written as its marker keeps its stored value.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::secrets::{ConfigPart, SecretValues};
use super::transport::{self, TransportSettings};
use super::{WHAT, document};
use crate::commands::schedules::sync_schedules;
use crate::commands::tenants::data_key;
use crate::commands::{CommandError, etag};
use crate::keys::MasterKeys;
use crate::store::configs::{self, Config};
use crate::store::db::{TenantTx, Transaction};
use crate::store::integrations;

/// Command that changes a config; fields that are none stay unchanged.
pub struct UpdateConfig {
    /// Key of the integration.
    pub integration: String,
    /// Key of the config.
    pub key: String,
    /// Etag that must be the current one, if given.
    pub etag: Option<String>,
    /// Name shown to people.
    pub display_name: Option<String>,
    /// Whether plans run for it.
    pub enabled: Option<bool>,
    /// New values, with secrets or their markers.
    pub values: Option<Json>,
    /// New network settings, with secrets or their markers.
    pub transport: Option<TransportSettings>,
    /// Time of the request.
    pub now: DateTime<Utc>,
    /// Decrypts the data key of the tenant.
    pub keys: Arc<MasterKeys>,
}

impl Transaction<TenantTx> for UpdateConfig {
    type Output = Config;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Config, CommandError> {
        let missing = || CommandError::not_found(WHAT, format!("{}/{}", self.integration, self.key));
        let integration = integrations::lock_by_key(tx, &self.integration).await?.ok_or_else(missing)?;
        let mut row = configs::by_key(tx, &self.integration, &self.key).await?.ok_or_else(missing)?;
        etag::check(WHAT, &row.key, row.id, row.version, self.etag.as_deref())?;
        let mut sealed = configs::secrets(tx, row.id).await?;
        let key = data_key(tx, &self.keys).await?;
        let place = (tx.tenant_id(), row.id);
        let mut diagnostics = Vec::new();
        if let Some(written) = &self.transport {
            let kept =
                SecretValues::open(&key, place, ConfigPart::Transport, sealed.transport_secrets.as_deref())?;
            match transport::prepare(written, &kept) {
                Ok(prepared) => {
                    sealed.transport_secrets = prepared.secrets.seal(&key, place, ConfigPart::Transport)?;
                    row.transport = prepared.shown;
                }
                Err(more) => diagnostics.extend(more),
            }
        }
        if let Some(values) = &self.values {
            let kept = SecretValues::open(&key, place, ConfigPart::Values, sealed.secrets.as_deref())?;
            let schema = integrations::newest_schema(tx, integration.id).await?;
            match document::prepare(values, schema.as_ref().map(|schema| &schema.schema), &kept) {
                Ok(prepared) => {
                    sealed.secrets = prepared.secrets.seal(&key, place, ConfigPart::Values)?;
                    row.values = prepared.values;
                    row.schema_version = schema.map_or(0, |schema| schema.version);
                }
                Err(more) => diagnostics.extend(more),
            }
        }
        if !diagnostics.is_empty() {
            return Err(CommandError::invalid_document("INVALID_CONFIG", "the config", diagnostics));
        }
        if let Some(display_name) = &self.display_name {
            row.display_name.clone_from(display_name);
        }
        row.enabled = self.enabled.unwrap_or(row.enabled);
        row.version += 1;
        row.updated_at = self.now;
        configs::update(tx, &row, sealed).await?;
        sync_schedules::sync_integration(tx, integration.id, self.now).await?;
        Ok(row)
    }
}
