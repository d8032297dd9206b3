//! Ready rows: the queue of executions that can start, and when the doorbell rang for them.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::store::batch::{distinct_tenants, placeholders, short_batch};
use crate::store::db::{Databases, Tx};
use crate::store::error::StoreError;
use crate::store::executions::locked::LockedExecution;
use crate::store::keys::ExecutionKey;
use crate::values;

/// A ready row to insert.
#[derive(Clone, Debug)]
pub struct NewReadyRow {
    /// The execution.
    pub key: ExecutionKey,
    /// Pool whose executors may take it.
    pub pool: String,
    /// Priority inside the tenant, 0 to 9; higher starts first.
    pub priority: i16,
    /// Earliest time of the grant.
    pub not_before: Option<DateTime<Utc>>,
    /// Attempts lost since the last accepted checkpoint.
    pub losses: u32,
    /// W3C trace context of the trigger or the schedule.
    pub traceparent: Option<String>,
}

impl NewReadyRow {
    /// Returns the row of an execution that enters the queue.
    pub fn of(execution: &LockedExecution, not_before: Option<DateTime<Utc>>, losses: u32) -> Self {
        Self {
            key: execution.key,
            pool: execution.pool.clone(),
            priority: execution.priority,
            not_before,
            losses,
            traceparent: execution.traceparent.clone(),
        }
    }
}

/// Inserts ready rows. The age of a row counts from `not_before`, or from now without one.
///
/// # Errors
/// The statement fails.
pub async fn insert(tx: &Tx, now: DateTime<Utc>, rows: &[NewReadyRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO ready (tenant_id, execution_id, pool, priority, seq, not_before, losses, traceparent) VALUES {}",
        placeholders(rows.len(), 8)
    );
    let mut values = Vec::with_capacity(rows.len() * 8);
    for row in rows {
        values.extend(values![
            row.key.tenant_id,
            row.key.execution_id,
            row.pool.clone(),
            row.priority,
            // A parked execution does not gain age while it waits for its time.
            row.not_before.unwrap_or(now).timestamp_millis(),
            row.not_before,
            i32::try_from(row.losses).unwrap_or(i32::MAX),
            row.traceparent.clone(),
        ]);
    }
    tx.execute(&sql, values).await?;
    Ok(())
}

#[derive(FromQueryResult)]
pub(super) struct ReadyKeyRow {
    tenant_id: Uuid,
    execution_id: Uuid,
}

impl From<ReadyKeyRow> for ExecutionKey {
    fn from(row: ReadyKeyRow) -> Self {
        Self { tenant_id: row.tenant_id, execution_id: row.execution_id }
    }
}

/// Deletes the ready rows of executions, and returns the keys of those that existed.
///
/// # Errors
/// The statement fails.
pub async fn delete(tx: &Tx, keys: &[ExecutionKey]) -> Result<Vec<ExecutionKey>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (tenants, ids) = ExecutionKey::unzip_sorted(keys);
    let rows: Vec<ReadyKeyRow> = tx
        .all(
            &format!("DELETE FROM ready r USING unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, execution_id) \
             WHERE r.tenant_id = ANY($1) AND r.tenant_id = v.tenant_id AND r.execution_id = v.execution_id AND {} \
             RETURNING r.tenant_id, r.execution_id", short_batch("v.execution_id")),
            values![distinct_tenants(tenants.clone()), tenants, ids],
        )
        .await?;
    Ok(rows.into_iter().map(ExecutionKey::from).collect())
}

/// Keeps executions from being granted until a time.
///
/// # Errors
/// The statement fails.
pub async fn defer(tx: &Tx, until: DateTime<Utc>, keys: &[ExecutionKey]) -> Result<(), StoreError> {
    let (tenants, ids) = ExecutionKey::unzip_sorted(keys);
    tx.execute(
        "UPDATE ready r SET not_before = $2, rung_at = NULL, rings = 0 FROM unnest($3::uuid[], $4::uuid[]) AS v (tenant_id, execution_id) \
         WHERE r.tenant_id = ANY($1) AND r.tenant_id = v.tenant_id AND r.execution_id = v.execution_id",
        values![distinct_tenants(tenants.clone()), until, tenants, ids],
    )
    .await?;
    Ok(())
}

/// An execution that could start now.
#[derive(Clone, Debug, FromQueryResult)]
pub struct ReadyCandidate {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The execution.
    pub execution_id: Uuid,
    /// Priority inside the tenant, 0 to 9; higher starts first.
    pub priority: i16,
    /// Time since which it waits, in milliseconds since 1970.
    pub seq: i64,
    /// Attempts lost since the last accepted checkpoint.
    pub losses: i32,
    /// Times that the doorbell rang for it.
    pub rings: i32,
    /// Time of the last ring.
    pub rung_at: Option<DateTime<Utc>>,
    /// W3C trace context of the trigger or the schedule.
    pub traceparent: Option<String>,
}

impl ReadyCandidate {
    /// Returns the execution's key.
    pub fn key(&self) -> ExecutionKey {
        ExecutionKey { tenant_id: self.tenant_id, execution_id: self.execution_id }
    }
}

/// Returns those of the given executions that could start now in a pool.
///
/// # Errors
/// The statement fails.
pub async fn find_rung(
    databases: &Databases,
    pool: &str,
    now: DateTime<Utc>,
    keys: &[ExecutionKey],
) -> Result<Vec<ReadyCandidate>, StoreError> {
    // Neither ordered nor limited: the call names the executions and bounds their number.
    let (tenants, ids) = ExecutionKey::unzip(keys);
    databases
        .find(
            "SELECT r.tenant_id, r.execution_id, r.priority, r.seq, r.losses, r.rings, r.rung_at, r.traceparent \
             FROM unnest($3::uuid[], $4::uuid[]) AS v (tenant_id, execution_id) \
             JOIN ready r ON r.tenant_id = v.tenant_id AND r.execution_id = v.execution_id \
             WHERE r.pool = $1 AND (r.not_before IS NULL OR r.not_before <= $2)",
            values![pool, now, tenants, ids],
        )
        .await
}

/// Marks rows as rung now, and returns the keys of those that no other replica marked since they
/// were found. Each row comes with the number of rings that it was found with.
///
/// # Errors
/// The statement fails.
pub async fn mark_rung(
    tx: &Tx,
    now: DateTime<Utc>,
    rung: &[(ExecutionKey, i32)],
) -> Result<Vec<ExecutionKey>, StoreError> {
    let keys: Vec<ExecutionKey> = rung.iter().map(|(key, _)| *key).collect();
    let (tenants, ids) = ExecutionKey::unzip(&keys);
    let rings: Vec<i32> = rung.iter().map(|(_, rings)| *rings).collect();
    // The number of rings serves as a version: of two replicas that found the same row, one
    // matches.
    let rows: Vec<ReadyKeyRow> = tx
        .all(
            &format!("UPDATE ready r SET rung_at = $2, rings = r.rings + 1 \
             FROM unnest($3::uuid[], $4::uuid[], $5::integer[]) AS v (tenant_id, execution_id, rings) \
             WHERE r.tenant_id = ANY($1) AND r.tenant_id = v.tenant_id AND r.execution_id = v.execution_id AND {} AND r.rings = v.rings \
             RETURNING r.tenant_id, r.execution_id", short_batch("v.execution_id")),
            values![distinct_tenants(tenants.clone()), now, tenants, ids, rings],
        )
        .await?;
    Ok(rows.into_iter().map(ExecutionKey::from).collect())
}

/// Clears the marks of rings that did not reach the doorbell.
///
/// # Errors
/// The statement fails.
pub async fn unmark_rung(tx: &Tx, keys: &[ExecutionKey]) -> Result<(), StoreError> {
    // The count of rings starts again as well: the doorbell was not heard, so the next ring must
    // not wait longer than the first.
    let (tenants, ids) = ExecutionKey::unzip_sorted(keys);
    tx.execute(
        &format!("UPDATE ready r SET rung_at = NULL, rings = 0 FROM unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, execution_id) \
         WHERE r.tenant_id = ANY($1) AND r.tenant_id = v.tenant_id AND r.execution_id = v.execution_id AND {}", short_batch("v.execution_id")),
        values![distinct_tenants(tenants.clone()), tenants, ids],
    )
    .await?;
    Ok(())
}
