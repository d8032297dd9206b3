//! Finds executions that passed a time limit. These reads span tenants and take no locks; the loop
//! that acts on them locks each execution and decides again.

use chrono::{DateTime, Utc};

use crate::store::db::Databases;
use crate::store::error::StoreError;
use crate::store::keys::{ExecutionKey, ExecutionKeyRow};
use crate::values;

async fn find(
    databases: &Databases,
    sql: &str,
    values: Vec<sea_orm::Value>,
) -> Result<Vec<ExecutionKey>, StoreError> {
    let rows: Vec<ExecutionKeyRow> = databases.find(sql, values).await?;
    Ok(rows.into_iter().map(ExecutionKey::from).collect())
}

/// Finds executions whose cancel was not carried out in time.
///
/// Most count from `requested_before`. An execution whose upstream has to be told counts from
/// `upstream_requested_before`, the earlier time, and counts also while it is queued for that.
///
/// # Errors
/// The statement fails.
pub async fn find_uncancelled(
    databases: &Databases,
    requested_before: DateTime<Utc>,
    upstream_requested_before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ExecutionKey>, StoreError> {
    // Only an execution that must tell its upstream is ever queued with a cancel: others end at
    // once.
    let sql = "SELECT tenant_id, id FROM plan_executions WHERE state IN ('queued', 'running') AND cancel_requested_at < $1 \
        AND (NOT needs_upstream_cancel OR cancel_requested_at < $2) LIMIT $3";
    find(databases, sql, values![requested_before, upstream_requested_before, limit]).await
}

/// Finds executions whose attempt has passed the time at which the server ends it.
///
/// # Errors
/// The statement fails.
pub async fn find_too_long(
    databases: &Databases,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ExecutionKey>, StoreError> {
    // The grant has computed the time, so this reads no definition and only what is overdue.
    let sql = "SELECT tenant_id, execution_id AS id FROM leases WHERE ends_at < $1 ORDER BY ends_at LIMIT $2";
    find(databases, sql, values![now, limit]).await
}

/// Finds executions that were created before a time and have not ended.
///
/// # Errors
/// The statement fails.
pub async fn find_too_old(
    databases: &Databases,
    created_before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ExecutionKey>, StoreError> {
    // The id is a UUID v7, so its bound lets Postgres skip the partitions of younger weeks.
    let sql = "SELECT tenant_id, id FROM plan_executions \
        WHERE state IN ('pending', 'queued', 'running', 'parked', 'blocked') AND created_at < $1 AND id < uuid_floor($1) LIMIT $2";
    find(databases, sql, values![created_before, limit]).await
}
