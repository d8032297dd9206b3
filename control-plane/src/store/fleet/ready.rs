//! Ready rows: what waits to be run, and when the doorbell rang for it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_domain::ring::MAX_DOUBLINGS;
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::rows::{ExecutionKey, placeholders, tenants_of};
use super::runs::{LockedExecution, NewExecution, split};
use crate::store::db::{Databases, Tx};
use crate::store::error::StoreError;
use crate::values;

/// A row to insert.
#[derive(Clone, Debug)]
pub struct NewReadyRow {
    /// Which execution.
    pub key: ExecutionKey,
    /// Who may take it.
    pub pool: String,
    /// 0 to 9.
    pub priority: i16,
    /// Not to be granted before.
    pub not_before: Option<DateTime<Utc>>,
    /// Attempts lost so far.
    pub losses: u32,
    /// W3C trace context of what made the run.
    pub traceparent: Option<String>,
}

impl NewReadyRow {
    /// Of a run that enters the queue again.
    pub fn of(run: &LockedExecution, not_before: Option<DateTime<Utc>>, losses: u32) -> Self {
        let traceparent = run.traceparent.clone();
        Self { key: run.key, pool: run.pool.clone(), priority: run.priority, not_before, losses, traceparent }
    }

    /// Of a run that is inserted now.
    pub fn of_new(run: &NewExecution) -> Self {
        let traceparent = run.traceparent.clone();
        Self {
            key: run.key,
            pool: run.pool.clone(),
            priority: run.priority,
            not_before: None,
            losses: 0,
            traceparent,
        }
    }
}

/// Inserts rows; age counts from now, or from when they may start.
pub async fn insert(tx: &Tx, now: DateTime<Utc>, entries: &[NewReadyRow]) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO ready (tenant_id, execution_id, pool, priority, seq, not_before, losses, traceparent) VALUES {}",
        placeholders(entries.len(), 8)
    );
    let mut values = Vec::with_capacity(entries.len() * 8);
    for entry in entries {
        values.extend(values![
            entry.key.tenant_id,
            entry.key.execution_id,
            entry.pool.clone(),
            entry.priority,
            entry.not_before.unwrap_or(now).timestamp_millis(),
            entry.not_before,
            i32::try_from(entry.losses).unwrap_or(i32::MAX),
            entry.traceparent.clone(),
        ]);
    }
    tx.execute(&sql, values).await?;
    Ok(())
}

#[derive(FromQueryResult)]
struct KeyRow {
    tenant_id: Uuid,
    execution_id: Uuid,
}

impl From<KeyRow> for ExecutionKey {
    fn from(row: KeyRow) -> Self {
        Self { tenant_id: row.tenant_id, execution_id: row.execution_id }
    }
}

/// Deletes the rows of executions; answers which there were.
pub async fn delete(tx: &Tx, keys: &[ExecutionKey]) -> Result<Vec<ExecutionKey>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (tenants, ids) = split(keys);
    let rows: Vec<KeyRow> = tx
        .all(
            "DELETE FROM ready r USING unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, execution_id) \
             WHERE r.tenant_id = ANY($1) AND r.tenant_id = v.tenant_id AND r.execution_id = v.execution_id \
             RETURNING r.tenant_id, r.execution_id",
            values![tenants_of(tenants.clone()), tenants, ids],
        )
        .await?;
    Ok(rows.into_iter().map(ExecutionKey::from).collect())
}

/// Work that could start now.
#[derive(Clone, Debug, FromQueryResult)]
pub struct ReadyCandidate {
    /// Whose.
    pub tenant_id: Uuid,
    /// Which execution.
    pub execution_id: Uuid,
    /// 0 to 9.
    pub priority: i16,
    /// Age: lower is older.
    pub seq: i64,
    /// Attempts lost so far.
    pub losses: i32,
    /// The tenant's weight.
    pub weight: i32,
    /// How often the doorbell rang for it.
    pub rings: i32,
    /// W3C trace context of what made the run.
    pub traceparent: Option<String>,
}

impl ReadyCandidate {
    /// Names the execution.
    pub fn key(&self) -> ExecutionKey {
        ExecutionKey { tenant_id: self.tenant_id, execution_id: self.execution_id }
    }
}

/// What of a pool could start now: of each tenant the first `per_tenant` by priority and age, `limit` in all.
pub async fn find(
    databases: &Databases,
    pool: &str,
    now: DateTime<Utc>,
    per_tenant: i64,
    limit: i64,
) -> Result<Vec<ReadyCandidate>, StoreError> {
    databases
        .find(
            "SELECT q.tenant_id, q.execution_id, q.priority, q.seq, q.losses, q.weight, q.rings, q.traceparent FROM ( \
               SELECT r.tenant_id, r.execution_id, r.priority, r.seq, r.losses, r.rings, r.traceparent, t.weight, \
                 row_number() OVER (PARTITION BY r.tenant_id ORDER BY r.priority DESC, r.seq) AS turn \
               FROM ready r JOIN tenants t ON t.id = r.tenant_id \
               WHERE r.pool = $1 AND (r.not_before IS NULL OR r.not_before <= $2)) q \
             WHERE q.turn <= $3 ORDER BY q.turn, q.seq LIMIT $4",
            values![pool, now, per_tenant, limit],
        )
        .await
}

/// Those of some executions that could start now in a pool.
pub async fn find_rung(
    databases: &Databases,
    pool: &str,
    now: DateTime<Utc>,
    keys: &[ExecutionKey],
) -> Result<Vec<ReadyCandidate>, StoreError> {
    let (tenants, ids) = split(keys);
    databases
        .find(
            "SELECT r.tenant_id, r.execution_id, r.priority, r.seq, r.losses, t.weight, r.rings, r.traceparent \
             FROM unnest($3::uuid[], $4::uuid[]) AS v (tenant_id, execution_id) \
             JOIN ready r ON r.tenant_id = v.tenant_id AND r.execution_id = v.execution_id \
             JOIN tenants t ON t.id = r.tenant_id \
             WHERE r.pool = $1 AND (r.not_before IS NULL OR r.not_before <= $2)",
            values![pool, now, tenants, ids],
        )
        .await
}

/// What of a pool the doorbell should ring for: never rung, or rung long enough ago.
pub async fn find_ringable(
    databases: &Databases,
    pool: &str,
    now: DateTime<Utc>,
    rering_after: Duration,
    limit: i64,
) -> Result<Vec<ReadyCandidate>, StoreError> {
    let rering_ms = i64::try_from(rering_after.as_millis()).unwrap_or(i64::MAX);
    databases
        .find(
            "SELECT q.tenant_id, q.execution_id, q.priority, q.seq, q.losses, q.weight, q.rings, q.traceparent FROM ( \
               SELECT r.tenant_id, r.execution_id, r.priority, r.seq, r.losses, r.rings, r.traceparent, t.weight, \
                 row_number() OVER (PARTITION BY r.tenant_id ORDER BY r.priority DESC, r.seq) AS turn \
               FROM ready r JOIN tenants t ON t.id = r.tenant_id \
               WHERE r.pool = $1 AND (r.not_before IS NULL OR r.not_before <= $2) AND (r.rung_at IS NULL \
                 OR r.rung_at <= $2 - make_interval(secs => ($3 << least(greatest(r.rings - 1, 0), $4)) / 1000.0))) q \
             WHERE q.turn <= $5 ORDER BY q.turn, q.seq LIMIT $5",
            values![pool, now, rering_ms, i32::try_from(MAX_DOUBLINGS).unwrap_or(0), limit],
        )
        .await
}

/// Runs that each tenant of a pool was rung for lately, and that nobody took yet.
pub async fn count_rung(
    databases: &Databases,
    pool: &str,
    since: DateTime<Utc>,
) -> Result<Vec<(Uuid, i64)>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: Uuid,
        rung: i64,
    }
    let rows: Vec<Row> = databases
        .find(
            "SELECT tenant_id, count(*) AS rung FROM ready WHERE pool = $1 AND rung_at > $2 GROUP BY tenant_id",
            values![pool, since],
        )
        .await?;
    Ok(rows.into_iter().map(|row| (row.tenant_id, row.rung)).collect())
}

/// Claims rings: marks rows as rung now that still are as they were found; answers which.
pub async fn mark_rung(
    tx: &Tx,
    now: DateTime<Utc>,
    rung: &[(ExecutionKey, i32)],
) -> Result<Vec<ExecutionKey>, StoreError> {
    let keys: Vec<ExecutionKey> = rung.iter().map(|(key, _)| *key).collect();
    let (tenants, ids) = split(&keys);
    let rings: Vec<i32> = rung.iter().map(|(_, rings)| *rings).collect();
    let rows: Vec<KeyRow> = tx
        .all(
            "UPDATE ready r SET rung_at = $2, rings = r.rings + 1 \
             FROM unnest($3::uuid[], $4::uuid[], $5::integer[]) AS v (tenant_id, execution_id, rings) \
             WHERE r.tenant_id = ANY($1) AND r.tenant_id = v.tenant_id AND r.execution_id = v.execution_id AND r.rings = v.rings \
             RETURNING r.tenant_id, r.execution_id",
            values![tenants_of(tenants.clone()), now, tenants, ids, rings],
        )
        .await?;
    Ok(rows.into_iter().map(ExecutionKey::from).collect())
}

/// Takes rings back that did not reach the doorbell.
pub async fn unmark_rung(tx: &Tx, keys: &[ExecutionKey]) -> Result<(), StoreError> {
    let (tenants, ids) = split(keys);
    tx.execute(
        "UPDATE ready r SET rung_at = NULL, rings = 0 FROM unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, execution_id) \
         WHERE r.tenant_id = ANY($1) AND r.tenant_id = v.tenant_id AND r.execution_id = v.execution_id",
        values![tenants_of(tenants.clone()), tenants, ids],
    )
    .await?;
    Ok(())
}
