//! The status of an execution for people who ask why it does not run: what it waits for, and which
//! executor has it. No decision depends on these reads, so they take no locks.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::store::db::{Databases, TenantTx};
use crate::store::error::StoreError;
use crate::store::executions::Execution;
use crate::values;

/// The active execution of a plan and config.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct ActiveExecution {
    /// Id of the execution.
    pub id: Uuid,
    /// Its state.
    pub state: String,
    /// Time of its creation.
    pub created_at: DateTime<Utc>,
}

/// The position of an execution in the queue.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct QueuePosition {
    /// Pool whose executors may take it.
    pub pool: String,
    /// Earliest time of the grant.
    pub not_before: Option<DateTime<Utc>>,
    /// Time at which the doorbell last rang for it.
    pub rung_at: Option<DateTime<Utc>>,
    /// Number of rings.
    pub rings: i32,
    /// Number of executions of the same tenant that start before it.
    pub before: i64,
}

/// The capacity of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLoad {
    /// Number of live executors that take work.
    pub sessions: i64,
    /// Executions that they run at once.
    pub slots: i64,
    /// Executions that they run now.
    pub taken: i64,
}

/// The lease of an execution.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct CurrentLease {
    /// Id of the lease.
    pub lease_id: Uuid,
    /// Session of the executor.
    pub session_id: Uuid,
    /// Time at which it was granted.
    pub granted_at: DateTime<Utc>,
}

/// An executor, as of its last heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct SessionStatus {
    /// Name of the executor.
    pub name: String,
    /// Time of its last heartbeat.
    pub heartbeat_at: DateTime<Utc>,
    /// The last request of the execution; none when no heartbeat reported one.
    pub last_request: Option<String>,
}

/// The last accepted checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct LastCheckpoint {
    /// Number of the checkpoint.
    pub seq: i64,
    /// Time at which it was saved.
    pub saved_at: DateTime<Utc>,
}

#[derive(FromQueryResult)]
struct CountRow {
    count: i64,
}

/// Returns the active execution that others of the plan and config wait behind.
///
/// # Errors
/// The statement fails.
pub async fn active_execution(
    tx: &TenantTx,
    execution: &Execution,
) -> Result<Option<ActiveExecution>, StoreError> {
    tx.one(
        "SELECT e.id, e.state, e.created_at FROM schedules s
         JOIN plan_executions e ON e.tenant_id = s.tenant_id AND e.id = s.active_execution_id
         WHERE s.tenant_id = $1 AND e.tenant_id = $1 AND s.plan_id = $2 AND s.config_id = $3",
        values![tx.tenant_id(), execution.plan_id, execution.config_id],
    )
    .await
}

/// Counts the pending executions of the plan and config that are older.
///
/// # Errors
/// The statement fails.
pub async fn pending_before(tx: &TenantTx, execution: &Execution) -> Result<i64, StoreError> {
    let row: Option<CountRow> = tx
        .one(
            "SELECT count(*) AS count FROM plan_executions
             WHERE tenant_id = $1 AND plan_id = $2 AND config_id = $3 AND state = 'pending' AND id < $4",
            values![tx.tenant_id(), execution.plan_id, execution.config_id, execution.id],
        )
        .await?;
    Ok(row.map_or(0, |row| row.count))
}

/// Returns the position of an execution in the queue.
///
/// # Errors
/// The statement fails.
pub async fn queue_position(
    tx: &TenantTx,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<QueuePosition>, StoreError> {
    tx.one(
        "SELECT r.pool, r.not_before, r.rung_at, r.rings, (
             SELECT count(*) FROM ready o
             WHERE o.tenant_id = $1 AND o.pool = r.pool AND (o.not_before IS NULL OR o.not_before <= $3)
               AND (o.priority > r.priority OR (o.priority = r.priority AND o.seq < r.seq))) AS before
         FROM ready r WHERE r.tenant_id = $1 AND r.execution_id = $2",
        values![tx.tenant_id(), id, now],
    )
    .await
}

/// Returns the lease of an execution.
///
/// # Errors
/// The statement fails.
pub async fn current_lease(tx: &TenantTx, id: Uuid) -> Result<Option<CurrentLease>, StoreError> {
    tx.one(
        "SELECT lease_id, session_id, granted_at FROM leases WHERE tenant_id = $1 AND execution_id = $2",
        values![tx.tenant_id(), id],
    )
    .await
}

/// Returns the last checkpoint of an execution.
///
/// # Errors
/// The statement fails.
pub async fn last_checkpoint(tx: &TenantTx, id: Uuid) -> Result<Option<LastCheckpoint>, StoreError> {
    tx.one(
        "SELECT seq, saved_at FROM checkpoints WHERE tenant_id = $1 AND execution_id = $2",
        values![tx.tenant_id(), id],
    )
    .await
}

/// Returns the session that holds a lease; none when it has ended.
///
/// # Errors
/// The statement fails.
pub async fn find_session(
    databases: &Databases,
    lease: &CurrentLease,
) -> Result<Option<SessionStatus>, StoreError> {
    // Under the fleet's role: sessions belong to no tenant.
    let found = databases
        .find(
            "SELECT name, heartbeat_at, last_requests ->> $2::text AS last_request FROM executor_sessions
             WHERE id = $1 AND ended_at IS NULL",
            values![lease.session_id, lease.lease_id.to_string()],
        )
        .await?;
    Ok(found.into_iter().next())
}

/// Returns the capacity of a pool.
///
/// # Errors
/// A statement fails.
pub async fn find_pool_load(databases: &Databases, pool: &str) -> Result<PoolLoad, StoreError> {
    #[derive(FromQueryResult)]
    struct LiveRow {
        id: Uuid,
        slots: i32,
    }
    // Two statements, because sessions and leases can be on different nodes of a Citus cluster.
    let live: Vec<LiveRow> = databases
        .find(
            "SELECT id, slots FROM executor_sessions WHERE pool = $1 AND ended_at IS NULL AND NOT draining LIMIT 10000",
            values![pool],
        )
        .await?;
    let slots = live.iter().map(|session| i64::from(session.slots)).sum();
    let ids: Vec<Uuid> = live.iter().map(|session| session.id).collect();
    let sessions = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let taken: Vec<CountRow> = databases
        .find("SELECT count(*) AS count FROM leases WHERE session_id = ANY($1)", values![ids])
        .await?;
    Ok(PoolLoad { sessions, slots, taken: taken.iter().map(|row| row.count).sum() })
}
