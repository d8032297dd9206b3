//! Rows of `configs`.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::store::batch::ListStatement;
use crate::store::db::TenantTx;
use crate::store::error::StoreError;
use crate::store::name_row::NameRow;
use crate::store::plans::{self, Plan};
use crate::values;

/// A config of a tenant for an integration, without its secrets.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub struct Config {
    /// Id of the config, a UUID v7.
    pub id: Uuid,
    /// Id of the integration.
    pub integration_id: Uuid,
    /// Key of the integration.
    pub integration_key: String,
    /// Key, unique in the integration.
    pub key: String,
    /// Name for people.
    pub display_name: String,
    /// True if plans run for it, by schedule or by trigger.
    pub enabled: bool,
    /// Values, with a marker in the place of each secret.
    pub values: Json,
    /// Proxy, trusted CAs, client certificate and allowed hosts, with a marker in the place of each
    /// secret.
    pub transport: Json,
    /// Version of the config schema that the values were checked against.
    pub schema_version: i32,
    /// Number that rises with every change.
    pub version: i64,
    /// Time of its creation.
    pub created_at: DateTime<Utc>,
    /// Time of its last change.
    pub updated_at: DateTime<Utc>,
}

/// The secrets of a config by JSON pointer, sealed; none when there are none.
#[derive(Default, FromQueryResult)]
pub struct SealedSecrets {
    /// Secrets among the values.
    pub secrets: Option<Vec<u8>>,
    /// Secrets of the transport.
    pub transport_secrets: Option<Vec<u8>>,
}

/// The key of a config, and whether it is enabled.
#[derive(Debug, Clone, FromQueryResult)]
pub struct ConfigName {
    /// Id of the config.
    pub id: Uuid,
    /// Key of the config.
    pub key: String,
    /// True if plans run for it, by schedule or by trigger.
    pub enabled: bool,
}

/// Inserts a config. Returns false when the key is taken.
///
/// # Errors
/// The statement fails.
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

/// Returns a config by its integration and key.
///
/// # Errors
/// The statement fails.
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

/// Lists configs with ids below `before`, newest first, of one integration or of all.
///
/// # Errors
/// The statement fails.
pub async fn list(
    tx: &TenantTx,
    integration_id: Option<Uuid>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Config>, StoreError> {
    let list = ListStatement::new(tx.tenant_id(), limit)
        .only_if("c.integration_id =", integration_id)
        .only_if("c.id <", before);
    let sql = format!(
        r#"SELECT c.id, c.integration_id, i.key AS integration_key, c.key, c.display_name, c.enabled, c."values",
               c.transport, c.schema_version, c.version, c.created_at, c.updated_at
           FROM configs c JOIN integrations i ON i.tenant_id = c.tenant_id AND i.id = c.integration_id
           WHERE c.tenant_id = $1{} ORDER BY c.id DESC LIMIT $2"#,
        list.conditions
    );
    tx.all(&sql, list.values).await
}

/// Returns the configs that a plan runs for, oldest first, at most `limit` of them.
///
/// # Errors
/// The statement fails, or the plan's list of configs does not parse.
pub async fn names_of_plan(
    tx: &TenantTx,
    plan: &Plan,
    limit: Option<i64>,
) -> Result<Vec<ConfigName>, StoreError> {
    // A limit of null is no limit.
    match plan.listed_configs()? {
        Some(keys) => {
            tx.all(
                "SELECT id, key, enabled FROM configs
                 WHERE tenant_id = $1 AND integration_id = $2 AND key = ANY($3) ORDER BY id LIMIT $4",
                values![tx.tenant_id(), plan.integration_id, keys, limit],
            )
            .await
        }
        None => names(tx, plan.integration_id, limit).await,
    }
}

/// Returns configs of an integration, oldest first, at most `limit` of them.
///
/// # Errors
/// The statement fails.
pub async fn names(
    tx: &TenantTx,
    integration_id: Uuid,
    limit: Option<i64>,
) -> Result<Vec<ConfigName>, StoreError> {
    tx.all(
        "SELECT id, key, enabled FROM configs WHERE tenant_id = $1 AND integration_id = $2 ORDER BY id LIMIT $3",
        values![tx.tenant_id(), integration_id, limit],
    )
    .await
}

/// Returns those configs of an integration that have one of these keys.
///
/// # Errors
/// The statement fails.
pub async fn names_by_keys(
    tx: &TenantTx,
    integration_id: Uuid,
    keys: Vec<String>,
) -> Result<Vec<ConfigName>, StoreError> {
    tx.all(
        "SELECT id, key, enabled FROM configs WHERE tenant_id = $1 AND integration_id = $2 AND key = ANY($3)",
        values![tx.tenant_id(), integration_id, keys],
    )
    .await
}

/// Returns those of `keys` that are configs of an integration.
///
/// # Errors
/// The statement fails.
pub async fn existing(
    tx: &TenantTx,
    integration_id: Uuid,
    keys: Vec<String>,
) -> Result<HashSet<String>, StoreError> {
    let rows: Vec<NameRow> = tx
        .all(
            "SELECT key AS name FROM configs WHERE tenant_id = $1 AND integration_id = $2 AND key = ANY($3)",
            values![tx.tenant_id(), integration_id, keys],
        )
        .await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// Returns keys of an integration's configs, at most 1000, for suggestions.
///
/// # Errors
/// The statement fails.
pub async fn keys(tx: &TenantTx, integration_id: Uuid) -> Result<Vec<String>, StoreError> {
    let rows: Vec<NameRow> = tx
        .all(
            "SELECT key AS name FROM configs WHERE tenant_id = $1 AND integration_id = $2 ORDER BY key LIMIT 1000",
            values![tx.tenant_id(), integration_id],
        )
        .await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// Returns the sealed secrets of a config.
///
/// # Errors
/// The statement fails.
pub async fn secrets(tx: &TenantTx, id: Uuid) -> Result<SealedSecrets, StoreError> {
    let row: Option<SealedSecrets> = tx
        .one(
            "SELECT secrets, transport_secrets FROM configs WHERE tenant_id = $1 AND id = $2",
            values![tx.tenant_id(), id],
        )
        .await?;
    Ok(row.unwrap_or_default())
}

/// Updates the columns that can change.
///
/// # Errors
/// The statement fails.
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

/// Deletes a config with its schedules and contexts.
///
/// # Errors
/// The statement fails.
pub async fn delete(tx: &TenantTx, id: Uuid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM configs WHERE tenant_id = $1 AND id = $2", values![tx.tenant_id(), id]).await?;
    Ok(())
}

/// Locks a config for its deletion: waits for transactions that hold it, and keeps others from
/// holding it.
///
/// # Errors
/// The statement fails.
pub async fn lock_for_delete(tx: &TenantTx, id: Uuid) -> Result<(), StoreError> {
    tx.execute(
        "SELECT id FROM configs WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
        values![tx.tenant_id(), id],
    )
    .await?;
    Ok(())
}

/// Locks the schedules of a config in the order of their keys, as the fleet does.
///
/// # Errors
/// The statement fails.
pub async fn lock_schedules(tx: &TenantTx, id: Uuid) -> Result<(), StoreError> {
    tx.execute(
        "SELECT id FROM schedules WHERE tenant_id = $1 AND config_id = $2 ORDER BY plan_id FOR UPDATE",
        values![tx.tenant_id(), id],
    )
    .await?;
    Ok(())
}

/// Returns the ids of up to ten executions of a config that have not ended.
///
/// # Errors
/// A statement fails.
pub async fn open_executions(tx: &TenantTx, row: &Config) -> Result<Vec<String>, StoreError> {
    // The index of open executions begins with the plan, and an integration has few of them.
    let plans = plans::of_integration(tx, row.integration_id).await?;
    let names: Vec<NameRow> = tx
        .all(
            "SELECT id::text AS name FROM plan_executions
             WHERE tenant_id = $1 AND plan_id = ANY($2) AND config_id = $3
               AND state IN ('pending', 'queued', 'running', 'parked', 'blocked')
             ORDER BY id LIMIT 10",
            values![tx.tenant_id(), plans, row.id],
        )
        .await?;
    Ok(names.into_iter().map(|row| row.name).collect())
}
