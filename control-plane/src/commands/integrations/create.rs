//! Creates an integration, with its first config schema where one is given.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use uuid::Uuid;

use super::WHAT;
use crate::{
    commands::{CommandError, ResourceKey, configs::schema},
    store::{
        db::{TenantTx, Transaction},
        integrations::{self, ConfigSchema, Integration},
    },
};

/// What to create.
pub struct CreateIntegration {
    /// UUID v7 that it gets.
    pub id: Uuid,
    /// Unique in the tenant.
    pub key: ResourceKey,
    /// For people.
    pub display_name: String,
    /// For people.
    pub description: String,
    /// JSON Schema of its configs' values.
    pub config_schema: Option<Json>,
    /// When.
    pub now: DateTime<Utc>,
}

impl Transaction<TenantTx> for CreateIntegration {
    type Output = Integration;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Integration, CommandError> {
        if let Some(document) = &self.config_schema {
            schema::check(document, "/config_schema")?;
        }
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
