//! Reads executions, attempts and history for users of the API and for watchers.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_domain::execution::State;
use sea_orm::{FromQueryResult, Value};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::batch::ListStatement;
use crate::store::db::{Databases, TenantTx};
use crate::store::error::StoreError;
use crate::values;

/// An execution, as users see it.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub struct Execution {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Id of the execution, a UUID v7.
    pub id: Uuid,
    /// Id of the plan.
    pub plan_id: Uuid,
    /// Key of the plan.
    pub plan_key: String,
    /// Revision of the plan that it runs.
    pub plan_revision: i32,
    /// Key of the integration.
    pub integration_key: String,
    /// Id of the config.
    pub config_id: Uuid,
    /// Key of the config.
    pub config_key: String,
    /// Purpose of the execution.
    pub kind: String,
    /// Source of the execution.
    pub origin: String,
    /// Current state.
    pub state: String,
    /// The limit that blocks it, or the reason why it is parked.
    pub waiting_for: Option<String>,
    /// Earliest time of the next grant.
    pub not_before: Option<DateTime<Utc>>,
    /// True if something was ignored, skipped or limited.
    pub partial: bool,
    /// True if every loop ended by itself.
    pub complete: bool,
    /// Number of the newest attempt.
    pub attempt: i32,
    /// Attempts lost since the last accepted checkpoint.
    pub losses: i32,
    /// Priority inside the tenant, 0 to 9; higher starts first.
    pub priority: i16,
    /// Time at which it was due or requested.
    pub scheduled_at: DateTime<Utc>,
    /// Time of its creation.
    pub created_at: DateTime<Utc>,
    /// Time at which its first attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// Time of its end.
    pub ended_at: Option<DateTime<Utc>>,
    /// Time at which a cancel was requested.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// Reason of the cancel.
    pub cancel_reason: Option<String>,
    /// True if an upstream works for it, which a cancel has to tell.
    pub needs_upstream_cancel: bool,
    /// Execution whose checkpoint it begins with, because that one ended at a limit.
    #[serde(default)]
    pub continues_execution_id: Option<Uuid>,
    /// An encoded `orchid.executor.v1.ExecutionProgress`.
    pub progress: Option<Vec<u8>>,
    /// An encoded `orchid.executor.v1.ExecutionError`.
    pub error: Option<Vec<u8>>,
    /// Number that rises with every change.
    pub version: i64,
}

/// An attempt: one grant of an execution to one executor.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Attempt {
    /// Number of the attempt, from 1.
    pub attempt: i32,
    /// Fence of the attempt.
    pub fence: i64,
    /// Name of the executor.
    pub executor: String,
    /// Time of the grant.
    pub granted_at: DateTime<Utc>,
    /// Time of its end.
    pub ended_at: Option<DateTime<Utc>>,
    /// The way in which it ended; none while it runs.
    pub verdict: Option<String>,
    /// Number of the last checkpoint that was accepted from it.
    pub final_seq: i64,
    /// The last request that it reported.
    pub last_request: Option<String>,
    /// Id of its lease.
    pub lease_id: Uuid,
    /// Session of the executor.
    pub session_id: Uuid,
}

/// A transition of an execution.
#[derive(Debug, Clone, FromQueryResult)]
pub struct HistoryEvent {
    /// Time of the transition.
    pub at: DateTime<Utc>,
    /// The state that it entered.
    pub state: String,
    /// Attempt that it belongs to; 0 before the first grant.
    pub attempt: i32,
    /// Reason.
    pub cause: String,
    /// Details for people.
    pub detail: String,
}

/// A filter of executions.
#[derive(Debug, Clone, Default)]
pub struct ExecutionFilter {
    /// Only of this plan.
    pub plan_id: Option<Uuid>,
    /// Only of this config.
    pub config_id: Option<Uuid>,
    /// Only in one of these states; empty allows any.
    pub states: Vec<State>,
    /// Only due or requested at or after this time.
    pub from: Option<DateTime<Utc>>,
    /// Only due or requested before this time.
    pub before: Option<DateTime<Utc>>,
}

/// Maximum difference between the time in the id of an execution and its `scheduled_at`.
const ID_SLACK: TimeDelta = TimeDelta::seconds(1);

const COLUMNS: &str = "SELECT tenant_id, id, plan_id, plan_key, plan_revision, integration_key, config_id, config_key, kind,
        origin, state, waiting_for, not_before, partial, complete, attempt, losses, priority, scheduled_at, created_at,
        started_at, ended_at, cancel_requested_at, cancel_reason, needs_upstream_cancel, continues_execution_id, progress,
        error, version
    FROM plan_executions";

/// Returns an execution.
///
/// # Errors
/// The statement fails.
pub async fn by_id(tx: &TenantTx, id: Uuid) -> Result<Option<Execution>, StoreError> {
    tx.one(&format!("{COLUMNS} WHERE tenant_id = $1 AND id = $2"), values![tx.tenant_id(), id]).await
}

/// Lists executions with ids below `before`, newest first.
///
/// # Errors
/// The statement fails.
pub async fn list(
    tx: &TenantTx,
    filter: &ExecutionFilter,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Execution>, StoreError> {
    let (sql, values) = list_statement(tx.tenant_id(), filter, before, limit);
    tx.all(&sql, values).await
}

/// Returns the statement of a list. It holds only the conditions that the filter sets, so that each
/// has an index in every plan that Postgres may choose.
fn list_statement(
    tenant_id: Uuid,
    filter: &ExecutionFilter,
    before: Option<Uuid>,
    limit: i64,
) -> (String, Vec<Value>) {
    // Ids are ordered by the time at which executions were due or requested. The slack covers the
    // moment between a request's id and its time.
    let (earliest, latest) = (filter.from.map(|at| at - ID_SLACK), filter.before.map(|at| at + ID_SLACK));
    let ListStatement { conditions, values } = ListStatement::new(tenant_id, limit)
        .only_if("id <", before)
        .only_if("plan_id =", filter.plan_id)
        .only_if("config_id =", filter.config_id)
        .only_if("id >=", earliest.map(id_floor))
        .only_if("id <", latest.map(id_floor))
        .only_if("scheduled_at >=", filter.from)
        .only_if("scheduled_at <", filter.before);
    if filter.states.is_empty() {
        return (format!("{COLUMNS} WHERE tenant_id = $1{conditions} ORDER BY id DESC LIMIT $2"), values);
    }
    // One query per state, each in the order of the index of states. The names are this program's.
    let of_state = |state: &State| {
        let state = state.as_str();
        format!("{COLUMNS} WHERE tenant_id = $1{conditions} AND state = '{state}' ORDER BY id DESC LIMIT $2")
    };
    if let [state] = filter.states.as_slice() {
        return (of_state(state), values);
    }
    let each: Vec<String> = filter.states.iter().map(|state| format!("({})", of_state(state))).collect();
    (format!("{} ORDER BY id DESC LIMIT $2", each.join(" UNION ALL ")), values)
}

/// Returns the lowest UUID v7 of a time: its first 48 bits are the milliseconds since 1970.
fn id_floor(at: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(u128::from(millis) << 80)
}

/// Lists attempts of an execution with numbers below `before`, newest first.
///
/// # Errors
/// The statement fails.
pub async fn attempts(
    tx: &TenantTx,
    execution_id: Uuid,
    before: Option<i32>,
    limit: i64,
) -> Result<Vec<Attempt>, StoreError> {
    // The attempt that runs has no final seq yet. Its last checkpoint has it, if the fence matches.
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

/// Lists transitions of an execution, newest first.
///
/// # Errors
/// The statement fails.
pub async fn history(tx: &TenantTx, execution_id: Uuid, limit: i64) -> Result<Vec<HistoryEvent>, StoreError> {
    tx.all(
        "SELECT at, state, attempt, cause, detail FROM execution_history
         WHERE tenant_id = $1 AND execution_id = $2 ORDER BY id DESC LIMIT $3",
        values![tx.tenant_id(), execution_id, limit],
    )
    .await
}

/// A watched execution, as its watchers saw it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenVersion {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Id of the execution.
    pub id: Uuid,
    /// Version that was seen.
    pub version: i64,
}

/// Returns watched executions of any tenants that have changed since they were seen.
///
/// # Errors
/// The statement fails.
pub async fn find_changed(databases: &Databases, seen: &[SeenVersion]) -> Result<Vec<Execution>, StoreError> {
    let tenants: Vec<Uuid> = seen.iter().map(|row| row.tenant_id).collect();
    let ids: Vec<Uuid> = seen.iter().map(|row| row.id).collect();
    let versions: Vec<i64> = seen.iter().map(|row| row.version).collect();
    // Watches of all tenants share one poll. The conditions on tenant and id, beside the join, let
    // Postgres skip partitions.
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
