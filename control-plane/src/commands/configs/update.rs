//! Changes a config; a secret that is written as its marker keeps its value.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::{WHAT, document, secrets::Secrets};
use crate::{
    commands::{CommandError, etag, schedules::materialise, tenants::data_key},
    keys::MasterKeys,
    store::{
        configs::{self, Config},
        db::{TenantTx, Work},
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
    /// Hosts that may be reached.
    pub allowed_hosts: Option<Vec<String>>,
    /// When.
    pub now: DateTime<Utc>,
    /// Open the tenant's data key.
    pub keys: Arc<MasterKeys>,
}

impl Work<TenantTx> for UpdateConfig {
    type Done = Config;
    type Fault = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Config, CommandError> {
        let missing = || CommandError::not_found(WHAT, format!("{}/{}", self.integration, self.key));
        let integration = integrations::lock_by_key(tx, &self.integration).await?.ok_or_else(missing)?;
        let mut row = configs::by_key(tx, &self.integration, &self.key).await?.ok_or_else(missing)?;
        etag::check(WHAT, &row.key, row.id, row.version, self.etag.as_deref())?;
        let mut sealed = configs::secrets(tx, row.id).await?;
        let mut faults = Vec::new();
        if let Some(hosts) = &self.allowed_hosts {
            faults = document::host_faults(hosts);
            row.allowed_hosts = Json::from(hosts.clone());
        }
        if let Some(values) = &self.values {
            let key = data_key(tx, &self.keys).await?;
            let kept = Secrets::open(&key, tx.tenant_id(), row.id, sealed.as_deref())?;
            let schema = integrations::newest_schema(tx, integration.id).await?;
            match document::prepare(values, schema.as_ref().map(|schema| &schema.schema), &kept) {
                Ok(prepared) => {
                    sealed = prepared.secrets.seal(&key, tx.tenant_id(), row.id)?;
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
