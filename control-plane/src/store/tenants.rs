//! Rows of `tenants`.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::{
    store::{
        db::{Databases, TenantTx, Tx},
        error::StoreError,
        name_row::NameRow,
    },
    values,
};

/// A tenant, without its key.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Tenant {
    /// UUID v7, or the one that was asked for.
    pub id: Uuid,
    /// For people.
    pub display_name: String,
    /// Whose executors run its plans.
    pub pool: String,
    /// Its share, 1 to 1000.
    pub weight: i32,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// A tenant's data key, wrapped.
#[derive(FromQueryResult)]
pub struct DataKeyRow {
    /// The data key, sealed by the master key.
    pub data_key: Vec<u8>,
    /// Which master key.
    pub data_key_id: String,
}

/// Inserts a tenant; false where the id is taken.
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

/// One tenant; read across tenants, since operators belong to none.
pub async fn by_id(databases: &Databases, id: Uuid) -> Result<Option<Tenant>, StoreError> {
    let found = databases
        .find("SELECT id, display_name, pool, weight, created_at FROM tenants WHERE id = $1", values![id])
        .await?;
    Ok(found.into_iter().next())
}

/// Tenants below an id, newest first.
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

/// The wrapped data key of a tenant.
pub async fn data_key(tx: &Tx, tenant_id: Uuid) -> Result<Option<DataKeyRow>, StoreError> {
    tx.one("SELECT data_key, data_key_id FROM tenants WHERE id = $1", values![tenant_id]).await
}

/// The pool of the transaction's tenant.
pub async fn pool(tx: &TenantTx) -> Result<String, StoreError> {
    let row: Option<NameRow> =
        tx.one("SELECT pool AS name FROM tenants WHERE id = $1", values![tx.tenant_id()]).await?;
    row.map(|row| row.name).ok_or_else(|| StoreError::corrupt("tenants", "the transaction's tenant is gone"))
}
