//! Rows of `plan_executions`, `execution_attempts` and `execution_history`, as they are read by users. What changes them lies
//! with the fleet.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    store::{
        db::{Databases, TenantTx},
        error::StoreError,
    },
    values,
};

/// One run of a plan for a config.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub struct Execution {
    /// Whose.
    pub tenant_id: Uuid,
    /// UUID v7.
    pub id: Uuid,
    /// Of which plan.
    pub plan_id: Uuid,
    /// Key of the plan.
    pub plan_key: String,
    /// The revision that it runs.
    pub plan_revision: i32,
    /// Key of the integration.
    pub integration_key: String,
    /// For which config.
    pub config_id: Uuid,
    /// Key of the config.
    pub config_key: String,
    /// What it is for.
    pub kind: String,
    /// Where it came from.
    pub origin: String,
    /// Where it is.
    pub state: String,
    /// While blocked: by which limit. While parked: why.
    pub waiting_for: Option<String>,
    /// When it may go on.
    pub not_before: Option<DateTime<Utc>>,
    /// Something was ignored, skipped or limited.
    pub partial: bool,
    /// Every loop ended by itself.
    pub complete: bool,
    /// Number of its newest attempt.
    pub attempt: i32,
    /// Attempts lost since the last accepted checkpoint.
    pub losses: i32,
    /// 0 to 9.
    pub priority: i16,
    /// When it was due, or asked for.
    pub scheduled_at: DateTime<Utc>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its first attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// When a cancel was asked for.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// Why a cancel was asked for.
    pub cancel_reason: Option<String>,
    /// An upstream works for it, which a cancel has to tell.
    pub must_cancel: bool,
    /// An encoded `orchid.executor.v1.RunProgress`.
    pub progress: Option<Vec<u8>>,
    /// An encoded `orchid.executor.v1.RunFault`.
    pub error: Option<Vec<u8>>,
    /// Rises with every change.
    pub version: i64,
}

/// One grant of an execution to one executor.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Attempt {
    /// Counts from 1.
    pub attempt: i32,
    /// Orders attempts.
    pub fence: i64,
    /// Name of the executor.
    pub executor: String,
    /// When it was granted.
    pub granted_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How it ended; none while it runs.
    pub verdict: Option<String>,
    /// The last checkpoint that was accepted from it.
    pub final_seq: i64,
    /// The last request that it told of.
    pub last_request: Option<String>,
    /// Its lease.
    pub lease_id: Uuid,
    /// The session that was granted it.
    pub session_id: Uuid,
}

/// One transition of an execution.
#[derive(Debug, Clone, FromQueryResult)]
pub struct HistoryEvent {
    /// When it was committed.
    pub at: DateTime<Utc>,
    /// The state that it entered.
    pub state: String,
    /// The attempt it concerns; 0 where none.
    pub attempt: i32,
    /// Why.
    pub cause: String,
    /// Details, in words.
    pub detail: String,
}

/// Which executions to list.
#[derive(Debug, Clone, Default)]
pub struct ExecutionFilter {
    /// Only of this plan.
    pub plan_key: Option<String>,
    /// Only of this config.
    pub config_key: Option<String>,
    /// Only in one of these states; empty: in any.
    pub states: Vec<String>,
    /// Only created at or after this time.
    pub created_from: Option<DateTime<Utc>>,
    /// Only created before this time.
    pub created_before: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "SELECT tenant_id, id, plan_id, plan_key, plan_revision, integration_key, config_id, config_key, kind,
        origin, state, waiting_for, not_before, partial, complete, attempt, losses, priority, scheduled_at, created_at,
        started_at, ended_at, cancel_requested_at, cancel_reason, must_cancel, progress, error, version
    FROM plan_executions";

/// One execution.
pub async fn by_id(tx: &TenantTx, id: Uuid) -> Result<Option<Execution>, StoreError> {
    tx.one(&format!("{COLUMNS} WHERE tenant_id = $1 AND id = $2"), values![tx.tenant_id(), id]).await
}

/// Executions below an id, newest first.
pub async fn list(
    tx: &TenantTx,
    filter: &ExecutionFilter,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Execution>, StoreError> {
    tx.all(
        &format!(
            "{COLUMNS} WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
                 AND ($3::text IS NULL OR plan_key = $3) AND ($4::text IS NULL OR config_key = $4)
                 AND ($5::boolean OR state = ANY($6))
                 AND ($7::timestamptz IS NULL OR created_at >= $7)
                 AND ($8::timestamptz IS NULL OR created_at < $8)
             ORDER BY id DESC LIMIT $9"
        ),
        values![
            tx.tenant_id(),
            before,
            filter.plan_key.clone(),
            filter.config_key.clone(),
            filter.states.is_empty(),
            filter.states.clone(),
            filter.created_from,
            filter.created_before,
            limit,
        ],
    )
    .await
}

/// Attempts of an execution below one, newest first. The one that runs has its last checkpoint from the run's own row of them.
pub async fn attempts(
    tx: &TenantTx,
    execution_id: Uuid,
    before: Option<i32>,
    limit: i64,
) -> Result<Vec<Attempt>, StoreError> {
    tx.all(
        "SELECT a.attempt, a.fence, a.executor, a.granted_at, a.ended_at, a.verdict,
             CASE WHEN a.ended_at IS NULL THEN COALESCE(c.seq, 0) ELSE a.final_seq END AS final_seq,
             a.last_request, a.lease_id, a.session_id
         FROM execution_attempts a
         LEFT JOIN checkpoints c
             ON c.tenant_id = a.tenant_id AND c.execution_id = a.execution_id AND c.fence = a.fence AND c.tenant_id = $1
         WHERE a.tenant_id = $1 AND a.execution_id = $2 AND ($3::integer IS NULL OR a.attempt < $3)
         ORDER BY a.attempt DESC LIMIT $4",
        values![tx.tenant_id(), execution_id, before, limit],
    )
    .await
}

/// Transitions of an execution, newest first.
pub async fn history(tx: &TenantTx, execution_id: Uuid, limit: i64) -> Result<Vec<HistoryEvent>, StoreError> {
    tx.all(
        "SELECT at, state, attempt, cause, detail FROM execution_history
         WHERE tenant_id = $1 AND execution_id = $2 ORDER BY id DESC LIMIT $3",
        values![tx.tenant_id(), execution_id, limit],
    )
    .await
}

/// An execution that somebody watches, as they saw it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenVersion {
    /// Whose.
    pub tenant_id: Uuid,
    /// Which.
    pub id: Uuid,
    /// The version that was seen.
    pub version: i64,
}

/// Those of the executions that have changed since they were seen, of any tenants, all at once.
pub async fn find_changed(databases: &Databases, seen: &[SeenVersion]) -> Result<Vec<Execution>, StoreError> {
    let tenants: Vec<Uuid> = seen.iter().map(|row| row.tenant_id).collect();
    let ids: Vec<Uuid> = seen.iter().map(|row| row.id).collect();
    let versions: Vec<i64> = seen.iter().map(|row| row.version).collect();
    databases
        .find(
            &format!(
                "{COLUMNS} JOIN unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS seen (seen_tenant, seen_id, seen_version)
                     ON tenant_id = seen_tenant AND id = seen_id
                 WHERE tenant_id = ANY($1) AND id = ANY($2) AND version > seen_version"
            ),
            values![tenants, ids, versions],
        )
        .await
}
