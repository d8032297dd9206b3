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
}

/// One transition of an execution.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Event {
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
pub struct Filter {
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
        started_at, ended_at, cancel_requested_at, cancel_reason, progress, error, version
    FROM plan_executions";

/// One execution.
pub async fn by_id(tx: &TenantTx, id: Uuid) -> Result<Option<Execution>, StoreError> {
    tx.one(&format!("{COLUMNS} WHERE tenant_id = $1 AND id = $2"), values![tx.tenant_id(), id]).await
}

/// Executions below an id, newest first.
pub async fn list(
    tx: &TenantTx,
    filter: &Filter,
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

/// Attempts of an execution below one, newest first.
pub async fn attempts(
    tx: &TenantTx,
    execution_id: Uuid,
    before: Option<i32>,
    limit: i64,
) -> Result<Vec<Attempt>, StoreError> {
    tx.all(
        "SELECT attempt, fence, executor, granted_at, ended_at, verdict, final_seq, last_request FROM execution_attempts
         WHERE tenant_id = $1 AND execution_id = $2 AND ($3::integer IS NULL OR attempt < $3)
         ORDER BY attempt DESC LIMIT $4",
        values![tx.tenant_id(), execution_id, before, limit],
    )
    .await
}

/// Transitions of an execution, oldest first.
pub async fn history(tx: &TenantTx, execution_id: Uuid, limit: i64) -> Result<Vec<Event>, StoreError> {
    tx.all(
        "SELECT at, state, attempt, cause, detail FROM execution_history
         WHERE tenant_id = $1 AND execution_id = $2 ORDER BY id LIMIT $3",
        values![tx.tenant_id(), execution_id, limit],
    )
    .await
}

/// Executions of any tenants, by their ids: what watchers ask for, all at once.
pub async fn watched(
    databases: &Databases,
    tenants: Vec<Uuid>,
    ids: Vec<Uuid>,
) -> Result<Vec<Execution>, StoreError> {
    databases
        .find(&format!("{COLUMNS} WHERE tenant_id = ANY($1) AND id = ANY($2)"), values![tenants, ids])
        .await
}
