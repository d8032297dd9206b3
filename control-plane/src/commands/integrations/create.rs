//! Creates an integration, with a first config schema if one is given.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use uuid::Uuid;

use super::WHAT;
use crate::commands::checked::CheckedCommand;
use crate::commands::configs::schema;
use crate::commands::{CommandError, ResourceKey};
use crate::store::db::TenantTx;
use crate::store::integrations::{self, ConfigSchema, Integration};

/// Command that creates an integration.
pub struct CreateIntegration {
    /// UUID v7 of the new resource.
    pub id: Uuid,
    /// Key, unique within the tenant.
    pub key: ResourceKey,
    /// Name shown to people.
    pub display_name: String,
    /// Description shown to people.
    pub description: String,
    /// JSON Schema for the values of its configs.
    pub config_schema: Option<Json>,
    /// Time of the request.
    pub now: DateTime<Utc>,
}

impl CheckedCommand for CreateIntegration {
    type Basis = ();
    type Checked = ();
    type Output = Integration;

    async fn read(&self, _: &TenantTx) -> Result<(), CommandError> {
        Ok(())
    }

    fn check(&self, (): &()) -> Result<(), CommandError> {
        self.config_schema.as_ref().map_or(Ok(()), |document| schema::check(document, "/config_schema"))
    }

    async fn write(&self, tx: &TenantTx, (): &(), (): &()) -> Result<Integration, CommandError> {
        let row = Integration {
            id: self.id,
            key: self.key.to_string(),
            display_name: self.display_name.clone(),
            description: self.description.clone(),
            schema_version: i32::from(self.config_schema.is_some()),
            version: 1,
            created_at: self.now,
            updated_at: self.now,
        };
        if !integrations::insert(tx, &row).await? {
            return Err(CommandError::AlreadyExists { what: WHAT, name: row.key });
        }
        if let Some(document) = &self.config_schema {
            let first = ConfigSchema { version: 1, schema: document.clone(), created_at: self.now };
            integrations::insert_schema(tx, row.id, &first).await?;
        }
        Ok(row)
    }
}
