//! The queue of ready rows, as the relay and acquire calls read it: which tenants wait, their next
//! rows, and the rows that the doorbell rang for. No statement here reads the whole queue.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_domain::TenantId;
use orchid_domain::fairness::WaitingTenant;
use orchid_domain::ring::MAX_DOUBLINGS;
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::ready::{ReadyCandidate, ReadyKeyRow};
use crate::store::batch::{distinct_tenants, short_batch};
use crate::store::db::{Databases, Tx};
use crate::store::error::StoreError;
use crate::store::keys::ExecutionKey;
use crate::values;

/// Maximum parked rows that join the queue in one call.
const MAX_RELEASED: i64 = 1000;

/// Returns the tenants of a pool with rows that can start now and that the doorbell has not rung
/// for.
///
/// # Errors
/// The statement fails.
pub async fn find_waiting_tenants(
    databases: &Databases,
    pool: &str,
) -> Result<Vec<WaitingTenant>, StoreError> {
    #[derive(FromQueryResult)]
    struct TenantRow {
        tenant_id: Uuid,
        weight: i32,
    }
    let rows: Vec<TenantRow> =
        databases.find("SELECT tenant_id, weight FROM waiting_tenants($1)", values![pool]).await?;
    let waiting = rows.into_iter().map(|row| WaitingTenant {
        tenant: TenantId(row.tenant_id),
        weight: u32::try_from(row.weight).unwrap_or(1),
    });
    Ok(waiting.collect())
}

/// Returns the next rows of these tenants, by priority and age: as many of each as given. All
/// tenants belong to one placement group.
///
/// # Errors
/// The statement fails.
pub async fn find_of_tenants(
    databases: &Databases,
    pool: &str,
    rows_of: &[(Uuid, i64)],
) -> Result<Vec<ReadyCandidate>, StoreError> {
    let (tenants, rows): (Vec<Uuid>, Vec<i64>) = rows_of.iter().copied().unzip();
    databases
        .find(
            "SELECT q.tenant_id, q.execution_id, q.priority, q.seq, q.losses, q.rings, q.rung_at, q.traceparent \
             FROM unnest($3::uuid[], $4::bigint[]) AS v (tenant_id, rows) \
             CROSS JOIN LATERAL ( \
               SELECT r.tenant_id, r.execution_id, r.priority, r.seq, r.losses, r.rings, r.rung_at, r.traceparent FROM ready r \
               WHERE r.tenant_id = ANY($1) AND r.tenant_id = v.tenant_id AND r.pool = $2 AND r.not_before IS NULL AND r.rung_at IS NULL \
               ORDER BY r.priority DESC, r.seq LIMIT v.rows) q",
            values![distinct_tenants(tenants.clone()), pool, tenants, rows],
        )
        .await
}

/// Returns executions of a pool that the doorbell rang for and that no executor has taken, the
/// longest rung first.
///
/// # Errors
/// The statement fails.
pub async fn find_announced(
    databases: &Databases,
    pool: &str,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ReadyCandidate>, StoreError> {
    databases
        .find(
            "SELECT r.tenant_id, r.execution_id, r.priority, r.seq, r.losses, r.rings, r.rung_at, r.traceparent FROM ready r \
             WHERE r.pool = $1 AND r.rung_at <= $2 AND (r.not_before IS NULL OR r.not_before <= $2) \
             ORDER BY r.rung_at, r.priority DESC, r.seq LIMIT $3",
            values![pool, now, limit],
        )
        .await
}

/// Returns executions of a pool that the doorbell has to ring for again: it rang long enough ago,
/// and no executor has taken them.
///
/// # Errors
/// The statement fails.
pub async fn find_unheard(
    databases: &Databases,
    pool: &str,
    now: DateTime<Utc>,
    rering_after: Duration,
    limit: i64,
) -> Result<Vec<ReadyCandidate>, StoreError> {
    let rering_ms = i64::try_from(rering_after.as_millis()).unwrap_or(i64::MAX);
    // The shift is `orchid_domain::ring::wait_after` in SQL. The second condition on `rung_at`
    // implies the first, which is the one that an index answers.
    databases
        .find(
            "SELECT r.tenant_id, r.execution_id, r.priority, r.seq, r.losses, r.rings, r.rung_at, r.traceparent FROM ready r \
             WHERE r.pool = $1 AND r.rung_at <= $2 - make_interval(secs => $3 / 1000.0) \
               AND r.rung_at <= $2 - make_interval(secs => ($3 << least(greatest(r.rings - 1, 0), $4)) / 1000.0) \
             ORDER BY r.rung_at LIMIT $5",
            values![pool, now, rering_ms, i32::try_from(MAX_DOUBLINGS).unwrap_or(0), limit],
        )
        .await
}

/// Counts, by tenant, the slots of a pool that are taken: by leases of these sessions, and by
/// executions that the doorbell rang for since a time and that no executor has taken.
///
/// # Errors
/// The statement fails.
pub async fn count_held(
    databases: &Databases,
    pool: &str,
    sessions: Vec<Uuid>,
    rung_since: DateTime<Utc>,
) -> Result<Vec<(Uuid, i64)>, StoreError> {
    #[derive(FromQueryResult)]
    struct HeldRow {
        tenant_id: Uuid,
        held: i64,
    }
    let rows: Vec<HeldRow> = databases
        .find(
            "SELECT tenant_id, count(*) AS held FROM ( \
               SELECT l.tenant_id FROM leases l WHERE l.session_id = ANY($2) \
               UNION ALL SELECT r.tenant_id FROM ready r WHERE r.pool = $1 AND r.rung_at > $3) h GROUP BY tenant_id",
            values![pool, sessions, rung_since],
        )
        .await?;
    Ok(rows.into_iter().map(|row| (row.tenant_id, row.held)).collect())
}

/// Finds parked rows whose time has come.
///
/// # Errors
/// The statement fails.
pub async fn find_due(databases: &Databases, now: DateTime<Utc>) -> Result<Vec<ExecutionKey>, StoreError> {
    let rows: Vec<ReadyKeyRow> = databases
        .find(
            "SELECT tenant_id, execution_id FROM ready WHERE not_before <= $1 ORDER BY not_before LIMIT $2",
            values![now, MAX_RELEASED],
        )
        .await?;
    Ok(rows.into_iter().map(ExecutionKey::from).collect())
}

/// Returns the time at which the next parked row can join the queue.
///
/// # Errors
/// The statement fails.
pub async fn next_parked(databases: &Databases) -> Result<Option<DateTime<Utc>>, StoreError> {
    #[derive(FromQueryResult)]
    struct NextRow {
        next: Option<DateTime<Utc>>,
    }
    let rows: Vec<NextRow> = databases
        .find("SELECT min(not_before) AS next FROM ready WHERE not_before IS NOT NULL", values![])
        .await?;
    Ok(rows.into_iter().next().and_then(|row| row.next))
}

/// Lets parked rows join the queue. Their age counts from the time that they waited for.
///
/// # Errors
/// The statement fails.
pub async fn release(tx: &Tx, now: DateTime<Utc>, keys: &[ExecutionKey]) -> Result<(), StoreError> {
    let (tenants, ids) = ExecutionKey::unzip_sorted(keys);
    // A row that was granted and parked again since it was found waits for its new time.
    tx.execute(
        &format!("UPDATE ready r SET not_before = NULL FROM unnest($3::uuid[], $4::uuid[]) AS v (tenant_id, execution_id) \
         WHERE r.tenant_id = ANY($1) AND r.tenant_id = v.tenant_id AND r.execution_id = v.execution_id AND {} AND r.not_before <= $2", short_batch("v.execution_id")),
        values![distinct_tenants(tenants.clone()), now, tenants, ids],
    )
    .await?;
    Ok(())
}
