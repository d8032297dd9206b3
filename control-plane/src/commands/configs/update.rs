//! Changes a config. A secret written as its marker keeps its stored value.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::WHAT;
use super::document::{self, PreparedValues};
use super::secrets::{ConfigPart, SecretValues};
use super::transport::{self, PreparedTransport, TransportSettings};
use crate::commands::checked::CheckedCommand;
use crate::commands::schedules::sync_schedules;
use crate::commands::tenants::data_key;
use crate::commands::{CommandError, etag};
use crate::keys::MasterKeys;
use crate::store::configs::{self, Config};
use crate::store::db::TenantTx;
use crate::store::integrations::{self, ConfigSchema};

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

/// Rows that changes of a config are checked against.
pub struct ConfigChangeBasis {
    row: Config,
    /// Version of the newest schema, which the values are checked against.
    schema_version: i32,
    schema: Option<ConfigSchema>,
    kept_values: SecretValues,
    kept_transport: SecretValues,
}

/// Valid changes, with their secrets taken out.
pub struct CheckedChanges {
    values: Option<PreparedValues>,
    transport: Option<PreparedTransport>,
}

impl UpdateConfig {
    fn missing(&self) -> CommandError {
        CommandError::not_found(WHAT, format!("{}/{}", self.integration, self.key))
    }
}

impl CheckedCommand for UpdateConfig {
    type Basis = ConfigChangeBasis;
    type Checked = CheckedChanges;
    type Output = Config;

    async fn read(&self, tx: &TenantTx) -> Result<ConfigChangeBasis, CommandError> {
        let missing = || self.missing();
        let integration = integrations::by_key(tx, &self.integration).await?.ok_or_else(missing)?;
        let row = configs::by_key(tx, &self.integration, &self.key).await?.ok_or_else(missing)?;
        etag::check(WHAT, &row.key, row.id, row.version, self.etag.as_deref())?;
        let sealed = configs::secrets(tx, row.id).await?;
        let key = data_key(tx, &self.keys).await?;
        let place = (tx.tenant_id(), row.id);
        let open = |part, sealed: Option<&[u8]>| SecretValues::open(&key, place, part, sealed);
        let schema = match &self.values {
            Some(_) => integrations::newest_schema(tx, integration.id).await?,
            None => None,
        };
        Ok(ConfigChangeBasis {
            kept_values: open(ConfigPart::Values, sealed.secrets.as_deref())?,
            kept_transport: open(ConfigPart::Transport, sealed.transport_secrets.as_deref())?,
            row,
            schema_version: integration.schema_version,
            schema,
        })
    }

    fn check(&self, basis: &ConfigChangeBasis) -> Result<CheckedChanges, CommandError> {
        let transport =
            self.transport.as_ref().map(|written| transport::prepare(written, &basis.kept_transport));
        let schema = basis.schema.as_ref().map(|schema| &schema.schema);
        let values = self.values.as_ref().map(|values| document::prepare(values, schema, &basis.kept_values));
        match (values.transpose(), transport.transpose()) {
            (Ok(values), Ok(transport)) => Ok(CheckedChanges { values, transport }),
            (values, transport) => {
                let diagnostics = transport.err().into_iter().chain(values.err()).flatten().collect();
                Err(CommandError::invalid_document("INVALID_CONFIG", "the config", diagnostics))
            }
        }
    }

    async fn write(
        &self,
        tx: &TenantTx,
        basis: &ConfigChangeBasis,
        checked: &CheckedChanges,
    ) -> Result<Config, CommandError> {
        let missing = || self.missing();
        let integration = integrations::lock_by_key(tx, &self.integration).await?.ok_or_else(missing)?;
        let mut row = configs::by_key(tx, &self.integration, &self.key).await?.ok_or_else(missing)?;
        // The same version also means that the etag that was sent is still the current one.
        if (row.id, row.version) != (basis.row.id, basis.row.version)
            || integration.schema_version != basis.schema_version
        {
            return Err(CommandError::BasisChanged);
        }
        let mut sealed = configs::secrets(tx, row.id).await?;
        let key = data_key(tx, &self.keys).await?;
        let place = (tx.tenant_id(), row.id);
        if let Some(prepared) = &checked.transport {
            sealed.transport_secrets = prepared.secrets.seal(&key, place, ConfigPart::Transport)?;
            row.transport.clone_from(&prepared.shown);
        }
        if let Some(prepared) = &checked.values {
            sealed.secrets = prepared.secrets.seal(&key, place, ConfigPart::Values)?;
            row.values.clone_from(&prepared.values);
            row.schema_version = basis.schema_version;
        }
        if let Some(display_name) = &self.display_name {
            row.display_name.clone_from(display_name);
        }
        let was_enabled = row.enabled;
        row.enabled = self.enabled.unwrap_or(row.enabled);
        row.version += 1;
        row.updated_at = self.now;
        configs::update(tx, &row, sealed).await?;
        // Nothing else of a config decides when it runs, so other changes lock no schedule.
        if row.enabled != was_enabled {
            sync_schedules::sync_config(tx, integration.id, (row.id, &row.key), self.now).await?;
        }
        Ok(row)
    }
}
