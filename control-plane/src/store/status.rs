//! Where an execution stands: what it waits behind or for, and who has it. Read for people who ask why it does not go on; nothing is
//! decided by it, so nothing is locked.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::{
    store::{
        db::{Databases, TenantTx},
        error::StoreError,
        executions::Execution,
    },
    values,
};

/// The run that saves progress now, for a plan and a config.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct ActiveExecution {
    /// Which.
    pub id: Uuid,
    /// Where it is.
    pub state: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// A place in the queue.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct QueuePosition {
    /// Whose executors may take it.
    pub pool: String,
    /// Not to be granted before.
    pub not_before: Option<DateTime<Utc>>,
    /// When the doorbell last rang for it.
    pub rung_at: Option<DateTime<Utc>>,
    /// How often it rang.
    pub rings: i32,
    /// Runs of the same tenant that stand before it.
    pub before: i64,
}

/// What a pool has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLoad {
    /// Live executors that take work.
    pub sessions: i64,
    /// How many runs these do at once.
    pub slots: i64,
    /// How many they do now.
    pub taken: i64,
}

/// Who has a run.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct CurrentLease {
    /// The lease.
    pub lease_id: Uuid,
    /// The executor's session.
    pub session_id: Uuid,
    /// When it was granted.
    pub granted_at: DateTime<Utc>,
}

/// An executor, as of its last beat.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct SessionStatus {
    /// Its name.
    pub name: String,
    /// When it last beat.
    pub beat_at: DateTime<Utc>,
    /// What the run last requested; none where it did not say.
    pub last_request: Option<String>,
}

/// The last accepted checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct LastCheckpoint {
    /// Its number.
    pub seq: i64,
    /// When it was saved.
    pub saved_at: DateTime<Utc>,
}

#[derive(FromQueryResult)]
struct CountRow {
    count: i64,
}

/// The run that others of its plan and config wait behind.
pub async fn active_execution(
    tx: &TenantTx,
    execution: &Execution,
) -> Result<Option<ActiveExecution>, StoreError> {
    tx.one(
        "SELECT e.id, e.state, e.created_at FROM schedules s
         JOIN plan_executions e ON e.tenant_id = s.tenant_id AND e.id = s.going_execution_id
         WHERE s.tenant_id = $1 AND e.tenant_id = $1 AND s.plan_id = $2 AND s.config_id = $3",
        values![tx.tenant_id(), execution.plan_id, execution.config_id],
    )
    .await
}

/// How many runs of its plan and config wait before it.
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

/// Its place in the queue at a time.
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

/// Its lease.
pub async fn current_lease(tx: &TenantTx, id: Uuid) -> Result<Option<CurrentLease>, StoreError> {
    tx.one(
        "SELECT lease_id, session_id, granted_at FROM leases WHERE tenant_id = $1 AND execution_id = $2",
        values![tx.tenant_id(), id],
    )
    .await
}

/// Its last checkpoint.
pub async fn last_checkpoint(tx: &TenantTx, id: Uuid) -> Result<Option<LastCheckpoint>, StoreError> {
    tx.one(
        "SELECT seq, saved_at FROM checkpoints WHERE tenant_id = $1 AND execution_id = $2",
        values![tx.tenant_id(), id],
    )
    .await
}

/// The session that holds a lease; none where it is not alive.
pub async fn find_session(
    databases: &Databases,
    lease: &CurrentLease,
) -> Result<Option<SessionStatus>, StoreError> {
    let found = databases
        .find(
            "SELECT name, beat_at, last_requests ->> $2::text AS last_request FROM executor_sessions
             WHERE id = $1 AND ended_at IS NULL",
            values![lease.session_id, lease.lease_id.to_string()],
        )
        .await?;
    Ok(found.into_iter().next())
}

/// What a pool has to give. Two reads: sessions and leases may lie on different machines.
pub async fn find_pool_load(databases: &Databases, pool: &str) -> Result<PoolLoad, StoreError> {
    #[derive(FromQueryResult)]
    struct LiveRow {
        id: Uuid,
        slots: i32,
    }
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
