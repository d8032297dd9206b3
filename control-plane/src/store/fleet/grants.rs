//! The contents of grants beside the execution: definition, config, context and checkpoint. Their
//! sizes are read first, so that one response stays within its bounds.

use std::collections::{BTreeMap, HashMap};

use sea_orm::FromQueryResult;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::store::batch::distinct_tenants;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::executions::locked::LockedExecution;
use crate::store::keys::ExecutionKey;
use crate::store::keys::ScheduleKey;
use crate::values;

/// Sizes of the large parts of a grant, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantSizes {
    /// The persistent context.
    pub context: i64,
    /// Cursors of the plan and config.
    pub cursors: i64,
    /// The checkpoint, with finished steps and own context writes.
    pub checkpoint: i64,
}

/// Returns the sizes of the grants of these executions.
///
/// # Errors
/// The statement fails.
pub async fn sizes(
    tx: &Tx,
    executions: &[LockedExecution],
) -> Result<HashMap<ExecutionKey, GrantSizes>, StoreError> {
    #[derive(FromQueryResult)]
    struct SizesRow {
        tenant_id: Uuid,
        id: Uuid,
        context: i64,
        cursors: i64,
        checkpoint: i64,
    }
    let tenants: Vec<Uuid> = executions.iter().map(|execution| execution.key.tenant_id).collect();
    // octet_length reads the length of a large value without reading the value.
    let rows: Vec<SizesRow> = tx
        .all(
            "SELECT v.tenant_id, v.id, \
               COALESCE((SELECT sum(octet_length(p.value))::bigint FROM plan_contexts p WHERE p.tenant_id = ANY($1) \
                 AND p.tenant_id = v.tenant_id AND p.plan_id = v.plan_id AND p.config_id = v.config_id), 0) AS context, \
               COALESCE((SELECT sum(octet_length(u.step) + octet_length(u.item) + octet_length(u.value))::bigint FROM cursors u \
                 WHERE u.tenant_id = ANY($1) AND u.tenant_id = v.tenant_id AND u.plan_id = v.plan_id AND u.config_id = v.config_id), 0) AS cursors, \
               COALESCE((SELECT (octet_length(c.resume_state) + COALESCE(octet_length(c.finished_steps), 0) + COALESCE(octet_length(c.own_context), 0))::bigint \
                 FROM checkpoints c WHERE c.tenant_id = ANY($1) AND c.tenant_id = v.tenant_id AND c.execution_id = v.begin_at), 0) AS checkpoint \
             FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[]) AS v (tenant_id, id, plan_id, config_id, begin_at)",
            values![
                distinct_tenants(tenants.clone()),
                tenants,
                executions.iter().map(|execution| execution.key.execution_id).collect::<Vec<Uuid>>(),
                executions.iter().map(|execution| execution.plan_id).collect::<Vec<Uuid>>(),
                executions.iter().map(|execution| execution.config_id).collect::<Vec<Uuid>>(),
                executions.iter().map(|execution| checkpoint_source(execution).execution_id).collect::<Vec<Uuid>>(),
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

/// Returns the key under which an execution's checkpoint is stored: its own, or before its first
/// checkpoint that of the execution it continues.
pub fn checkpoint_source(execution: &LockedExecution) -> ExecutionKey {
    // The first own checkpoint takes over: from then on the continued execution does not matter.
    let execution_id = match execution.continues_execution_id {
        Some(continued) if execution.checkpoint_seq == 0 => continued,
        Some(_) | None => execution.key.execution_id,
    };
    ExecutionKey { execution_id, ..execution.key }
}

/// The definition of a plan's revision.
#[derive(Clone, Debug)]
pub struct PlanDefinition {
    /// SHA-256 of the canonical JSON.
    pub hash: Vec<u8>,
    /// JSON text; none when the executor knows the hash.
    pub json: Option<String>,
    /// Running time that it allows an execution, in seconds; none when it sets none.
    pub max_execution_seconds: Option<i64>,
}

/// Returns the definitions of these revisions (tenant, plan, revision). Those with a known hash
/// come without their text.
///
/// # Errors
/// The statement fails.
pub async fn definitions(
    tx: &Tx,
    revisions: &[(Uuid, Uuid, i32)],
    known_hashes: &[Vec<u8>],
) -> Result<HashMap<(Uuid, Uuid, i32), PlanDefinition>, StoreError> {
    #[derive(FromQueryResult)]
    struct DefinitionRow {
        tenant_id: Uuid,
        plan_id: Uuid,
        revision: i32,
        definition_hash: Vec<u8>,
        definition: Option<String>,
        max_execution_seconds: Option<i64>,
    }
    // The definition is the largest part of most grants, and executors keep those they have seen.
    let tenants: Vec<Uuid> = revisions.iter().map(|revision| revision.0).collect();
    let rows: Vec<DefinitionRow> = tx
        .all(
            "SELECT r.tenant_id, r.plan_id, r.revision, r.definition_hash, r.max_execution_seconds, \
               CASE WHEN r.definition_hash = ANY($5::bytea[]) THEN NULL ELSE r.definition::text END AS definition \
             FROM unnest($2::uuid[], $3::uuid[], $4::integer[]) AS v (tenant_id, plan_id, revision) \
             JOIN plan_revisions r ON r.tenant_id = v.tenant_id AND r.plan_id = v.plan_id AND r.revision = v.revision \
             WHERE r.tenant_id = ANY($1)",
            values![
                distinct_tenants(tenants.clone()),
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
            let definition = PlanDefinition {
                hash: row.definition_hash,
                json: row.definition,
                max_execution_seconds: row.max_execution_seconds,
            };
            ((row.tenant_id, row.plan_id, row.revision), definition)
        })
        .collect())
}

/// A stored config: its secrets are sealed, and the key that opens them is wrapped.
#[derive(Clone, Debug, FromQueryResult)]
pub struct SealedConfig {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Id of the config.
    pub id: Uuid,
    /// Values, with a marker in the place of each secret.
    pub values: Json,
    /// Secrets by JSON pointer, sealed.
    pub secrets: Option<Vec<u8>>,
    /// Proxy, trusted CAs, client certificate and allowed hosts, with a marker in the place of each
    /// secret.
    pub transport: Json,
    /// Secrets of the transport by JSON pointer, sealed.
    pub transport_secrets: Option<Vec<u8>>,
    /// Data key of the tenant, wrapped.
    pub data_key: Vec<u8>,
    /// Id of the master key that wrapped it.
    pub data_key_id: String,
}

/// Returns these configs (tenant, config).
///
/// # Errors
/// The statement fails.
pub async fn configs(
    tx: &Tx,
    ids: &[(Uuid, Uuid)],
) -> Result<HashMap<(Uuid, Uuid), SealedConfig>, StoreError> {
    // The tenant's wrapped key comes along, which saves a statement on the path of every grant.
    let (tenants, configs): (Vec<Uuid>, Vec<Uuid>) = ids.iter().copied().unzip();
    let rows: Vec<SealedConfig> = tx
        .all(
            r#"SELECT c.tenant_id, c.id, c."values", c.secrets, c.transport, c.transport_secrets, t.data_key, t.data_key_id
               FROM unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, id)
               JOIN configs c ON c.tenant_id = v.tenant_id AND c.id = v.id
               JOIN tenants t ON t.id = c.tenant_id WHERE c.tenant_id = ANY($1) AND t.id = ANY($1)"#,
            values![distinct_tenants(tenants.clone()), tenants, configs],
        )
        .await?;
    Ok(rows.into_iter().map(|row| ((row.tenant_id, row.id), row)).collect())
}

/// The fields of a persistent context: name to JSON text.
pub type ContextFields = BTreeMap<String, Vec<u8>>;

/// Returns the persistent contexts of these plans and configs. Those without fields are left out.
///
/// # Errors
/// The statement fails.
pub async fn contexts(
    tx: &Tx,
    keys: &[ScheduleKey],
) -> Result<HashMap<ScheduleKey, ContextFields>, StoreError> {
    #[derive(FromQueryResult)]
    struct FieldRow {
        tenant_id: Uuid,
        plan_id: Uuid,
        config_id: Uuid,
        name: String,
        value: Vec<u8>,
    }
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let (tenants, plans, configs) = ScheduleKey::unzip(keys);
    let rows: Vec<FieldRow> = tx
        .all(
            "SELECT c.tenant_id, c.plan_id, c.config_id, c.name, c.value \
             FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS v (tenant_id, plan_id, config_id) \
             JOIN plan_contexts c ON c.tenant_id = v.tenant_id AND c.plan_id = v.plan_id AND c.config_id = v.config_id \
             WHERE c.tenant_id = ANY($1)",
            values![
                distinct_tenants(tenants.clone()),
                tenants,
                plans,
                configs,
            ],
        )
        .await?;
    let mut contexts: HashMap<ScheduleKey, ContextFields> = HashMap::new();
    for row in rows {
        let schedule =
            ScheduleKey { tenant_id: row.tenant_id, plan_id: row.plan_id, config_id: row.config_id };
        contexts.entry(schedule).or_default().insert(row.name, row.value);
    }
    Ok(contexts)
}

/// A stored checkpoint.
#[derive(Clone, Debug, FromQueryResult)]
pub struct SavedCheckpoint {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The execution.
    pub execution_id: Uuid,
    /// Number of the checkpoint.
    pub seq: i64,
    /// Resume state of the execution.
    pub resume_state: Vec<u8>,
    /// Values of finished steps.
    pub finished_steps: Option<Vec<u8>>,
    /// Context writes of the execution itself.
    pub own_context: Option<Vec<u8>>,
    /// Encoded progress.
    pub progress: Vec<u8>,
}

/// Returns the checkpoints of these executions. Executions without one are left out.
///
/// # Errors
/// The statement fails.
pub async fn checkpoints(
    tx: &Tx,
    keys: &[ExecutionKey],
) -> Result<HashMap<ExecutionKey, SavedCheckpoint>, StoreError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let (tenants, ids) = ExecutionKey::unzip(keys);
    let rows: Vec<SavedCheckpoint> = tx
        .all(
            "SELECT c.tenant_id, c.execution_id, c.seq, c.resume_state, c.finished_steps, c.own_context, c.progress \
             FROM unnest($2::uuid[], $3::uuid[]) AS v (tenant_id, execution_id) \
             JOIN checkpoints c ON c.tenant_id = v.tenant_id AND c.execution_id = v.execution_id WHERE c.tenant_id = ANY($1)",
            values![distinct_tenants(tenants.clone()), tenants, ids],
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| (ExecutionKey { tenant_id: row.tenant_id, execution_id: row.execution_id }, row))
        .collect())
}
