//! Grants executions: moves their rows to `running` under new leases.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::store::batch::{distinct_tenants, short_batch, within_weeks};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::keys::ExecutionKey;
use crate::values;

/// A lease to open on an execution.
#[derive(Clone, Debug)]
pub struct NewLease {
    /// The execution that is granted.
    pub key: ExecutionKey,
    /// Random id of the lease.
    pub lease_id: Uuid,
    /// Attempts lost since the last accepted checkpoint.
    pub losses: u32,
}

/// The executor that leases are opened for.
#[derive(Clone, Debug)]
pub struct LeaseOwner {
    /// Session of the executor.
    pub session_id: Uuid,
    /// Name of the executor.
    pub executor: String,
    /// Number of the acquire call.
    pub acquire_seq: i64,
}

/// The columns of an execution that a grant sets or that its attempt begins with.
#[derive(Clone, Debug, FromQueryResult)]
pub struct GrantedExecution {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Id of the execution.
    pub id: Uuid,
    /// The new lease.
    pub lease_id: Option<Uuid>,
    /// Number of the new attempt.
    pub attempt: i32,
    /// Fence of the new attempt.
    pub fence: i64,
    /// Time at which the first attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// Running time of earlier attempts, in milliseconds.
    pub ran_ms: i64,
}

impl GrantedExecution {
    /// Returns the execution's key.
    pub fn key(&self) -> ExecutionKey {
        ExecutionKey { tenant_id: self.tenant_id, execution_id: self.id }
    }
}

/// Returns the timeline of the database server, which rises with every promotion of a standby.
///
/// It is read from the name of the WAL file, which is right as soon as the promotion is; the
/// control file follows only with the next checkpoint of the server.
///
/// # Errors
/// The statement fails, or the name does not begin with a timeline.
pub async fn timeline(tx: &Tx) -> Result<u32, StoreError> {
    #[derive(FromQueryResult)]
    struct TimelineRow {
        timeline: String,
    }
    let row: Option<TimelineRow> =
        tx.one("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline", values![]).await?;
    let text = row.map(|row| row.timeline).unwrap_or_default();
    u32::from_str_radix(&text, 16)
        .map_err(|error| StoreError::corrupt("timeline", format!("{text:?}: {error}")))
}

/// Moves ready executions to `running`, each with its new lease, the next attempt number and the
/// next fence. Returns the rows that moved.
///
/// # Errors
/// The statement fails.
pub async fn grant(
    tx: &Tx,
    now: DateTime<Utc>,
    fence_floor: i64,
    leases: &[NewLease],
) -> Result<Vec<GrantedExecution>, StoreError> {
    let keys: Vec<ExecutionKey> = leases.iter().map(|lease| lease.key).collect();
    let (tenants, ids) = ExecutionKey::unzip(&keys);
    let lease_ids: Vec<Uuid> = leases.iter().map(|lease| lease.lease_id).collect();
    // `greatest` is `orchid_domain::fence::next` in SQL. The floor makes the fence rise also after
    // a fail-over that lost the last grants.
    let sql = format!(
        "UPDATE plan_executions e SET state = 'running', attempt = e.attempt + 1, fence = greatest(e.fence + 1, $3), \
         lease_id = v.lease_id, started_at = COALESCE(e.started_at, $2), not_before = NULL, waiting_for = NULL, \
         version = e.version + 1, updated_at = $2 \
         FROM unnest($4::uuid[], $5::uuid[], $6::uuid[]) AS v (tenant_id, id, lease_id) \
         WHERE e.tenant_id = ANY($1) AND e.tenant_id = v.tenant_id AND e.id = v.id AND e.state IN ('queued', 'parked', 'blocked') AND {} AND {} \
         RETURNING e.tenant_id, e.id, e.lease_id, e.attempt, e.fence, e.started_at, e.ran_ms",
        within_weeks("e.id", &ids),
        short_batch("v.id")
    );
    tx.all(&sql, values![distinct_tenants(tenants.clone()), now, fence_floor, tenants, ids, lease_ids]).await
}
