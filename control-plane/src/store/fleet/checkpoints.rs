//! Checkpoints, and the context fields that come with them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::store::batch::{MAX_ROWS, distinct_tenants, placeholders};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::keys::ExecutionKey;
use crate::values;

/// A checkpoint to save.
#[derive(Clone, Debug)]
pub struct NewCheckpoint {
    /// The execution.
    pub key: ExecutionKey,
    /// Number of the checkpoint, higher than any before.
    pub seq: i64,
    /// Fence of the attempt.
    pub fence: i64,
    /// Resume state of the execution.
    pub resume_state: Vec<u8>,
    /// Values of finished steps; none keeps those that are stored.
    pub finished_steps: Option<Vec<u8>>,
    /// All context writes of the execution itself; none keeps those that are stored.
    pub own_context: Option<Vec<u8>>,
    /// Encoded progress.
    pub progress: Vec<u8>,
}

/// Saves checkpoints, each over an older one of its execution.
///
/// # Errors
/// The statement fails.
pub async fn save(tx: &Tx, now: DateTime<Utc>, checkpoints: &[NewCheckpoint]) -> Result<(), StoreError> {
    if checkpoints.is_empty() {
        return Ok(());
    }
    // The parts that seldom change are only sent when they do, and COALESCE keeps them otherwise.
    // The last condition refuses an older checkpoint.
    let sql = format!(
        "INSERT INTO checkpoints AS c (tenant_id, execution_id, seq, fence, resume_state, finished_steps, own_context, progress, saved_at) VALUES {} \
         ON CONFLICT (tenant_id, execution_id) DO UPDATE SET seq = excluded.seq, fence = excluded.fence, resume_state = excluded.resume_state, \
         finished_steps = COALESCE(excluded.finished_steps, c.finished_steps), own_context = COALESCE(excluded.own_context, c.own_context), \
         progress = excluded.progress, saved_at = excluded.saved_at WHERE c.seq < excluded.seq",
        placeholders(checkpoints.len(), 9)
    );
    let mut values = Vec::with_capacity(checkpoints.len() * 9);
    for checkpoint in checkpoints {
        values.extend(values![
            checkpoint.key.tenant_id,
            checkpoint.key.execution_id,
            checkpoint.seq,
            checkpoint.fence,
            checkpoint.resume_state.clone(),
            checkpoint.finished_steps.clone(),
            checkpoint.own_context.clone(),
            checkpoint.progress.clone(),
            now,
        ]);
    }
    tx.execute(&sql, values).await?;
    Ok(())
}

/// Deletes the checkpoints of executions.
///
/// # Errors
/// The statement fails.
pub async fn delete(tx: &Tx, keys: &[ExecutionKey]) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let (tenants, ids) = ExecutionKey::unzip(keys);
    tx.execute(
        "DELETE FROM checkpoints c USING unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, execution_id) \
         WHERE c.tenant_id = ANY($1) AND c.tenant_id = v.tenant_id AND c.execution_id = v.execution_id",
        values![distinct_tenants(tenants.clone()), tenants, ids],
    )
    .await?;
    Ok(())
}

/// Returns the own context writes of executions. Executions without any are left out.
///
/// # Errors
/// The statement fails.
pub async fn own_contexts(
    tx: &Tx,
    keys: &[ExecutionKey],
) -> Result<Vec<(ExecutionKey, Vec<u8>)>, StoreError> {
    #[derive(FromQueryResult)]
    struct OwnContextRow {
        tenant_id: Uuid,
        execution_id: Uuid,
        own_context: Option<Vec<u8>>,
    }
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (tenants, ids) = ExecutionKey::unzip(keys);
    let rows: Vec<OwnContextRow> = tx
        .all(
            "SELECT c.tenant_id, c.execution_id, c.own_context FROM unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, execution_id) \
             JOIN checkpoints c ON c.tenant_id = v.tenant_id AND c.execution_id = v.execution_id WHERE c.tenant_id = ANY($1)",
            values![distinct_tenants(tenants.clone()), tenants, ids],
        )
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            Some((
                ExecutionKey { tenant_id: row.tenant_id, execution_id: row.execution_id },
                row.own_context?,
            ))
        })
        .collect())
}

/// Returns the values of finished steps of executions. Executions without any are left out.
///
/// # Errors
/// The statement fails.
pub async fn finished_steps(
    tx: &Tx,
    keys: &[ExecutionKey],
) -> Result<Vec<(ExecutionKey, Vec<u8>)>, StoreError> {
    #[derive(FromQueryResult)]
    struct FinishedStepsRow {
        tenant_id: Uuid,
        execution_id: Uuid,
        finished_steps: Option<Vec<u8>>,
    }
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (tenants, ids) = ExecutionKey::unzip(keys);
    let rows: Vec<FinishedStepsRow> = tx
        .all(
            "SELECT c.tenant_id, c.execution_id, c.finished_steps FROM unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, execution_id) \
             JOIN checkpoints c ON c.tenant_id = v.tenant_id AND c.execution_id = v.execution_id WHERE c.tenant_id = ANY($1)",
            values![distinct_tenants(tenants.clone()), tenants, ids],
        )
        .await?;
    let found = |row: FinishedStepsRow| {
        let key = ExecutionKey { tenant_id: row.tenant_id, execution_id: row.execution_id };
        Some((key, row.finished_steps?))
    };
    Ok(rows.into_iter().filter_map(found).collect())
}

/// A field of a persistent context to write or remove.
#[derive(Clone, Debug)]
pub struct ContextWrite {
    /// The execution that writes it.
    pub key: ExecutionKey,
    /// The plan.
    pub plan_id: Uuid,
    /// The config.
    pub config_id: Uuid,
    /// Name of the field.
    pub name: String,
    /// JSON text; none removes the field.
    pub value: Option<Vec<u8>>,
}

/// Writes and removes fields. Of several writes to one field, the last one wins.
///
/// # Errors
/// A statement fails.
pub async fn write_context(tx: &Tx, now: DateTime<Utc>, writes: &[ContextWrite]) -> Result<(), StoreError> {
    // One INSERT cannot touch a row twice. The map also sorts the rows by key, which is the order
    // of locking.
    let mut last = BTreeMap::new();
    for write in writes {
        last.insert((write.key.tenant_id, write.plan_id, write.config_id, write.name.as_str()), write);
    }
    let (set, removed): (Vec<&ContextWrite>, Vec<&ContextWrite>) =
        last.into_values().partition(|write| write.value.is_some());
    // Removing and setting are two statements. No field is in both, since only its last write
    // counts.
    remove_fields(tx, &removed).await?;
    for chunk in set.chunks(MAX_ROWS) {
        set_fields(tx, now, chunk).await?;
    }
    Ok(())
}

async fn set_fields(tx: &Tx, now: DateTime<Utc>, set: &[&ContextWrite]) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO plan_contexts (tenant_id, plan_id, config_id, name, value, execution_id, updated_at) VALUES {} \
         ON CONFLICT (tenant_id, plan_id, config_id, name) DO UPDATE SET value = excluded.value, execution_id = excluded.execution_id, \
         updated_at = excluded.updated_at",
        placeholders(set.len(), 7)
    );
    let mut values = Vec::with_capacity(set.len() * 7);
    for write in set {
        values.extend(values![
            write.key.tenant_id,
            write.plan_id,
            write.config_id,
            write.name.clone(),
            write.value.clone(),
            write.key.execution_id,
            now,
        ]);
    }
    tx.execute(&sql, values).await?;
    Ok(())
}

async fn remove_fields(tx: &Tx, removed: &[&ContextWrite]) -> Result<(), StoreError> {
    if removed.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = removed.iter().map(|write| write.key.tenant_id).collect();
    tx.execute(
        "DELETE FROM plan_contexts c USING unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[]) AS v (tenant_id, plan_id, config_id, name) \
         WHERE c.tenant_id = ANY($1) AND c.tenant_id = v.tenant_id AND c.plan_id = v.plan_id AND c.config_id = v.config_id AND c.name = v.name",
        values![
            distinct_tenants(tenants.clone()),
            tenants,
            removed.iter().map(|write| write.plan_id).collect::<Vec<Uuid>>(),
            removed.iter().map(|write| write.config_id).collect::<Vec<Uuid>>(),
            removed.iter().map(|write| write.name.clone()).collect::<Vec<String>>(),
        ],
    )
    .await?;
    Ok(())
}
