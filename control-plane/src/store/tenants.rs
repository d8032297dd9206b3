//! Rows of `tenants`.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::store::batch::distinct_tenants;
use crate::store::db::{Databases, TenantTx, Tx};
use crate::store::error::StoreError;
use crate::store::name_row::NameRow;
use crate::values;

/// A tenant, without its key.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Tenant {
    /// Id of the tenant: a UUID v7, or the one that its creator asked for.
    pub id: Uuid,
    /// Name for people.
    pub display_name: String,
    /// Pool whose executors run its plans.
    pub pool: String,
    /// Share against other tenants, 1 to 1000.
    pub weight: i32,
    /// Time of its creation.
    pub created_at: DateTime<Utc>,
}

/// The wrapped data key of a tenant.
#[derive(FromQueryResult)]
pub struct DataKeyRow {
    /// The data key, sealed by the master key.
    pub data_key: Vec<u8>,
    /// Id of that master key.
    pub data_key_id: String,
}

/// Inserts a tenant. Returns false when the id is taken.
///
/// # Errors
/// The statement fails.
pub async fn insert(tx: &TenantTx, tenant: &Tenant, key: &DataKeyRow) -> Result<bool, StoreError> {
    let inserted = tx
        .execute(
            "INSERT INTO tenants (id, display_name, pool, weight, data_key, data_key_id, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            values![
                tenant.id,
                tenant.display_name.as_str(),
                tenant.pool.as_str(),
                tenant.weight,
                key.data_key.clone(),
                key.data_key_id.as_str(),
                tenant.created_at,
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Returns a tenant. The read spans tenants, because operators belong to none.
///
/// # Errors
/// The statement fails.
pub async fn by_id(databases: &Databases, id: Uuid) -> Result<Option<Tenant>, StoreError> {
    let found = databases
        .find("SELECT id, display_name, pool, weight, created_at FROM tenants WHERE id = $1", values![id])
        .await?;
    Ok(found.into_iter().next())
}

/// Returns the tenant of the transaction.
///
/// # Errors
/// The statement fails.
pub async fn own(tx: &TenantTx) -> Result<Option<Tenant>, StoreError> {
    tx.one(
        "SELECT id, display_name, pool, weight, created_at FROM tenants WHERE id = $1",
        values![tx.tenant_id()],
    )
    .await
}

/// Lists tenants with ids below `before`, newest first.
///
/// # Errors
/// The statement fails.
pub async fn list(
    databases: &Databases,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Tenant>, StoreError> {
    databases
        .find(
            "SELECT id, display_name, pool, weight, created_at FROM tenants
             WHERE ($1::uuid IS NULL OR id < $1) ORDER BY id DESC LIMIT $2",
            values![before, limit],
        )
        .await
}

/// Returns the wrapped data key of a tenant.
///
/// # Errors
/// The statement fails.
pub async fn data_key(tx: &Tx, tenant_id: Uuid) -> Result<Option<DataKeyRow>, StoreError> {
    tx.one("SELECT data_key, data_key_id FROM tenants WHERE id = $1", values![tenant_id]).await
}

/// Returns the wrapped data keys of tenants. Unknown tenants are left out.
///
/// # Errors
/// The statement fails.
pub async fn data_keys(
    tx: &Tx,
    tenants: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<(Uuid, DataKeyRow)>, StoreError> {
    #[derive(FromQueryResult)]
    struct TenantKeyRow {
        id: Uuid,
        data_key: Vec<u8>,
        data_key_id: String,
    }
    let ids = distinct_tenants(tenants);
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<TenantKeyRow> =
        tx.all("SELECT id, data_key, data_key_id FROM tenants WHERE id = ANY($1)", values![ids]).await?;
    let with_id =
        |row: TenantKeyRow| (row.id, DataKeyRow { data_key: row.data_key, data_key_id: row.data_key_id });
    Ok(rows.into_iter().map(with_id).collect())
}

/// Returns tenants whose data key is wrapped by one of these master keys.
///
/// # Errors
/// The statement fails.
pub async fn wrapped_by(
    databases: &Databases,
    key_ids: Vec<String>,
    limit: i64,
) -> Result<Vec<Uuid>, StoreError> {
    #[derive(FromQueryResult)]
    struct TenantId {
        id: Uuid,
    }
    let rows: Vec<TenantId> = databases
        .find("SELECT id FROM tenants WHERE data_key_id = ANY($1) LIMIT $2", values![key_ids, limit])
        .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Replaces the wrapped data key of a tenant, unless another replica has done so.
///
/// # Errors
/// The statement fails.
pub async fn set_data_key(
    tx: &Tx,
    tenant_id: Uuid,
    before: &str,
    after: &DataKeyRow,
) -> Result<bool, StoreError> {
    let updated = tx
        .execute(
            "UPDATE tenants SET data_key = $3, data_key_id = $4 WHERE id = $1 AND data_key_id = $2",
            values![tenant_id, before, after.data_key.clone(), after.data_key_id.as_str()],
        )
        .await?;
    Ok(updated == 1)
}

/// Returns the pool of the transaction's tenant.
///
/// # Errors
/// The statement fails, or the tenant does not exist.
pub async fn pool(tx: &TenantTx) -> Result<String, StoreError> {
    let row: Option<NameRow> =
        tx.one("SELECT pool AS name FROM tenants WHERE id = $1", values![tx.tenant_id()]).await?;
    row.map(|row| row.name)
        .ok_or_else(|| StoreError::corrupt("tenants", "the transaction's tenant does not exist"))
}
