//! Writes accepted checkpoints, with the context fields and cursors that they change.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::cursors;
use super::update::CheckpointUpdate;
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::sealed_state::{CheckpointPart, TenantKeys};
use crate::keys::MasterKeys;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::executions::locked::LockedExecution;
use crate::store::fleet::checkpoints::{self, ContextWrite, NewCheckpoint};
use crate::store::fleet::grants;
use crate::store::keys::ExecutionKey;

/// The context writes of one execution: field name to JSON text, or null for a removed field.
pub(in crate::commands::fleet) type OwnContext = BTreeMap<String, Option<String>>;

/// Writes checkpoints, sealed, and the context and cursors that they change.
///
/// The executions are locked and the seqs are new. The caller changes the executions' own rows.
pub(in crate::commands::fleet) async fn save_checkpoints(
    tx: &Tx,
    now: DateTime<Utc>,
    master_keys: &MasterKeys,
    accepted: &[(&LockedExecution, &CheckpointUpdate)],
) -> Result<(), FleetError> {
    let tenants = accepted.iter().map(|(execution, _)| execution.key.tenant_id);
    let keys = TenantKeys::read(tx, master_keys, tenants).await?;
    let own = own_contexts(tx, &keys, accepted).await?;
    let taken_over = taken_over_steps(tx, &keys, accepted).await?;
    let mut rows = Vec::with_capacity(accepted.len());
    for (execution, update) in accepted {
        let seal = |part, plain: &[u8]| keys.seal(execution.key, part, plain);
        let finished_steps =
            update.finished_steps.as_deref().or_else(|| taken_over.get(&execution.key).map(Vec::as_slice));
        let own_context = own.get(&execution.key).map(Vec::as_slice);
        rows.push(NewCheckpoint {
            key: execution.key,
            seq: update.seq,
            fence: execution.fence,
            resume_state: seal(CheckpointPart::ResumeState, &update.resume_state)?,
            finished_steps: finished_steps
                .map(|plain| seal(CheckpointPart::FinishedSteps, plain))
                .transpose()?,
            own_context: own_context.map(|plain| seal(CheckpointPart::OwnContext, plain)).transpose()?,
            progress: update.progress.encode(),
        });
    }
    // In one transaction with context and cursors: a resumed execution must find them as they were
    // at its checkpoint, or it would skip or repeat rows.
    checkpoints::save(tx, now, &rows).await?;
    Ok(save_persistent_state(tx, now, accepted).await?)
}

/// Returns the values of finished steps that executions take over from those they continue.
///
/// An executor sends the values only when they change, and what it resumed from has them. But the
/// first checkpoint of an execution that continues another one begins a row of its own.
async fn taken_over_steps(
    tx: &Tx,
    tenant_keys: &TenantKeys,
    accepted: &[(&LockedExecution, &CheckpointUpdate)],
) -> Result<HashMap<ExecutionKey, Vec<u8>>, FleetError> {
    let sources: HashMap<ExecutionKey, ExecutionKey> = accepted
        .iter()
        .filter(|(_, update)| update.finished_steps.is_none())
        .map(|(execution, _)| (grants::checkpoint_source(execution), execution.key))
        .filter(|(source, own)| source != own)
        .collect();
    let keys: Vec<ExecutionKey> = sources.keys().copied().collect();
    let mut taken_over = HashMap::new();
    for (source, sealed) in checkpoints::finished_steps(tx, &keys).await? {
        let plain = tenant_keys.open(source, CheckpointPart::FinishedSteps, sealed)?;
        if let Some(own) = sources.get(&source) {
            taken_over.insert(*own, plain);
        }
    }
    Ok(taken_over)
}

/// Writes what outlives the executions, without their checkpoints: context and cursors.
pub(in crate::commands::fleet) async fn save_persistent_state(
    tx: &Tx,
    now: DateTime<Utc>,
    accepted: &[(&LockedExecution, &CheckpointUpdate)],
) -> Result<(), StoreError> {
    write_context(tx, now, accepted).await?;
    cursors::write(tx, now, accepted).await
}

async fn write_context(
    tx: &Tx,
    now: DateTime<Utc>,
    accepted: &[(&LockedExecution, &CheckpointUpdate)],
) -> Result<(), StoreError> {
    let writes: Vec<ContextWrite> = accepted
        .iter()
        // Others keep their writes beside their checkpoint.
        .filter(|(execution, _)| execution.persists)
        .flat_map(|(execution, update)| {
            update.context_changes.iter().map(|change| ContextWrite {
                key: execution.key,
                plan_id: execution.plan_id,
                config_id: execution.config_id,
                name: change.name.clone(),
                value: change.json.clone(),
            })
        })
        .collect();
    checkpoints::write_context(tx, now, &writes).await
}

/// Returns all context writes of those executions that keep them beside their checkpoint, merged
/// with what was stored before.
///
/// Two kinds of executions do. One that saves nothing has no other place for its writes. One with
/// an override would read the override again after its next grant, and so cover its own later
/// writes.
async fn own_contexts(
    tx: &Tx,
    tenant_keys: &TenantKeys,
    accepted: &[(&LockedExecution, &CheckpointUpdate)],
) -> Result<HashMap<ExecutionKey, Vec<u8>>, FleetError> {
    let keeping: Vec<&(&LockedExecution, &CheckpointUpdate)> = accepted
        .iter()
        .filter(|(execution, update)| {
            (!execution.persists || execution.context_override.is_some())
                && !update.context_changes.is_empty()
        })
        .collect();
    let keys: Vec<ExecutionKey> =
        keeping.iter().map(|(execution, _)| grants::checkpoint_source(execution)).collect();
    let mut stored: HashMap<ExecutionKey, Vec<u8>> =
        checkpoints::own_contexts(tx, &keys).await?.into_iter().collect();
    let mut merged = HashMap::new();
    for (execution, update) in keeping {
        let source = grants::checkpoint_source(execution);
        let mut own: OwnContext = match stored.remove(&source) {
            Some(stored) => {
                let opened = tenant_keys.open(source, CheckpointPart::OwnContext, stored)?;
                serde_json::from_slice(&opened).map_err(|error| StoreError::corrupt("checkpoints", error))?
            }
            None => OwnContext::new(),
        };
        for change in &update.context_changes {
            // Lossless: the request was checked to be JSON, which is UTF-8.
            let json = change.json.as_ref().map(|json| String::from_utf8_lossy(json).into_owned());
            own.insert(change.name.clone(), json);
        }
        let bytes = serde_json::to_vec(&own).map_err(|error| StoreError::corrupt("own context", error))?;
        merged.insert(execution.key, bytes);
    }
    Ok(merged)
}
