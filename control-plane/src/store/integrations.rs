//! Rows of `integrations` and `config_schemas`.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::store::db::TenantTx;
use crate::store::error::StoreError;
use crate::store::name_row::NameRow;
use crate::values;

/// An integration: a third-party API of a tenant.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub struct Integration {
    /// Id of the integration, a UUID v7.
    pub id: Uuid,
    /// Key, unique in the tenant.
    pub key: String,
    /// Name for people.
    pub display_name: String,
    /// Description for people.
    pub description: String,
    /// Version of the newest config schema; 0 when there is none.
    pub schema_version: i32,
    /// Number that rises with every change.
    pub version: i64,
    /// Time of its creation.
    pub created_at: DateTime<Utc>,
    /// Time of its last change.
    pub updated_at: DateTime<Utc>,
}

/// A version of an integration's config schema.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub struct ConfigSchema {
    /// Number of the version, from 1.
    pub version: i32,
    /// The schema: JSON Schema, draft 2020-12.
    pub schema: Json,
    /// Time at which it was added.
    pub created_at: DateTime<Utc>,
}

/// Inserts an integration. Returns false when the key is taken.
///
/// # Errors
/// The statement fails.
pub async fn insert(tx: &TenantTx, row: &Integration) -> Result<bool, StoreError> {
    let inserted = tx
        .execute(
            "INSERT INTO integrations (tenant_id, id, key, display_name, description, schema_version, version,
                 created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
            values![
                tx.tenant_id(),
                row.id,
                row.key.as_str(),
                row.display_name.as_str(),
                row.description.as_str(),
                row.schema_version,
                row.version,
                row.created_at,
                row.updated_at,
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Returns an integration by its key.
///
/// # Errors
/// The statement fails.
pub async fn by_key(tx: &TenantTx, key: &str) -> Result<Option<Integration>, StoreError> {
    tx.one(
        "SELECT id, key, display_name, description, schema_version, version, created_at, updated_at
         FROM integrations WHERE tenant_id = $1 AND key = $2",
        values![tx.tenant_id(), key],
    )
    .await
}

/// Locks an integration and returns it.
///
/// Every change of the integration's configs and plans holds this lock, so that a plan and a config
/// that are created at the same time see each other.
///
/// # Errors
/// The statement fails.
pub async fn lock_by_key(tx: &TenantTx, key: &str) -> Result<Option<Integration>, StoreError> {
    tx.one(
        "SELECT id, key, display_name, description, schema_version, version, created_at, updated_at
         FROM integrations WHERE tenant_id = $1 AND key = $2 FOR NO KEY UPDATE",
        values![tx.tenant_id(), key],
    )
    .await
}

/// Lists integrations with ids below `before`, newest first.
///
/// # Errors
/// The statement fails.
pub async fn list(tx: &TenantTx, before: Option<Uuid>, limit: i64) -> Result<Vec<Integration>, StoreError> {
    tx.all(
        "SELECT id, key, display_name, description, schema_version, version, created_at, updated_at
         FROM integrations WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3",
        values![tx.tenant_id(), before, limit],
    )
    .await
}

/// Returns keys of the tenant's integrations, at most 1000, for suggestions.
///
/// # Errors
/// The statement fails.
pub async fn keys(tx: &TenantTx) -> Result<Vec<String>, StoreError> {
    let names: Vec<NameRow> = tx
        .all(
            "SELECT key AS name FROM integrations WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1000",
            values![tx.tenant_id()],
        )
        .await?;
    Ok(names.into_iter().map(|row| row.name).collect())
}

/// Updates the columns that can change.
///
/// # Errors
/// The statement fails.
pub async fn update(tx: &TenantTx, row: &Integration) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE integrations SET display_name = $3, description = $4, schema_version = $5, version = $6, updated_at = $7
         WHERE tenant_id = $1 AND id = $2",
        values![
            tx.tenant_id(),
            row.id,
            row.display_name.as_str(),
            row.description.as_str(),
            row.schema_version,
            row.version,
            row.updated_at,
        ],
    )
    .await?;
    Ok(())
}

/// Deletes an integration with its config schemas.
///
/// # Errors
/// The statement fails.
pub async fn delete(tx: &TenantTx, id: Uuid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM integrations WHERE tenant_id = $1 AND id = $2", values![tx.tenant_id(), id])
        .await?;
    Ok(())
}

/// Returns names of configs and plans that use an integration, up to ten of each.
///
/// # Errors
/// A statement fails.
pub async fn users(tx: &TenantTx, id: Uuid) -> Result<Vec<String>, StoreError> {
    let configs: Vec<NameRow> = tx
        .all(
            "SELECT 'config ' || key AS name FROM configs WHERE tenant_id = $1 AND integration_id = $2 ORDER BY id LIMIT 10",
            values![tx.tenant_id(), id],
        )
        .await?;
    let plans: Vec<NameRow> = tx
        .all(
            "SELECT 'plan ' || key AS name FROM plans WHERE tenant_id = $1 AND integration_id = $2 ORDER BY id LIMIT 10",
            values![tx.tenant_id(), id],
        )
        .await?;
    Ok(configs.into_iter().chain(plans).map(|row| row.name).collect())
}

/// Inserts a version of a config schema.
///
/// # Errors
/// The statement fails.
pub async fn insert_schema(
    tx: &TenantTx,
    integration_id: Uuid,
    row: &ConfigSchema,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO config_schemas (tenant_id, integration_id, version, schema, created_at)
         VALUES ($1, $2, $3, $4, $5)",
        values![tx.tenant_id(), integration_id, row.version, row.schema.clone(), row.created_at],
    )
    .await?;
    Ok(())
}

/// Returns the newest config schema, if there is one.
///
/// # Errors
/// The statement fails.
pub async fn newest_schema(tx: &TenantTx, integration_id: Uuid) -> Result<Option<ConfigSchema>, StoreError> {
    Ok(list_schemas(tx, integration_id, None, 1).await?.into_iter().next())
}

/// Lists versions of a config schema below `before`, newest first.
///
/// # Errors
/// The statement fails.
pub async fn list_schemas(
    tx: &TenantTx,
    integration_id: Uuid,
    before: Option<i32>,
    limit: i64,
) -> Result<Vec<ConfigSchema>, StoreError> {
    tx.all(
        "SELECT version, schema, created_at FROM config_schemas
         WHERE tenant_id = $1 AND integration_id = $2 AND ($3::integer IS NULL OR version < $3)
         ORDER BY version DESC LIMIT $4",
        values![tx.tenant_id(), integration_id, before, limit],
    )
    .await
}
