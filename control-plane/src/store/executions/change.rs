//! Changes the rows of locked executions: by a decided transition, or by an accepted checkpoint.

use chrono::{DateTime, Utc};
use orchid_domain::ExecutionId;
use orchid_domain::execution::{Beginning, State};
use uuid::Uuid;

use crate::store::batch::{distinct_tenants, short_batch, within_weeks};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::keys::{ExecutionKey, ExecutionKeyRow};
use crate::values;

/// The columns that a transition writes into its execution. Empty bytes and texts leave the stored
/// value.
#[derive(Clone, Debug)]
pub struct ExecutionChange {
    /// The execution.
    pub key: ExecutionKey,
    /// The state that the decision saw.
    pub from: State,
    /// The fence that the decision saw.
    pub fence: i64,
    /// The state that the execution enters.
    pub to: State,
    /// Attempts lost since the last accepted checkpoint.
    pub losses: u32,
    /// True if a cancel is requested.
    pub cancel_requested: bool,
    /// True if an upstream works for the execution, which a cancel has to tell.
    pub needs_upstream_cancel: bool,
    /// Reason of the cancel.
    pub cancel_reason: String,
    /// For `parked`: the earliest time of the next grant.
    pub not_before: Option<DateTime<Utc>>,
    /// For `parked` and `blocked`: what the execution waits for.
    pub waiting_for: String,
    /// True if something was ignored, skipped or limited.
    pub partial: bool,
    /// True if every loop ended by itself.
    pub complete: bool,
    /// Running time of the attempt that ends, in milliseconds; none when no attempt ends.
    pub closes_after_ms: Option<i64>,
    /// Seq of the checkpoint that came with the call; 0 when none did.
    pub checkpoint_seq: i64,
    /// Encoded progress.
    pub progress: Vec<u8>,
    /// Encoded error.
    pub error: Vec<u8>,
    /// The place where the execution begins; fresh leaves what is stored.
    pub beginning: Beginning,
}

/// The state and the fence at the end make the update conditional: it applies only to a row
/// that still is as the decision saw it.
const APPLY_CHANGES: &str = "UPDATE plan_executions e SET \
    state = v.next, \
    not_before = CASE WHEN v.next = 'parked' THEN v.not_before END, \
    waiting_for = CASE WHEN v.next IN ('parked', 'blocked') THEN v.waiting_for END, \
    lease_id = CASE WHEN v.next = 'running' THEN e.lease_id END, \
    losses = v.losses, \
    cancel_requested_at = CASE WHEN v.cancel THEN COALESCE(e.cancel_requested_at, $2) END, \
    needs_upstream_cancel = v.needs_upstream_cancel, \
    cancel_reason = CASE WHEN v.cancel_reason <> '' THEN v.cancel_reason ELSE e.cancel_reason END, \
    partial = v.partial, complete = v.complete, \
    ended_at = CASE WHEN v.terminal THEN $2 END, \
    ran_ms = e.ran_ms + CASE WHEN v.closes THEN greatest(e.attempt_ran_ms, v.attempt_ms) ELSE 0 END, \
    attempt_ran_ms = CASE WHEN v.closes THEN 0 ELSE e.attempt_ran_ms END, \
    checkpoint_seq = greatest(e.checkpoint_seq, v.checkpoint_seq), \
    progress = CASE WHEN length(v.progress) > 0 THEN v.progress ELSE e.progress END, \
    error = CASE WHEN length(v.error) > 0 THEN v.error ELSE e.error END, \
    continues_execution_id = COALESCE(NULLIF(v.continued, '00000000-0000-0000-0000-000000000000'), e.continues_execution_id), \
    dropped_execution_id = COALESCE(NULLIF(v.dropped, '00000000-0000-0000-0000-000000000000'), e.dropped_execution_id), \
    version = e.version + 1, updated_at = $2 \
    FROM unnest($3::uuid[], $4::uuid[], $5::text[], $6::bigint[], $7::text[], $8::integer[], $9::boolean[], $10::text[], \
        $11::timestamptz[], $12::text[], $13::boolean[], $14::boolean[], $15::boolean[], $16::boolean[], $17::bigint[], $18::bigint[], \
        $19::bytea[], $20::bytea[], $21::boolean[], $22::uuid[], $23::uuid[]) \
        AS v (tenant_id, id, before, fence, next, losses, cancel, cancel_reason, not_before, waiting_for, partial, complete, terminal, \
            closes, attempt_ms, checkpoint_seq, progress, error, needs_upstream_cancel, continued, dropped) \
    WHERE e.tenant_id = ANY($1) AND e.tenant_id = v.tenant_id AND e.id = v.id AND e.state = v.before AND e.fence = v.fence";

/// Applies changes to executions that still are as their decisions saw them, and returns the keys
/// of those that changed.
///
/// # Errors
/// The statement fails.
pub async fn apply_changes(
    tx: &Tx,
    now: DateTime<Utc>,
    changes: &[ExecutionChange],
) -> Result<Vec<ExecutionKey>, StoreError> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let flag = |of: fn(&ExecutionChange) -> bool| changes.iter().map(of).collect::<Vec<bool>>();
    let text = |of: fn(&ExecutionChange) -> &str| {
        changes.iter().map(|change| of(change).to_owned()).collect::<Vec<String>>()
    };
    // Arrays hold no nulls: the nil id replaces them, and NULLIF turns it back.
    let id = |of: fn(&ExecutionChange) -> Option<ExecutionId>| {
        changes.iter().map(|change| of(change).map(Uuid::from).unwrap_or_default()).collect::<Vec<Uuid>>()
    };
    let number = |of: fn(&ExecutionChange) -> i64| changes.iter().map(of).collect::<Vec<i64>>();
    let tenants: Vec<Uuid> = changes.iter().map(|change| change.key.tenant_id).collect();
    let ids: Vec<Uuid> = changes.iter().map(|change| change.key.execution_id).collect();
    let (weeks, short) = (within_weeks("e.id", &ids), short_batch("v.id"));
    let sql = format!("{APPLY_CHANGES} AND {weeks} AND {short} RETURNING e.tenant_id, e.id");
    let values = values![
        distinct_tenants(tenants.clone()),
        now,
        tenants,
        ids,
        text(|change| change.from.as_str()),
        number(|change| change.fence),
        text(|change| change.to.as_str()),
        changes.iter().map(|change| i32::try_from(change.losses).unwrap_or(i32::MAX)).collect::<Vec<i32>>(),
        flag(|change| change.cancel_requested),
        text(|change| &change.cancel_reason),
        // Arrays hold no nulls. The statement reads this column for `parked` alone, which has a
        // time.
        changes.iter().map(|change| change.not_before.unwrap_or(now)).collect::<Vec<DateTime<Utc>>>(),
        text(|change| &change.waiting_for),
        flag(|change| change.partial),
        flag(|change| change.complete),
        flag(|change| change.to.is_terminal()),
        flag(|change| change.closes_after_ms.is_some()),
        number(|change| change.closes_after_ms.unwrap_or(0)),
        number(|change| change.checkpoint_seq),
        changes.iter().map(|change| change.progress.clone()).collect::<Vec<Vec<u8>>>(),
        changes.iter().map(|change| change.error.clone()).collect::<Vec<Vec<u8>>>(),
        flag(|change| change.needs_upstream_cancel),
        id(|change| change.beginning.continued()),
        id(|change| change.beginning.dropped()),
    ];
    let rows: Vec<ExecutionKeyRow> = tx.all(&sql, values).await?;
    Ok(rows.into_iter().map(ExecutionKey::from).collect())
}

/// The columns that an accepted checkpoint writes into its execution.
#[derive(Clone, Debug)]
pub struct CheckpointChange {
    /// The execution.
    pub key: ExecutionKey,
    /// Fence of the attempt.
    pub fence: i64,
    /// Seq of the checkpoint.
    pub seq: i64,
    /// Running time of the attempt, in milliseconds.
    pub attempt_ms: i64,
    /// Encoded progress.
    pub progress: Vec<u8>,
    /// Attempts lost since the last accepted checkpoint, which is this one.
    pub losses: u32,
    /// True if an upstream works for the execution, which a cancel has to tell.
    pub needs_upstream_cancel: bool,
}

/// Records accepted checkpoints in the rows of their executions.
///
/// # Errors
/// The statement fails.
pub async fn accept_checkpoints(
    tx: &Tx,
    now: DateTime<Utc>,
    changes: &[CheckpointChange],
) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = changes.iter().map(|change| change.key.tenant_id).collect();
    let ids: Vec<Uuid> = changes.iter().map(|change| change.key.execution_id).collect();
    // `greatest` keeps both numbers rising when a delayed call arrives after a newer one.
    let sql = format!(
        "UPDATE plan_executions e SET losses = v.losses, needs_upstream_cancel = v.needs_upstream_cancel, checkpoint_seq = greatest(e.checkpoint_seq, v.seq), \
           attempt_ran_ms = greatest(e.attempt_ran_ms, v.attempt_ms), progress = v.progress, version = e.version + 1, updated_at = $2 \
         FROM unnest($3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bytea[], $9::integer[], $10::boolean[]) \
           AS v (tenant_id, id, fence, seq, attempt_ms, progress, losses, needs_upstream_cancel) \
         WHERE e.tenant_id = ANY($1) AND e.tenant_id = v.tenant_id AND e.id = v.id AND e.fence = v.fence AND e.state = 'running' AND {} AND {}",
        within_weeks("e.id", &ids),
        short_batch("v.id")
    );
    tx.execute(
        &sql,
        values![
            distinct_tenants(tenants.clone()),
            now,
            tenants,
            ids,
            changes.iter().map(|change| change.fence).collect::<Vec<i64>>(),
            changes.iter().map(|change| change.seq).collect::<Vec<i64>>(),
            changes.iter().map(|change| change.attempt_ms).collect::<Vec<i64>>(),
            changes.iter().map(|change| change.progress.clone()).collect::<Vec<Vec<u8>>>(),
            changes
                .iter()
                .map(|change| i32::try_from(change.losses).unwrap_or(i32::MAX))
                .collect::<Vec<i32>>(),
            changes.iter().map(|change| change.needs_upstream_cancel).collect::<Vec<bool>>(),
        ],
    )
    .await?;
    Ok(())
}
