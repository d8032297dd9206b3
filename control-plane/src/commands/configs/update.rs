//! Changes a config; a secret that is written as its marker keeps its value.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::{
    WHAT, document,
    secrets::{Part, Secrets},
    transport::{self, Transport},
};
use crate::{
    commands::{CommandError, etag, schedules::materialise, tenants::data_key},
    keys::MasterKeys,
    store::{
        configs::{self, Config},
        db::{TenantTx, Transaction},
        integrations,
    },
};

/// What to change; what is none stays.
pub struct UpdateConfig {
    /// Key of the integration.
    pub integration: String,
    /// Key of the config.
    pub key: String,
    /// Only if this is still its etag.
    pub etag: Option<String>,
    /// For people.
    pub display_name: Option<String>,
    /// Whether it runs.
    pub enabled: Option<bool>,
    /// The values, secrets or their markers in their places.
    pub values: Option<Json>,
    /// How requests leave and where they may go, secrets or their markers in their places.
    pub transport: Option<Transport>,
    /// When.
    pub now: DateTime<Utc>,
    /// Open the tenant's data key.
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
        let mut faults = Vec::new();
        if let Some(written) = &self.transport {
            let kept = Secrets::open(&key, place, Part::Transport, sealed.transport_secrets.as_deref())?;
            match transport::prepare(written, &kept) {
                Ok(prepared) => {
                    sealed.transport_secrets = prepared.secrets.seal(&key, place, Part::Transport)?;
                    row.transport = prepared.shown;
                }
                Err(more) => faults.extend(more),
            }
        }
        if let Some(values) = &self.values {
            let kept = Secrets::open(&key, place, Part::Values, sealed.secrets.as_deref())?;
            let schema = integrations::newest_schema(tx, integration.id).await?;
            match document::prepare(values, schema.as_ref().map(|schema| &schema.schema), &kept) {
                Ok(prepared) => {
                    sealed.secrets = prepared.secrets.seal(&key, place, Part::Values)?;
                    row.values = prepared.values;
                    row.schema_version = schema.map_or(0, |schema| schema.version);
                }
                Err(more) => faults.extend(more),
            }
        }
        if !faults.is_empty() {
            return Err(CommandError::faulty("INVALID_CONFIG", "the config", faults));
        }
        if let Some(display_name) = &self.display_name {
            row.display_name.clone_from(display_name);
        }
        row.enabled = self.enabled.unwrap_or(row.enabled);
        row.version += 1;
        row.updated_at = self.now;
        configs::update(tx, &row, sealed).await?;
        materialise::integration(tx, integration.id, self.now).await?;
        Ok(row)
    }
}
