//! Locks executions and reads them as decisions and grants need them.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionSnapshot, Kind, Origin, State, chains};
use orchid_domain::lease::LeaseHolder;
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::store::batch::{distinct_tenants, short_batch, within_weeks};
use crate::store::db::{Databases, Tx};
use crate::store::error::StoreError;
use crate::store::keys::{ExecutionKey, ScheduleKey};
use crate::values;

/// An execution whose row is locked by the transaction that read it.
#[derive(Clone, Debug)]
pub struct LockedExecution {
    /// The execution's key.
    pub key: ExecutionKey,
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
    pub kind: Kind,
    /// Source of the execution.
    pub origin: Origin,
    /// True if it saves context and cursors.
    pub persists: bool,
    /// JSON object that overrides fields of the context.
    pub context_override: Option<Vec<u8>>,
    /// Current state.
    pub state: State,
    /// Number of the newest attempt; 0 before the first grant.
    pub attempt: i32,
    /// Fence of the newest attempt.
    pub fence: i64,
    /// Current lease; none while no executor has the execution.
    pub lease_id: Option<Uuid>,
    /// Attempts lost since the last accepted checkpoint.
    pub losses: u32,
    /// Priority inside the tenant, 0 to 9; higher starts first.
    pub priority: i16,
    /// Time at which it was due or requested.
    pub scheduled_at: DateTime<Utc>,
    /// Time at which its first attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// Time at which a cancel was requested.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// True if an upstream works for it, which a cancel has to tell.
    pub needs_upstream_cancel: bool,
    /// Running time of its ended attempts, in milliseconds.
    pub ran_ms: i64,
    /// Running time of its current attempt as of the last checkpoint, in milliseconds.
    pub attempt_ran_ms: i64,
    /// Seq of its last accepted checkpoint; 0 before the first.
    pub checkpoint_seq: i64,
    /// Execution whose checkpoint this one begins with.
    pub continues_execution_id: Option<Uuid>,
    /// Execution that ended at a limit, and that this one does not continue.
    pub dropped_execution_id: Option<Uuid>,
    /// W3C trace context of the trigger or the schedule.
    pub traceparent: Option<String>,
    /// Encoded progress as of the last checkpoint.
    pub progress: Option<Vec<u8>>,
    /// Pool of the tenant.
    pub pool: String,
}

impl LockedExecution {
    /// Returns the key of the schedule that the execution belongs to.
    pub fn schedule_key(&self) -> ScheduleKey {
        ScheduleKey { tenant_id: self.key.tenant_id, plan_id: self.plan_id, config_id: self.config_id }
    }

    /// Returns the part that decisions look at.
    pub fn snapshot(&self) -> ExecutionSnapshot {
        ExecutionSnapshot {
            state: self.state,
            losses: self.losses,
            cancel_requested: self.cancel_requested_at.is_some(),
            needs_upstream_cancel: self.needs_upstream_cancel,
            chains: self.chains(),
            started: self.attempt > 0,
        }
    }

    /// Returns whether the execution may continue another one and be continued.
    pub fn chains(&self) -> bool {
        chains(self.persists, self.context_override.is_some())
    }

    /// Returns the part that lease claims are judged against.
    pub fn holder(&self) -> LeaseHolder {
        LeaseHolder { state: self.state, fence: self.fence, lease: self.lease_id.map(Into::into) }
    }
}

#[derive(FromQueryResult)]
struct ExecutionRow {
    tenant_id: Uuid,
    id: Uuid,
    plan_id: Uuid,
    plan_key: String,
    plan_revision: i32,
    integration_key: String,
    config_id: Uuid,
    config_key: String,
    kind: String,
    origin: String,
    persists: bool,
    context_override: Option<Vec<u8>>,
    state: String,
    attempt: i32,
    fence: i64,
    lease_id: Option<Uuid>,
    losses: i32,
    priority: i16,
    scheduled_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    cancel_requested_at: Option<DateTime<Utc>>,
    needs_upstream_cancel: bool,
    ran_ms: i64,
    attempt_ran_ms: i64,
    checkpoint_seq: i64,
    continues_execution_id: Option<Uuid>,
    dropped_execution_id: Option<Uuid>,
    traceparent: Option<String>,
    progress: Option<Vec<u8>>,
    pool: String,
}

impl TryFrom<ExecutionRow> for LockedExecution {
    type Error = StoreError;

    fn try_from(row: ExecutionRow) -> Result<Self, StoreError> {
        let corrupt = |error| StoreError::corrupt("plan_executions", error);
        Ok(Self {
            key: ExecutionKey { tenant_id: row.tenant_id, execution_id: row.id },
            plan_id: row.plan_id,
            plan_key: row.plan_key,
            plan_revision: row.plan_revision,
            integration_key: row.integration_key,
            config_id: row.config_id,
            config_key: row.config_key,
            kind: row.kind.parse().map_err(corrupt)?,
            origin: row.origin.parse().map_err(corrupt)?,
            persists: row.persists,
            context_override: row.context_override,
            state: row.state.parse().map_err(corrupt)?,
            attempt: row.attempt,
            fence: row.fence,
            lease_id: row.lease_id,
            losses: u32::try_from(row.losses).unwrap_or(0),
            priority: row.priority,
            scheduled_at: row.scheduled_at,
            started_at: row.started_at,
            cancel_requested_at: row.cancel_requested_at,
            needs_upstream_cancel: row.needs_upstream_cancel,
            ran_ms: row.ran_ms,
            attempt_ran_ms: row.attempt_ran_ms,
            checkpoint_seq: row.checkpoint_seq,
            continues_execution_id: row.continues_execution_id,
            dropped_execution_id: row.dropped_execution_id,
            traceparent: row.traceparent,
            progress: row.progress,
            pool: row.pool,
        })
    }
}

/// The treatment of rows that another transaction has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockWait {
    /// Waits for the other transaction to end.
    Wait,
    /// Leaves the rows out.
    Skip,
}

/// Locks executions in the order of their keys and returns them. Keys without an execution are left
/// out.
///
/// # Errors
/// The statement fails, or a column holds a name that this build does not know.
pub async fn lock(
    tx: &Tx,
    keys: &[ExecutionKey],
    wait: LockWait,
) -> Result<Vec<LockedExecution>, StoreError> {
    let skip = match wait {
        LockWait::Wait => "",
        LockWait::Skip => " SKIP LOCKED",
    };
    // ORDER BY decides the order of locking, which all transactions share. `FOR UPDATE OF e` leaves
    // the tenant's row unlocked: grants of one tenant must not wait for each other.
    // A call may name an execution twice. Each row must come back once.
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    let (tenants, ids) = ExecutionKey::unzip(&keys);
    let (weeks, short) = (within_weeks("e.id", &ids), short_batch("v.id"));
    let sql = format!(
        "SELECT e.tenant_id, e.id, e.plan_id, e.plan_key, e.plan_revision, e.integration_key, e.config_id, e.config_key, e.kind, e.origin, \
         e.persists, e.context_override, e.state, e.attempt, e.fence, e.lease_id, e.losses, e.priority, e.scheduled_at, e.started_at, \
         e.cancel_requested_at, e.needs_upstream_cancel, e.ran_ms, e.attempt_ran_ms, e.checkpoint_seq, e.continues_execution_id, e.dropped_execution_id, e.traceparent, e.progress, t.pool \
         FROM unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, id) \
         JOIN plan_executions e ON e.tenant_id = v.tenant_id AND e.id = v.id \
         JOIN tenants t ON t.id = e.tenant_id \
         WHERE e.tenant_id = ANY($1) AND t.id = ANY($1) AND {weeks} AND {short} ORDER BY e.tenant_id, e.id FOR UPDATE OF e{skip}"
    );
    let rows: Vec<ExecutionRow> =
        tx.all(&sql, values![distinct_tenants(tenants.clone()), tenants, ids]).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Reads the states of executions without a lock. Keys without an execution are left out.
///
/// # Errors
/// The statement fails, or a state is unknown.
pub async fn find_states(
    databases: &Databases,
    keys: &[ExecutionKey],
) -> Result<Vec<(ExecutionKey, State)>, StoreError> {
    #[derive(FromQueryResult)]
    struct StateRow {
        tenant_id: Uuid,
        id: Uuid,
        state: String,
    }
    let (tenants, ids) = ExecutionKey::unzip(keys);
    let sql = format!(
        "SELECT e.tenant_id, e.id, e.state FROM unnest($1::uuid[], $2::uuid[]) AS v (tenant_id, id) \
         JOIN plan_executions e ON e.tenant_id = v.tenant_id AND e.id = v.id WHERE {}",
        within_weeks("e.id", &ids)
    );
    let rows: Vec<StateRow> = databases.find(&sql, values![tenants, ids]).await?;
    rows.into_iter()
        .map(|row| {
            let state = row.state.parse().map_err(|error| StoreError::corrupt("plan_executions", error))?;
            Ok((ExecutionKey { tenant_id: row.tenant_id, execution_id: row.id }, state))
        })
        .collect()
}
