//! Adds a version of an integration's config schema. Existing configs stay unchanged; the new
//! version applies to their next write.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::WHAT;
use crate::commands::CommandError;
use crate::commands::checked::CheckedCommand;
use crate::commands::configs::schema;
use crate::store::db::TenantTx;
use crate::store::integrations::{self, ConfigSchema};

/// Command that adds a config schema.
pub struct CreateConfigSchema {
    /// Key of the integration.
    pub integration: String,
    /// JSON Schema, draft 2020-12.
    pub schema: Json,
    /// Time of the request.
    pub now: DateTime<Utc>,
}

impl CheckedCommand for CreateConfigSchema {
    type Basis = ();
    type Checked = ();
    type Output = ConfigSchema;

    async fn read(&self, _: &TenantTx) -> Result<(), CommandError> {
        Ok(())
    }

    fn check(&self, (): &()) -> Result<(), CommandError> {
        schema::check(&self.schema, "/schema")
    }

    async fn write(&self, tx: &TenantTx, (): &(), (): &()) -> Result<ConfigSchema, CommandError> {
        let mut integration = integrations::lock_by_key(tx, &self.integration)
            .await?
            .ok_or_else(|| CommandError::not_found(WHAT, &self.integration))?;
        integration.schema_version += 1;
        integration.version += 1;
        integration.updated_at = self.now;
        let row = ConfigSchema {
            version: integration.schema_version,
            schema: self.schema.clone(),
            created_at: self.now,
        };
        integrations::insert_schema(tx, integration.id, &row).await?;
        integrations::update(tx, &integration).await?;
        Ok(row)
    }
}
