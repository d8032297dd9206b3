//! Executions: read under their lock, and moved by what was decided about them.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionSnapshot, Kind, Origin, State};
use orchid_domain::lease::LeaseHolder;
use sea_orm::FromQueryResult;
use uuid::Uuid;

pub use super::new_runs::{HistoryEntry, NewExecution, insert, record};
use super::rows::{ExecutionKey, KeyRow, tenants_of};
use crate::store::db::{Databases, Tx};
use crate::store::error::StoreError;
use crate::values;

/// An execution as it stands, its row locked.
#[derive(Clone, Debug)]
pub struct LockedExecution {
    /// Which.
    pub key: ExecutionKey,
    /// The plan.
    pub plan_id: Uuid,
    /// The plan's key.
    pub plan_key: String,
    /// The revision that it runs.
    pub plan_revision: i32,
    /// The integration's key.
    pub integration_key: String,
    /// The config.
    pub config_id: Uuid,
    /// The config's key.
    pub config_key: String,
    /// What it is for.
    pub kind: Kind,
    /// What made it.
    pub origin: Origin,
    /// Whether it saves context and cursors.
    pub persists: bool,
    /// Values over the context, as the trigger gave them.
    pub context_override: Option<Vec<u8>>,
    /// Where it is.
    pub state: State,
    /// Number of its newest attempt.
    pub attempt: i32,
    /// That attempt's fence.
    pub fence: i64,
    /// Its lease, while it has one.
    pub lease_id: Option<Uuid>,
    /// Attempts lost since the last accepted checkpoint.
    pub losses: u32,
    /// 0 to 9.
    pub priority: i16,
    /// When it was due, or asked for.
    pub scheduled_at: DateTime<Utc>,
    /// When its first attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When a cancel was asked for.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// An upstream works for it, which a cancel has to tell.
    pub must_cancel: bool,
    /// How long its ended attempts ran.
    pub ran_ms: i64,
    /// How long the attempt that has it ran, as of its last checkpoint.
    pub attempt_ran_ms: i64,
    /// Seq of its last accepted checkpoint.
    pub checkpoint_seq: i64,
    /// The run whose checkpoint it begins at.
    pub continues_execution_id: Option<Uuid>,
    /// W3C trace context of what made it.
    pub traceparent: Option<String>,
    /// What it did so far, encoded.
    pub progress: Option<Vec<u8>>,
    /// The tenant's pool.
    pub pool: String,
}

impl LockedExecution {
    /// What decisions look at.
    pub fn snapshot(&self) -> ExecutionSnapshot {
        ExecutionSnapshot {
            state: self.state,
            losses: self.losses,
            cancel_requested: self.cancel_requested_at.is_some(),
            must_cancel: self.must_cancel,
        }
    }

    /// What claims are judged against.
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
    must_cancel: bool,
    ran_ms: i64,
    attempt_ran_ms: i64,
    checkpoint_seq: i64,
    continues_execution_id: Option<Uuid>,
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
            must_cancel: row.must_cancel,
            ran_ms: row.ran_ms,
            attempt_ran_ms: row.attempt_ran_ms,
            checkpoint_seq: row.checkpoint_seq,
            continues_execution_id: row.continues_execution_id,
            traceparent: row.traceparent,
            progress: row.progress,
            pool: row.pool,
        })
    }
}

/// What to do about rows that another transaction has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockWait {
    /// Wait for it to end.
    Wait,
    /// Leave them out.
    Skip,
}

/// Locks executions and reads them, in the order of their keys; those that do not exist are left out.
pub async fn lock(
    tx: &Tx,
    keys: &[ExecutionKey],
    busy: LockWait,
) -> Result<Vec<LockedExecution>, StoreError> {
    let skip = match busy {
        LockWait::Wait => "",
        LockWait::Skip => " SKIP LOCKED",
    };
    let sql = format!(
        "SELECT e.tenant_id, e.id, e.plan_id, e.plan_key, e.plan_revision, e.integration_key, e.config_id, e.config_key, e.kind, e.origin, \
         e.persists, e.context_override, e.state, e.attempt, e.fence, e.lease_id, e.losses, e.priority, e.scheduled_at, e.started_at, \
         e.cancel_requested_at, e.must_cancel, e.ran_ms, e.attempt_ran_ms, e.checkpoint_seq, e.continues_execution_id, e.traceparent, e.progress, t.pool \
         FROM unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, id) \
         JOIN plan_executions e ON e.tenant_id = v.tenant_id AND e.id = v.id \
         JOIN tenants t ON t.id = e.tenant_id \
         WHERE e.tenant_id = ANY($1) AND t.id = ANY($1) ORDER BY e.tenant_id, e.id FOR UPDATE OF e{skip}"
    );
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    let (tenants, ids) = split(&keys);
    let rows: Vec<ExecutionRow> = tx.all(&sql, values![tenants_of(tenants.clone()), tenants, ids]).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub(super) fn split(keys: &[ExecutionKey]) -> (Vec<Uuid>, Vec<Uuid>) {
    keys.iter().map(|key| (key.tenant_id, key.execution_id)).unzip()
}

/// What a move writes into an execution's row. Empty bytes and texts leave what is there.
#[derive(Clone, Debug)]
pub struct ExecutionChange {
    /// Which.
    pub key: ExecutionKey,
    /// The state that was decided on.
    pub from: State,
    /// The fence that was decided on.
    pub fence: i64,
    /// The state that it enters.
    pub to: State,
    /// Losses from now on.
    pub losses: u32,
    /// Whether a cancel is asked for.
    pub cancel_requested: bool,
    /// Whether an upstream works for it.
    pub must_cancel: bool,
    /// Why the cancel was asked for.
    pub cancel_reason: String,
    /// For `parked`: when it may go on.
    pub not_before: Option<DateTime<Utc>>,
    /// For `parked` and `blocked`: what for.
    pub waiting_for: String,
    /// Something was ignored, skipped or limited.
    pub partial: bool,
    /// Every loop ended by itself.
    pub complete: bool,
    /// Whether an attempt ends by it, and how long that ran.
    pub closes_after_ms: Option<i64>,
    /// Seq of the checkpoint that came with it; 0 where none did.
    pub checkpoint_seq: i64,
    /// What it did so far, encoded.
    pub progress: Vec<u8>,
    /// Why it ended, encoded.
    pub error: Vec<u8>,
}

const MOVE: &str = "UPDATE plan_executions e SET \
    state = v.next, \
    not_before = CASE WHEN v.next = 'parked' THEN v.not_before END, \
    waiting_for = CASE WHEN v.next IN ('parked', 'blocked') THEN v.waiting_for END, \
    lease_id = CASE WHEN v.next = 'running' THEN e.lease_id END, \
    losses = v.losses, \
    cancel_requested_at = CASE WHEN v.cancel THEN COALESCE(e.cancel_requested_at, $2) END, \
    must_cancel = v.must_cancel, \
    cancel_reason = CASE WHEN v.cancel_reason <> '' THEN v.cancel_reason ELSE e.cancel_reason END, \
    partial = v.partial, complete = v.complete, \
    ended_at = CASE WHEN v.terminal THEN $2 END, \
    ran_ms = e.ran_ms + CASE WHEN v.closes THEN greatest(e.attempt_ran_ms, v.running_ms) ELSE 0 END, \
    attempt_ran_ms = CASE WHEN v.closes THEN 0 ELSE e.attempt_ran_ms END, \
    checkpoint_seq = greatest(e.checkpoint_seq, v.checkpoint_seq), \
    progress = CASE WHEN length(v.progress) > 0 THEN v.progress ELSE e.progress END, \
    error = CASE WHEN length(v.error) > 0 THEN v.error ELSE e.error END, \
    version = e.version + 1, updated_at = $2 \
    FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::text[], $8::integer[], $9::boolean[], $10::text[], \
        $11::timestamptz[], $12::text[], $13::boolean[], $14::boolean[], $15::boolean[], $16::boolean[], $17::bigint[], $18::bigint[], \
        $19::bytea[], $20::bytea[], $21::boolean[]) \
        AS v (tenant_id, id, before, fence, next, losses, cancel, cancel_reason, not_before, waiting_for, partial, complete, terminal, \
            closes, running_ms, checkpoint_seq, progress, error, must_cancel) \
    WHERE e.tenant_id = ANY($1) AND e.tenant_id = v.tenant_id AND e.id = v.id AND e.state = v.before AND e.fence = v.fence \
    RETURNING e.tenant_id, e.id";

/// Moves executions that still are as the decision saw them; answers which.
pub async fn apply(
    tx: &Tx,
    now: DateTime<Utc>,
    moves: &[ExecutionChange],
) -> Result<Vec<ExecutionKey>, StoreError> {
    if moves.is_empty() {
        return Ok(Vec::new());
    }
    let column = |of: fn(&ExecutionChange) -> bool| moves.iter().map(of).collect::<Vec<bool>>();
    let text = |of: fn(&ExecutionChange) -> &str| {
        moves.iter().map(|entry| of(entry).to_owned()).collect::<Vec<String>>()
    };
    let number = |of: fn(&ExecutionChange) -> i64| moves.iter().map(of).collect::<Vec<i64>>();
    let tenants: Vec<Uuid> = moves.iter().map(|entry| entry.key.tenant_id).collect();
    let values = values![
        tenants_of(tenants.clone()),
        now,
        tenants,
        moves.iter().map(|entry| entry.key.execution_id).collect::<Vec<Uuid>>(),
        text(|entry| entry.from.as_str()),
        number(|entry| entry.fence),
        text(|entry| entry.to.as_str()),
        moves.iter().map(|entry| i32::try_from(entry.losses).unwrap_or(i32::MAX)).collect::<Vec<i32>>(),
        column(|entry| entry.cancel_requested),
        text(|entry| &entry.cancel_reason),
        moves.iter().map(|entry| entry.not_before.unwrap_or(now)).collect::<Vec<DateTime<Utc>>>(),
        text(|entry| &entry.waiting_for),
        column(|entry| entry.partial),
        column(|entry| entry.complete),
        column(|entry| entry.to.is_terminal()),
        column(|entry| entry.closes_after_ms.is_some()),
        number(|entry| entry.closes_after_ms.unwrap_or(0)),
        number(|entry| entry.checkpoint_seq),
        moves.iter().map(|entry| entry.progress.clone()).collect::<Vec<Vec<u8>>>(),
        moves.iter().map(|entry| entry.error.clone()).collect::<Vec<Vec<u8>>>(),
        column(|entry| entry.must_cancel),
    ];
    let rows: Vec<KeyRow> = tx.all(MOVE, values).await?;
    Ok(rows.into_iter().map(ExecutionKey::from).collect())
}

/// The state of executions, without a lock; those that do not exist are left out.
pub async fn states(
    databases: &Databases,
    keys: &[ExecutionKey],
) -> Result<Vec<(ExecutionKey, State)>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: Uuid,
        id: Uuid,
        state: String,
    }
    let (tenants, ids) = split(keys);
    let rows: Vec<Row> = databases
        .find(
            "SELECT e.tenant_id, e.id, e.state FROM unnest($1::uuid[], $2::uuid[]) AS v (tenant_id, id) \
             JOIN plan_executions e ON e.tenant_id = v.tenant_id AND e.id = v.id",
            values![tenants, ids],
        )
        .await?;
    rows.into_iter()
        .map(|row| {
            let state = row.state.parse().map_err(|error| StoreError::corrupt("plan_executions", error))?;
            Ok((ExecutionKey { tenant_id: row.tenant_id, execution_id: row.id }, state))
        })
        .collect()
}
