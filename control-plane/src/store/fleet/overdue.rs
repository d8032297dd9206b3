//! Runs that passed a limit of time.

use chrono::{DateTime, Utc};

use super::rows::{ExecutionKey, KeyRow};
use crate::store::db::Databases;
use crate::store::error::StoreError;
use crate::values;

async fn find(
    databases: &Databases,
    sql: &str,
    values: Vec<sea_orm::Value>,
) -> Result<Vec<ExecutionKey>, StoreError> {
    let rows: Vec<KeyRow> = databases.find(sql, values).await?;
    Ok(rows.into_iter().map(ExecutionKey::from).collect())
}

/// Running, and asked to be cancelled before a time; where an upstream has to be told, running or queued for that, and asked before
/// `told_before`, the earlier one.
pub async fn find_uncancelled(
    databases: &Databases,
    requested_before: DateTime<Utc>,
    told_before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ExecutionKey>, StoreError> {
    let sql = "SELECT tenant_id, id FROM plan_executions WHERE state IN ('queued', 'running') AND cancel_requested_at < $1 \
        AND (NOT must_cancel OR cancel_requested_at < $2) LIMIT $3";
    find(databases, sql, values![requested_before, told_before, limit]).await
}

/// Running for longer than their plan's revision allows, and `slack_seconds` more.
pub async fn find_too_long(
    databases: &Databases,
    now: DateTime<Utc>,
    default_seconds: i64,
    slack_seconds: i64,
    limit: i64,
) -> Result<Vec<ExecutionKey>, StoreError> {
    let sql = "SELECT e.tenant_id, e.id FROM leases l \
        JOIN plan_executions e ON e.tenant_id = l.tenant_id AND e.id = l.execution_id \
        JOIN plan_revisions r ON r.tenant_id = e.tenant_id AND r.plan_id = e.plan_id AND r.revision = e.plan_revision \
        WHERE e.state = 'running' AND l.granted_at + make_interval(secs => \
          COALESCE((r.definition ->> 'max_execution_seconds')::double precision, $2) + $3 - e.ran_ms / 1000.0) < $1 LIMIT $4";
    find(databases, sql, values![now, default_seconds as f64, slack_seconds as f64, limit]).await
}

/// Not ended, and created before a time.
pub async fn find_too_old(
    databases: &Databases,
    created_before: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ExecutionKey>, StoreError> {
    let sql = "SELECT tenant_id, id FROM plan_executions \
        WHERE state IN ('pending', 'queued', 'running', 'parked', 'blocked') AND created_at < $1 AND id < uuid_floor($1) LIMIT $2";
    find(databases, sql, values![created_before, limit]).await
}
