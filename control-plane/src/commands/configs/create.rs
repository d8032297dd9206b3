//! Creates a config and its schedules.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use orchid_common::suggest::closest;
use serde_json::Value as Json;
use uuid::Uuid;

use super::secrets::{ConfigPart, SecretValues};
use super::transport::{self, TransportSettings};
use super::{WHAT, document};
use crate::commands::checked::CheckedCommand;
use crate::commands::schedules::sync_schedules;
use crate::commands::tenants::data_key;
use crate::commands::{CommandError, Diagnostic, ResourceKey};
use crate::keys::MasterKeys;
use crate::store::configs::{self, Config, SealedSecrets};
use crate::store::db::TenantTx;
use crate::store::integrations::{self, ConfigSchema, Integration};

/// Command that creates a config.
pub struct CreateConfig {
    /// UUID v7 of the new resource.
    pub id: Uuid,
    /// Key of the integration.
    pub integration: String,
    /// Key, unique within the integration.
    pub key: String,
    /// Name shown to people.
    pub display_name: String,
    /// Whether plans run for it.
    pub enabled: bool,
    /// The values, including secrets.
    pub values: Json,
    /// Network settings, including secrets.
    pub transport: TransportSettings,
    /// Time of the request.
    pub now: DateTime<Utc>,
    /// Decrypts the data key of the tenant.
    pub keys: Arc<MasterKeys>,
}

/// Rows that a new config is checked against.
pub struct ConfigBasis {
    integration: Option<Integration>,
    schema: Option<ConfigSchema>,
    /// Keys of integrations, to suggest one if the config's does not exist.
    known: Vec<String>,
}

/// A valid config, with its secrets taken out.
pub struct CheckedConfig {
    row: Config,
    values: SecretValues,
    transport: SecretValues,
}

impl CheckedCommand for CreateConfig {
    type Basis = ConfigBasis;
    type Checked = CheckedConfig;
    type Output = Config;

    async fn read(&self, tx: &TenantTx) -> Result<ConfigBasis, CommandError> {
        let Some(integration) = integrations::by_key(tx, &self.integration).await? else {
            let known = integrations::keys(tx).await?;
            return Ok(ConfigBasis { integration: None, schema: None, known });
        };
        let schema = integrations::newest_schema(tx, integration.id).await?;
        Ok(ConfigBasis { integration: Some(integration), schema, known: Vec::new() })
    }

    fn check(&self, basis: &ConfigBasis) -> Result<CheckedConfig, CommandError> {
        let mut diagnostics: Vec<Diagnostic> =
            ResourceKey::parse(&self.key, "/key").err().into_iter().collect();
        let transport = transport::prepare(&self.transport, &SecretValues::default());
        let Some(integration) = &basis.integration else {
            diagnostics.insert(0, unknown_integration(&self.integration, &basis.known));
            diagnostics.extend(transport.err().into_iter().flatten());
            return Err(CommandError::invalid_document("INVALID_CONFIG", "the config", diagnostics));
        };
        let schema = basis.schema.as_ref();
        let document = schema.map(|schema| &schema.schema);
        let prepared = document::prepare(&self.values, document, &SecretValues::default());
        let (prepared, transport) = match (prepared, transport) {
            (Ok(prepared), Ok(transport)) if diagnostics.is_empty() => (prepared, transport),
            (prepared, transport) => {
                diagnostics.extend(transport.err().into_iter().chain(prepared.err()).flatten());
                return Err(CommandError::invalid_document("INVALID_CONFIG", "the config", diagnostics));
            }
        };
        let row = Config {
            id: self.id,
            integration_id: integration.id,
            integration_key: integration.key.clone(),
            key: self.key.clone(),
            display_name: self.display_name.clone(),
            enabled: self.enabled,
            values: prepared.values,
            transport: transport.shown,
            schema_version: schema.map_or(0, |schema| schema.version),
            version: 1,
            created_at: self.now,
            updated_at: self.now,
        };
        Ok(CheckedConfig { row, values: prepared.secrets, transport: transport.secrets })
    }

    async fn write(
        &self,
        tx: &TenantTx,
        _: &ConfigBasis,
        checked: &CheckedConfig,
    ) -> Result<Config, CommandError> {
        let CheckedConfig { row, values, transport } = checked;
        // The lock keeps the newest schema the newest until the commit.
        let integration = integrations::lock_by_key(tx, &self.integration).await?;
        let is_same = |integration: &Integration| {
            integration.id == row.integration_id && integration.schema_version == row.schema_version
        };
        if !integration.as_ref().is_some_and(is_same) {
            return Err(CommandError::BasisChanged);
        }
        let key = data_key(tx, &self.keys).await?;
        let place = (tx.tenant_id(), row.id);
        let sealed = SealedSecrets {
            secrets: values.seal(&key, place, ConfigPart::Values)?,
            transport_secrets: transport.seal(&key, place, ConfigPart::Transport)?,
        };
        if !configs::insert(tx, row, sealed).await? {
            return Err(CommandError::AlreadyExists { what: WHAT, name: row.key.clone() });
        }
        sync_schedules::sync_config(tx, row.integration_id, (row.id, &row.key), self.now).await?;
        Ok(row.clone())
    }
}

fn unknown_integration(key: &str, known: &[String]) -> Diagnostic {
    let message = format!("integration {key:?} does not exist");
    let near = closest(key, known.iter().map(String::as_str));
    Diagnostic::new("UNKNOWN_REFERENCE", "/integration", message).suggest(near)
}
