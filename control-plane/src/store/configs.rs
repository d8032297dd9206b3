//! Rows of `configs`.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{
    store::{db::TenantTx, error::StoreError, name_row::NameRow},
    values,
};

/// One tenant's values for an integration, secrets left out.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub struct Config {
    /// UUID v7.
    pub id: Uuid,
    /// Of which integration.
    pub integration_id: Uuid,
    /// Key of the integration.
    pub integration_key: String,
    /// Unique in the integration.
    pub key: String,
    /// For people.
    pub display_name: String,
    /// Whether scheduled runs and triggers happen.
    pub enabled: bool,
    /// The values; a marker stands where a secret belongs.
    pub values: Json,
    /// How requests leave and where they may go; a marker stands where a secret belongs.
    pub transport: Json,
    /// The version of the config schema that the values passed.
    pub schema_version: i32,
    /// Rises with every change.
    pub version: i64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// The secrets of a config, by JSON pointers and sealed; none where it has none.
#[derive(Default, FromQueryResult)]
pub struct SealedSecrets {
    /// Those of its values.
    pub secrets: Option<Vec<u8>>,
    /// Those of its transport.
    pub transport_secrets: Option<Vec<u8>>,
}

/// Which config runs, and whether.
#[derive(Debug, Clone, FromQueryResult)]
pub struct ConfigName {
    /// UUID v7.
    pub id: Uuid,
    /// Its key.
    pub key: String,
    /// Whether scheduled runs and triggers happen.
    pub enabled: bool,
}

/// Inserts a config; false where the key is taken.
pub async fn insert(tx: &TenantTx, row: &Config, sealed: SealedSecrets) -> Result<bool, StoreError> {
    let inserted = tx
        .execute(
            r#"INSERT INTO configs (tenant_id, id, integration_id, key, display_name, enabled, "values", secrets,
                   transport, transport_secrets, schema_version, version, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING"#,
            values![
                tx.tenant_id(),
                row.id,
                row.integration_id,
                row.key.as_str(),
                row.display_name.as_str(),
                row.enabled,
                row.values.clone(),
                sealed.secrets,
                row.transport.clone(),
                sealed.transport_secrets,
                row.schema_version,
                row.version,
                row.created_at,
                row.updated_at,
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// One config.
pub async fn by_key(tx: &TenantTx, integration: &str, key: &str) -> Result<Option<Config>, StoreError> {
    tx.one(
        r#"SELECT c.id, c.integration_id, i.key AS integration_key, c.key, c.display_name, c.enabled, c."values",
               c.transport, c.schema_version, c.version, c.created_at, c.updated_at
           FROM configs c JOIN integrations i ON i.tenant_id = c.tenant_id AND i.id = c.integration_id
           WHERE c.tenant_id = $1 AND i.key = $2 AND c.key = $3"#,
        values![tx.tenant_id(), integration, key],
    )
    .await
}

/// Configs below an id, newest first; of one integration where one is named.
pub async fn list(
    tx: &TenantTx,
    integration: Option<&str>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Config>, StoreError> {
    tx.all(
        r#"SELECT c.id, c.integration_id, i.key AS integration_key, c.key, c.display_name, c.enabled, c."values",
               c.transport, c.schema_version, c.version, c.created_at, c.updated_at
           FROM configs c JOIN integrations i ON i.tenant_id = c.tenant_id AND i.id = c.integration_id
           WHERE c.tenant_id = $1 AND ($2::text IS NULL OR i.key = $2) AND ($3::uuid IS NULL OR c.id < $3)
           ORDER BY c.id DESC LIMIT $4"#,
        values![tx.tenant_id(), integration, before, limit],
    )
    .await
}

/// Every config of an integration, oldest first.
pub async fn names(tx: &TenantTx, integration_id: Uuid) -> Result<Vec<ConfigName>, StoreError> {
    tx.all(
        "SELECT id, key, enabled FROM configs WHERE tenant_id = $1 AND integration_id = $2 ORDER BY id",
        values![tx.tenant_id(), integration_id],
    )
    .await
}

/// The sealed secrets of a config.
pub async fn secrets(tx: &TenantTx, id: Uuid) -> Result<SealedSecrets, StoreError> {
    let row: Option<SealedSecrets> = tx
        .one(
            "SELECT secrets, transport_secrets FROM configs WHERE tenant_id = $1 AND id = $2",
            values![tx.tenant_id(), id],
        )
        .await?;
    Ok(row.unwrap_or_default())
}

/// Writes what can change.
pub async fn update(tx: &TenantTx, row: &Config, sealed: SealedSecrets) -> Result<(), StoreError> {
    tx.execute(
        r#"UPDATE configs SET display_name = $3, enabled = $4, "values" = $5, secrets = $6, transport = $7,
               transport_secrets = $8, schema_version = $9, version = $10, updated_at = $11
           WHERE tenant_id = $1 AND id = $2"#,
        values![
            tx.tenant_id(),
            row.id,
            row.display_name.as_str(),
            row.enabled,
            row.values.clone(),
            sealed.secrets,
            row.transport.clone(),
            sealed.transport_secrets,
            row.schema_version,
            row.version,
            row.updated_at,
        ],
    )
    .await?;
    Ok(())
}

/// Deletes a config, with its schedules and contexts.
pub async fn delete(tx: &TenantTx, id: Uuid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM configs WHERE tenant_id = $1 AND id = $2", values![tx.tenant_id(), id]).await?;
    Ok(())
}

/// Locks the schedules of a config, in the order of their ids.
pub async fn lock_schedules(tx: &TenantTx, id: Uuid) -> Result<(), StoreError> {
    tx.execute(
        "SELECT id FROM schedules WHERE tenant_id = $1 AND config_id = $2 ORDER BY id FOR UPDATE",
        values![tx.tenant_id(), id],
    )
    .await?;
    Ok(())
}

/// Ids of runs of a config that have not ended, some of them.
pub async fn open_runs(tx: &TenantTx, id: Uuid) -> Result<Vec<String>, StoreError> {
    let names: Vec<NameRow> = tx
        .all(
            "SELECT id::text AS name FROM plan_executions
             WHERE tenant_id = $1 AND config_id = $2 AND state IN ('pending', 'queued', 'running', 'parked', 'blocked')
             ORDER BY id LIMIT 10",
            values![tx.tenant_id(), id],
        )
        .await?;
    Ok(names.into_iter().map(|row| row.name).collect())
}
