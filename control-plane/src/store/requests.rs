//! Rows of `request_log`: responses to calls that carried a request id.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::store::db::TenantTx;
use crate::store::error::StoreError;
use crate::values;

/// The first call with a request id.
#[derive(FromQueryResult)]
pub struct LoggedRequest {
    /// Name of the RPC.
    pub method: String,
    /// SHA-256 of the request without its request id.
    pub body_hash: Vec<u8>,
    /// Encoded response.
    pub response: Vec<u8>,
    /// Time of the call.
    pub created_at: DateTime<Utc>,
}

/// Claims a request id for a call. Returns false when another call has it. An entry from before
/// `expired` does not count.
///
/// # Errors
/// The statement fails.
pub async fn claim(
    tx: &TenantTx,
    request_id: Uuid,
    method: &str,
    body_hash: &[u8],
    now: DateTime<Utc>,
    expired: DateTime<Utc>,
) -> Result<bool, StoreError> {
    // The insert waits for a transaction that is claiming the same id. If that one rolls back, this
    // call gets the id.
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

/// Returns the call that has a request id.
///
/// # Errors
/// The statement fails.
pub async fn by_id(tx: &TenantTx, request_id: Uuid) -> Result<Option<LoggedRequest>, StoreError> {
    tx.one(
        "SELECT method, body_hash, response, created_at FROM request_log WHERE tenant_id = $1 AND request_id = $2",
        values![tx.tenant_id(), request_id],
    )
    .await
}

/// Stores the response of the call that claimed a request id.
///
/// # Errors
/// The statement fails.
pub async fn store_response(tx: &TenantTx, request_id: Uuid, response: Vec<u8>) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE request_log SET response = $3 WHERE tenant_id = $1 AND request_id = $2",
        values![tx.tenant_id(), request_id, response],
    )
    .await?;
    Ok(())
}
