//! Creates a config and its schedules.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use orchid_common::suggest::closest;
use serde_json::Value as Json;
use uuid::Uuid;

use super::secrets::{ConfigPart, SecretValues};
use super::transport::{self, TransportSettings};
use super::{WHAT, document};
use crate::commands::schedules::sync_schedules;
use crate::commands::tenants::data_key;
use crate::commands::{CommandError, Diagnostic, ResourceKey};
use crate::keys::MasterKeys;
use crate::store::configs::{self, Config, SealedSecrets};
use crate::store::db::{TenantTx, Transaction};
use crate::store::integrations::{self, Integration};

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

/// A valid config, with its secrets taken out.
pub(super) struct CheckedConfig {
    integration: Integration,
    row: Config,
    values: SecretValues,
    transport: SecretValues,
}

impl CreateConfig {
    /// Validates the config and locks its integration.
    ///
    /// # Errors
    /// Fails with all problems at once, or if the database does.
    pub(super) async fn check(&self, tx: &TenantTx) -> Result<CheckedConfig, CommandError> {
        let mut diagnostics: Vec<Diagnostic> =
            ResourceKey::parse(&self.key, "/key").err().into_iter().collect();
        let transport = transport::prepare(&self.transport, &SecretValues::default());
        let Some(integration) = integrations::lock_by_key(tx, &self.integration).await? else {
            let known = integrations::keys(tx).await?;
            let message = format!("integration {:?} does not exist", self.integration);
            let near = closest(&self.integration, known.iter().map(String::as_str));
            diagnostics
                .insert(0, Diagnostic::new("UNKNOWN_REFERENCE", "/integration", message).suggest(near));
            diagnostics.extend(transport.err().into_iter().flatten());
            return Err(CommandError::invalid_document("INVALID_CONFIG", "the config", diagnostics));
        };
        // The lock on the integration keeps its newest schema the newest until the commit.
        let schema = integrations::newest_schema(tx, integration.id).await?;
        let schema_document = schema.as_ref().map(|schema| &schema.schema);
        let prepared = document::prepare(&self.values, schema_document, &SecretValues::default());
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
        Ok(CheckedConfig { integration, row, values: prepared.secrets, transport: transport.secrets })
    }
}

impl Transaction<TenantTx> for CreateConfig {
    type Output = Config;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Config, CommandError> {
        let CheckedConfig { integration, row, values, transport } = self.check(tx).await?;
        let key = data_key(tx, &self.keys).await?;
        let place = (tx.tenant_id(), row.id);
        let sealed = SealedSecrets {
            secrets: values.seal(&key, place, ConfigPart::Values)?,
            transport_secrets: transport.seal(&key, place, ConfigPart::Transport)?,
        };
        if !configs::insert(tx, &row, sealed).await? {
            return Err(CommandError::AlreadyExists { what: WHAT, name: row.key });
        }
        sync_schedules::sync_integration(tx, integration.id, self.now).await?;
        Ok(row)
    }
}
