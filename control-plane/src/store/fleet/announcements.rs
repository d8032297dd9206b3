//! Terminal announcements between their commit and Kafka's acknowledgement.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::store::batch::{distinct_tenants, placeholders};
use crate::store::db::{Databases, Tx};
use crate::store::error::StoreError;
use crate::values;

/// A committed announcement.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Id of the announcement, a UUID v7.
    pub id: Uuid,
    /// The execution that ended.
    pub execution_id: Uuid,
    /// Pool whose executors may produce it.
    pub pool: String,
    /// Key of the Kafka message.
    pub message_key: String,
    /// Headers of the Kafka message, in their order.
    pub headers: Vec<(String, String)>,
    /// Payload of the Kafka message.
    pub payload: Vec<u8>,
}

/// Identifies an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnnouncementKey {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Id of the announcement.
    pub id: Uuid,
}

/// Inserts announcements. `handed_at` is set when the response that follows the commit carries
/// them.
///
/// # Errors
/// The statement fails.
pub async fn insert(
    tx: &Tx,
    now: DateTime<Utc>,
    announcements: &[Announcement],
    handed_at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    if announcements.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO announcements (tenant_id, id, execution_id, pool, message_key, headers, payload, created_at, handed_at) VALUES {}",
        placeholders(announcements.len(), 9)
    );
    let mut values = Vec::with_capacity(announcements.len() * 9);
    for announcement in announcements {
        values.extend(values![
            announcement.tenant_id,
            announcement.id,
            announcement.execution_id,
            announcement.pool.clone(),
            announcement.message_key.clone(),
            serde_json::json!(announcement.headers),
            announcement.payload.clone(),
            now,
            handed_at,
        ]);
    }
    tx.execute(&sql, values).await?;
    Ok(())
}

#[derive(FromQueryResult)]
struct AnnouncementKeyRow {
    tenant_id: Uuid,
    id: Uuid,
}

/// Finds announcements of a pool that were not handed over since a time, oldest first.
///
/// # Errors
/// The statement fails.
pub async fn find_unconfirmed(
    databases: &Databases,
    pool: &str,
    handed_before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<AnnouncementKey>, StoreError> {
    // Both conditions are covered by the index over pool, handed_at and created_at: every heartbeat
    // of every executor runs this, and it finds nothing most of the time.
    let rows: Vec<AnnouncementKeyRow> = databases
        .find(
            "SELECT tenant_id, id FROM announcements WHERE pool = $1 AND (handed_at IS NULL OR handed_at < $2) ORDER BY created_at LIMIT $3",
            values![pool, handed_before, limit],
        )
        .await?;
    Ok(rows.into_iter().map(|row| AnnouncementKey { tenant_id: row.tenant_id, id: row.id }).collect())
}

/// Sorts keys and splits them into parallel arrays.
fn unzip_sorted(keys: &[AnnouncementKey]) -> (Vec<Uuid>, Vec<Uuid>) {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.iter().map(|key| (key.tenant_id, key.id)).unzip()
}

/// Hands announcements over now, and returns those that no other call handed over since
/// `handed_before`. Those whose stored headers do not parse are logged and left out.
///
/// # Errors
/// The statement fails.
pub async fn hand_over(
    tx: &Tx,
    now: DateTime<Utc>,
    handed_before: DateTime<Utc>,
    keys: &[AnnouncementKey],
) -> Result<Vec<Announcement>, StoreError> {
    #[derive(FromQueryResult)]
    struct AnnouncementRow {
        tenant_id: Uuid,
        id: Uuid,
        execution_id: Uuid,
        pool: String,
        message_key: String,
        headers: Json,
        payload: Vec<u8>,
    }
    let (tenants, ids) = unzip_sorted(keys);
    // The keys were read without a lock. The condition on `handed_at` is checked again under the
    // row lock of this update, so that two executors do not get the same announcement.
    let rows: Vec<AnnouncementRow> = tx
        .all(
            "UPDATE announcements a SET handed_at = $2 FROM unnest($4::uuid[], $5::uuid[]) AS v (tenant_id, id) \
             WHERE a.tenant_id = ANY($1) AND a.tenant_id = v.tenant_id AND a.id = v.id AND (a.handed_at IS NULL OR a.handed_at < $3) \
             RETURNING a.tenant_id, a.id, a.execution_id, a.pool, a.message_key, a.headers, a.payload",
            values![distinct_tenants(tenants.clone()), now, handed_before, tenants, ids],
        )
        .await?;
    let read = |row: AnnouncementRow| {
        // One that cannot be read concerns itself only. It stays, and is looked at again later.
        let headers = serde_json::from_value(row.headers).map_err(|error| {
            tracing::error!(%error, tenant_id = %row.tenant_id, id = %row.id, "headers of an announcement do not parse");
        });
        Some(Announcement {
            tenant_id: row.tenant_id,
            id: row.id,
            execution_id: row.execution_id,
            pool: row.pool,
            message_key: row.message_key,
            headers: headers.ok()?,
            payload: row.payload,
        })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// Deletes announcements that Kafka acknowledged.
///
/// # Errors
/// The statement fails.
pub async fn delete(tx: &Tx, keys: &[AnnouncementKey]) -> Result<(), StoreError> {
    // A key that another executor confirmed already matches nothing, which is fine: an announcement
    // that was handed over twice is confirmed twice.
    let (tenants, ids) = unzip_sorted(keys);
    tx.execute(
        "DELETE FROM announcements a USING unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, id) \
         WHERE a.tenant_id = ANY($1) AND a.tenant_id = v.tenant_id AND a.id = v.id",
        values![distinct_tenants(tenants.clone()), tenants, ids],
    )
    .await?;
    Ok(())
}
