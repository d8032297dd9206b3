//! Cursors and validators that come with a checkpoint. Each was checked by itself; here the total
//! of a plan and config is checked, and then all are written. An execution that saves nothing has
//! none.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use orchid_domain::cursor::CursorUsage;

use super::update::CheckpointUpdate;
use crate::commands::fleet::lease_results::InvalidItem;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::executions::locked::LockedExecution;
use crate::store::fleet::cursors::{self, CursorKey, CursorWrite};

/// A checkpoint of a locked execution, with the index of its item in the call.
pub(in crate::commands::fleet) type CursorCandidate<'a> = (usize, &'a LockedExecution, &'a CheckpointUpdate);

/// Returns the checkpoints that would give their plan and config too many cursors, by the index of
/// their items, with the reason for each.
pub(in crate::commands::fleet) async fn find_excesses(
    tx: &Tx,
    candidates: &[CursorCandidate<'_>],
) -> Result<HashMap<usize, InvalidItem>, StoreError> {
    let writes: Vec<CursorWrite> =
        candidates.iter().flat_map(|(_, execution, update)| writes_of(execution, update)).collect();
    if writes.is_empty() {
        return Ok(HashMap::new());
    }
    // Only the active execution of a plan and config writes its cursors, and its row is locked. So
    // nothing can add cursors between this count and the write.
    let unwritten = cursors::usage_without(tx, &writes).await?;
    let judged = candidates.iter().filter_map(|(index, execution, update)| {
        let usage = unwritten.get(&execution.schedule_key()).copied().unwrap_or_default();
        let excess = usage_after(usage, execution, update).check().err()?;
        Some((*index, excess.into()))
    });
    Ok(judged.collect())
}

/// Returns the usage once the changes are written. A cursor that changes twice counts once.
fn usage_after(usage: CursorUsage, execution: &LockedExecution, update: &CheckpointUpdate) -> CursorUsage {
    if !execution.persists {
        return CursorUsage::default();
    }
    let last: BTreeMap<&CursorKey, &[u8]> =
        update.cursor_changes.iter().map(|change| (&change.key, change.json.as_slice())).collect();
    last.into_iter().fold(usage, |usage, (key, json)| usage.with(&key.step, key.item.as_bytes(), json))
}

/// Writes the cursors of executions that are locked and whose seqs are new.
pub(super) async fn write(
    tx: &Tx,
    now: DateTime<Utc>,
    accepted: &[(&LockedExecution, &CheckpointUpdate)],
) -> Result<(), StoreError> {
    let writes: Vec<CursorWrite> =
        accepted.iter().flat_map(|(execution, update)| writes_of(execution, update)).collect();
    cursors::write(tx, now, &writes).await
}

fn writes_of<'a>(
    execution: &'a LockedExecution,
    update: &'a CheckpointUpdate,
) -> impl Iterator<Item = CursorWrite> {
    let saved = if execution.persists { update.cursor_changes.as_slice() } else { &[] };
    saved.iter().map(|change| CursorWrite {
        schedule: execution.schedule_key(),
        key: change.key.clone(),
        value: change.json.clone(),
        execution_id: execution.key.execution_id,
    })
}
