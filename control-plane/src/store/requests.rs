//! Rows of `request_log`: answers to calls that carried a request id.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::{
    store::{db::TenantTx, error::StoreError},
    values,
};

/// The call that came first under a request id.
#[derive(FromQueryResult)]
pub struct LoggedRequest {
    /// Which RPC.
    pub method: String,
    /// SHA-256 of the request, its id left out.
    pub body_hash: Vec<u8>,
    /// What it came to.
    pub response: Vec<u8>,
}

/// Claims a request id for a call; false where another call has it. Waits for a transaction that is claiming the same id. An
/// entry from before `expired` counts as none.
pub async fn claim(
    tx: &TenantTx,
    request_id: Uuid,
    method: &str,
    body_hash: &[u8],
    now: DateTime<Utc>,
    expired: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let claimed = tx
        .execute(
            "INSERT INTO request_log (tenant_id, request_id, method, body_hash, response, created_at)
             VALUES ($1, $2, $3, $4, '', $5)
             ON CONFLICT (tenant_id, request_id) DO UPDATE
                 SET method = excluded.method, body_hash = excluded.body_hash, response = '',
                     created_at = excluded.created_at
                 WHERE request_log.created_at < $6",
            values![tx.tenant_id(), request_id, method, body_hash.to_vec(), now, expired],
        )
        .await?;
    Ok(claimed == 1)
}

/// The call that has a request id.
pub async fn by_id(tx: &TenantTx, request_id: Uuid) -> Result<Option<LoggedRequest>, StoreError> {
    tx.one(
        "SELECT method, body_hash, response FROM request_log WHERE tenant_id = $1 AND request_id = $2",
        values![tx.tenant_id(), request_id],
    )
    .await
}

/// Writes what a claimed call came to.
pub async fn store_response(tx: &TenantTx, request_id: Uuid, response: Vec<u8>) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE request_log SET response = $3 WHERE tenant_id = $1 AND request_id = $2",
        values![tx.tenant_id(), request_id, response],
    )
    .await?;
    Ok(())
}
