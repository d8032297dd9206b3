//! Checkpoints, and the context that they write.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::rows::{ExecutionKey, placeholders, tenants_of};
use super::runs::split;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::values;

/// A checkpoint to save.
#[derive(Clone, Debug)]
pub struct NewCheckpoint {
    /// Of which execution.
    pub key: ExecutionKey,
    /// Higher than any before.
    pub seq: i64,
    /// The attempt's fence.
    pub fence: i64,
    /// Where the run is.
    pub place: Vec<u8>,
    /// Values of finished steps; none: those saved before stay.
    pub finished: Option<Vec<u8>>,
    /// The run's own context writes, all of them; none: those saved before stay.
    pub own_context: Option<Vec<u8>>,
    /// What it did so far, encoded.
    pub progress: Vec<u8>,
}

/// Saves checkpoints, each over an older one of its execution.
pub async fn save(tx: &Tx, now: DateTime<Utc>, checkpoints: &[NewCheckpoint]) -> Result<(), StoreError> {
    if checkpoints.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO checkpoints AS c (tenant_id, execution_id, seq, fence, place, finished, own_context, progress, saved_at) VALUES {} \
         ON CONFLICT (tenant_id, execution_id) DO UPDATE SET seq = excluded.seq, fence = excluded.fence, place = excluded.place, \
         finished = COALESCE(excluded.finished, c.finished), own_context = COALESCE(excluded.own_context, c.own_context), \
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
            checkpoint.place.clone(),
            checkpoint.finished.clone(),
            checkpoint.own_context.clone(),
            checkpoint.progress.clone(),
            now,
        ]);
    }
    tx.execute(&sql, values).await?;
    Ok(())
}

/// What a checkpoint changes in an execution's own row.
#[derive(Clone, Debug)]
pub struct ExecutionAdvance {
    /// Which execution.
    pub key: ExecutionKey,
    /// The attempt's fence.
    pub fence: i64,
    /// The checkpoint's seq.
    pub seq: i64,
    /// How long the attempt runs.
    pub running_ms: i64,
    /// What it did so far, encoded.
    pub progress: Vec<u8>,
    /// Losses from now on.
    pub losses: u32,
    /// Whether an upstream works for it.
    pub must_cancel: bool,
}

/// Notes accepted checkpoints.
pub async fn advance(tx: &Tx, now: DateTime<Utc>, advances: &[ExecutionAdvance]) -> Result<(), StoreError> {
    if advances.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = advances.iter().map(|entry| entry.key.tenant_id).collect();
    tx.execute(
        "UPDATE plan_executions e SET losses = v.losses, must_cancel = v.must_cancel, checkpoint_seq = greatest(e.checkpoint_seq, v.seq), \
           attempt_ran_ms = greatest(e.attempt_ran_ms, v.running_ms), progress = v.progress, version = e.version + 1, updated_at = $2 \
         FROM unnest($3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bytea[], $9::integer[], $10::boolean[]) \
           AS v (tenant_id, id, fence, seq, running_ms, progress, losses, must_cancel) \
         WHERE e.tenant_id = ANY($1) AND e.tenant_id = v.tenant_id AND e.id = v.id AND e.fence = v.fence AND e.state = 'running'",
        values![
            tenants_of(tenants.clone()),
            now,
            tenants,
            advances.iter().map(|entry| entry.key.execution_id).collect::<Vec<Uuid>>(),
            advances.iter().map(|entry| entry.fence).collect::<Vec<i64>>(),
            advances.iter().map(|entry| entry.seq).collect::<Vec<i64>>(),
            advances.iter().map(|entry| entry.running_ms).collect::<Vec<i64>>(),
            advances.iter().map(|entry| entry.progress.clone()).collect::<Vec<Vec<u8>>>(),
            advances.iter().map(|entry| i32::try_from(entry.losses).unwrap_or(i32::MAX)).collect::<Vec<i32>>(),
            advances.iter().map(|entry| entry.must_cancel).collect::<Vec<bool>>(),
        ],
    )
    .await?;
    Ok(())
}

/// Deletes the checkpoints of executions.
pub async fn delete(tx: &Tx, keys: &[ExecutionKey]) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let (tenants, ids) = split(keys);
    tx.execute(
        "DELETE FROM checkpoints c USING unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, execution_id) \
         WHERE c.tenant_id = ANY($1) AND c.tenant_id = v.tenant_id AND c.execution_id = v.execution_id",
        values![tenants_of(tenants.clone()), tenants, ids],
    )
    .await?;
    Ok(())
}

/// The own context writes of executions, of those that saved any.
pub async fn own_contexts(
    tx: &Tx,
    keys: &[ExecutionKey],
) -> Result<Vec<(ExecutionKey, Vec<u8>)>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: Uuid,
        execution_id: Uuid,
        own_context: Option<Vec<u8>>,
    }
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (tenants, ids) = split(keys);
    let rows: Vec<Row> = tx
        .all(
            "SELECT c.tenant_id, c.execution_id, c.own_context FROM unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, execution_id) \
             JOIN checkpoints c ON c.tenant_id = v.tenant_id AND c.execution_id = v.execution_id WHERE c.tenant_id = ANY($1)",
            values![tenants_of(tenants.clone()), tenants, ids],
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

/// A field of a persistent context to write, or to remove.
#[derive(Clone, Debug)]
pub struct ContextWrite {
    /// The run that writes it.
    pub key: ExecutionKey,
    /// The plan.
    pub plan_id: Uuid,
    /// The config.
    pub config_id: Uuid,
    /// The field's name.
    pub name: String,
    /// JSON text; none: the field is removed.
    pub value: Option<Vec<u8>>,
}

/// Writes and removes fields; of the same field, the last one wins.
pub async fn write_context(tx: &Tx, now: DateTime<Utc>, writes: &[ContextWrite]) -> Result<(), StoreError> {
    let mut last = std::collections::BTreeMap::new();
    for write in writes {
        last.insert((write.key.tenant_id, write.plan_id, write.config_id, write.name.as_str()), write);
    }
    let (set, removed): (Vec<&ContextWrite>, Vec<&ContextWrite>) =
        last.into_values().partition(|write| write.value.is_some());
    remove_fields(tx, &removed).await?;
    if set.is_empty() {
        return Ok(());
    }
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
            tenants_of(tenants.clone()),
            tenants,
            removed.iter().map(|write| write.plan_id).collect::<Vec<Uuid>>(),
            removed.iter().map(|write| write.config_id).collect::<Vec<Uuid>>(),
            removed.iter().map(|write| write.name.clone()).collect::<Vec<String>>(),
        ],
    )
    .await?;
    Ok(())
}
