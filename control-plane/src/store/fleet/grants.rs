//! What a grant needs beside the execution: its definition, config, context and checkpoint, with their sizes first, so that one
//! answer stays within its bounds.

use std::collections::{BTreeMap, HashMap};

use sea_orm::FromQueryResult;
use serde_json::Value as Json;
use uuid::Uuid;

use super::rows::{ExecutionKey, tenants_of};
use super::runs::{LockedExecution, split};
use super::schedules::ScheduleKey;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::values;

/// How much a run's grant holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantSizes {
    /// Its persistent context.
    pub context: i64,
    /// Cursors of its plan and config.
    pub cursors: i64,
    /// Its checkpoint, both parts and its own context.
    pub checkpoint: i64,
}

/// How much the grants of these runs hold.
pub async fn sizes(
    tx: &Tx,
    runs: &[LockedExecution],
) -> Result<HashMap<ExecutionKey, GrantSizes>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: Uuid,
        id: Uuid,
        context: i64,
        cursors: i64,
        checkpoint: i64,
    }
    let tenants: Vec<Uuid> = runs.iter().map(|run| run.key.tenant_id).collect();
    let rows: Vec<Row> = tx
        .all(
            "SELECT v.tenant_id, v.id, \
               COALESCE((SELECT sum(octet_length(p.value))::bigint FROM plan_contexts p WHERE p.tenant_id = ANY($1) \
                 AND p.tenant_id = v.tenant_id AND p.plan_id = v.plan_id AND p.config_id = v.config_id), 0) AS context, \
               COALESCE((SELECT sum(octet_length(u.step) + octet_length(u.item) + octet_length(u.value))::bigint FROM cursors u \
                 WHERE u.tenant_id = ANY($1) AND u.tenant_id = v.tenant_id AND u.plan_id = v.plan_id AND u.config_id = v.config_id), 0) AS cursors, \
               COALESCE((SELECT (octet_length(c.place) + COALESCE(octet_length(c.finished), 0) + COALESCE(octet_length(c.own_context), 0))::bigint \
                 FROM checkpoints c WHERE c.tenant_id = ANY($1) AND c.tenant_id = v.tenant_id AND c.execution_id = v.begin_at), 0) AS checkpoint \
             FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[]) AS v (tenant_id, id, plan_id, config_id, begin_at)",
            values![
                tenants_of(tenants.clone()),
                tenants,
                runs.iter().map(|run| run.key.execution_id).collect::<Vec<Uuid>>(),
                runs.iter().map(|run| run.plan_id).collect::<Vec<Uuid>>(),
                runs.iter().map(|run| run.config_id).collect::<Vec<Uuid>>(),
                runs.iter().map(|run| begin_at(run).execution_id).collect::<Vec<Uuid>>(),
            ],
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let key = ExecutionKey { tenant_id: row.tenant_id, execution_id: row.id };
            (key, GrantSizes { context: row.context, cursors: row.cursors, checkpoint: row.checkpoint })
        })
        .collect())
}

/// Whose checkpoint a run begins at: its own, or before its first that of the run it continues.
pub fn begin_at(run: &LockedExecution) -> ExecutionKey {
    let execution_id = match run.continues_execution_id {
        Some(continued) if run.checkpoint_seq == 0 => continued,
        Some(_) | None => run.key.execution_id,
    };
    ExecutionKey { execution_id, ..run.key }
}

/// A revision's definition.
#[derive(Clone, Debug)]
pub struct PlanDefinition {
    /// SHA-256 of its canonical JSON.
    pub hash: Vec<u8>,
    /// JSON text; none where it was not asked for.
    pub json: Option<String>,
}

/// The definitions of these revisions (tenant, plan, revision); those with a known hash without their text.
pub async fn definitions(
    tx: &Tx,
    revisions: &[(Uuid, Uuid, i32)],
    known_hashes: &[Vec<u8>],
) -> Result<HashMap<(Uuid, Uuid, i32), PlanDefinition>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: Uuid,
        plan_id: Uuid,
        revision: i32,
        definition_hash: Vec<u8>,
        definition: Option<String>,
    }
    let tenants: Vec<Uuid> = revisions.iter().map(|revision| revision.0).collect();
    let rows: Vec<Row> = tx
        .all(
            "SELECT r.tenant_id, r.plan_id, r.revision, r.definition_hash, \
               CASE WHEN r.definition_hash = ANY($5::bytea[]) THEN NULL ELSE r.definition::text END AS definition \
             FROM unnest($2::uuid[], $3::uuid[], $4::integer[]) AS v (tenant_id, plan_id, revision) \
             JOIN plan_revisions r ON r.tenant_id = v.tenant_id AND r.plan_id = v.plan_id AND r.revision = v.revision \
             WHERE r.tenant_id = ANY($1)",
            values![
                tenants_of(tenants.clone()),
                tenants,
                revisions.iter().map(|revision| revision.1).collect::<Vec<Uuid>>(),
                revisions.iter().map(|revision| revision.2).collect::<Vec<i32>>(),
                known_hashes.to_vec(),
            ],
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            (
                (row.tenant_id, row.plan_id, row.revision),
                PlanDefinition { hash: row.definition_hash, json: row.definition },
            )
        })
        .collect())
}

/// A config as it is stored, its secrets sealed, with the key that opens them still wrapped.
#[derive(Clone, Debug, FromQueryResult)]
pub struct SealedConfig {
    /// Whose.
    pub tenant_id: Uuid,
    /// Its id.
    pub id: Uuid,
    /// Its values; a marker stands where a secret belongs.
    pub values: Json,
    /// Its secrets by JSON pointer, sealed.
    pub secrets: Option<Vec<u8>>,
    /// How its requests leave and where they may go; a marker stands where a secret belongs.
    pub transport: Json,
    /// Its transport's secrets by JSON pointer, sealed.
    pub transport_secrets: Option<Vec<u8>>,
    /// The tenant's data key, wrapped.
    pub data_key: Vec<u8>,
    /// Which master key wrapped it.
    pub data_key_id: String,
}

/// These configs (tenant, config).
pub async fn configs(
    tx: &Tx,
    ids: &[(Uuid, Uuid)],
) -> Result<HashMap<(Uuid, Uuid), SealedConfig>, StoreError> {
    let (tenants, configs): (Vec<Uuid>, Vec<Uuid>) = ids.iter().copied().unzip();
    let rows: Vec<SealedConfig> = tx
        .all(
            r#"SELECT c.tenant_id, c.id, c."values", c.secrets, c.transport, c.transport_secrets, t.data_key, t.data_key_id
               FROM unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, id)
               JOIN configs c ON c.tenant_id = v.tenant_id AND c.id = v.id
               JOIN tenants t ON t.id = c.tenant_id WHERE c.tenant_id = ANY($1) AND t.id = ANY($1)"#,
            values![tenants_of(tenants.clone()), tenants, configs],
        )
        .await?;
    Ok(rows.into_iter().map(|row| ((row.tenant_id, row.id), row)).collect())
}

/// The fields of a persistent context: name → JSON text.
pub type ContextFields = BTreeMap<String, Vec<u8>>;

/// The persistent contexts of these plans and configs.
pub async fn contexts(
    tx: &Tx,
    keys: &[ScheduleKey],
) -> Result<HashMap<ScheduleKey, ContextFields>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: Uuid,
        plan_id: Uuid,
        config_id: Uuid,
        name: String,
        value: Vec<u8>,
    }
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let tenants: Vec<Uuid> = keys.iter().map(|key| key.tenant_id).collect();
    let rows: Vec<Row> = tx
        .all(
            "SELECT c.tenant_id, c.plan_id, c.config_id, c.name, c.value \
             FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS v (tenant_id, plan_id, config_id) \
             JOIN plan_contexts c ON c.tenant_id = v.tenant_id AND c.plan_id = v.plan_id AND c.config_id = v.config_id \
             WHERE c.tenant_id = ANY($1)",
            values![
                tenants_of(tenants.clone()),
                tenants,
                keys.iter().map(|key| key.plan_id).collect::<Vec<Uuid>>(),
                keys.iter().map(|key| key.config_id).collect::<Vec<Uuid>>(),
            ],
        )
        .await?;
    let mut contexts: HashMap<ScheduleKey, ContextFields> = HashMap::new();
    for row in rows {
        let of = ScheduleKey { tenant_id: row.tenant_id, plan_id: row.plan_id, config_id: row.config_id };
        contexts.entry(of).or_default().insert(row.name, row.value);
    }
    Ok(contexts)
}

/// A checkpoint as it was saved.
#[derive(Clone, Debug, FromQueryResult)]
pub struct SavedCheckpoint {
    /// Whose.
    pub tenant_id: Uuid,
    /// Of which execution.
    pub execution_id: Uuid,
    /// Orders the checkpoints of a run.
    pub seq: i64,
    /// Where the run is.
    pub place: Vec<u8>,
    /// Values of finished steps.
    pub finished: Option<Vec<u8>>,
    /// The run's own context writes.
    pub own_context: Option<Vec<u8>>,
    /// What it did so far, encoded.
    pub progress: Vec<u8>,
}

/// The checkpoints of these executions, of those that have one.
pub async fn checkpoints(
    tx: &Tx,
    keys: &[ExecutionKey],
) -> Result<HashMap<ExecutionKey, SavedCheckpoint>, StoreError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let (tenants, ids) = split(keys);
    let rows: Vec<SavedCheckpoint> = tx
        .all(
            "SELECT c.tenant_id, c.execution_id, c.seq, c.place, c.finished, c.own_context, c.progress \
             FROM unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, execution_id) \
             JOIN checkpoints c ON c.tenant_id = v.tenant_id AND c.execution_id = v.execution_id WHERE c.tenant_id = ANY($1)",
            values![tenants_of(tenants.clone()), tenants, ids],
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| (ExecutionKey { tenant_id: row.tenant_id, execution_id: row.execution_id }, row))
        .collect())
}
