//! Cursors and validators that come with a checkpoint: judged one by one, then all of a plan and config together, then saved with it.
//! A run that persists nothing saves none.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use orchid_domain::cursor::{self, Amount};

use super::CheckpointUpdate;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::cursors::{self, CursorKey, CursorWrite};
use crate::store::fleet::runs::LockedExecution;
use crate::store::fleet::schedules::ScheduleKey;

/// A cursor that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorChange {
    /// Which.
    pub key: CursorKey,
    /// JSON text.
    pub json: Vec<u8>,
}

impl CursorChange {
    /// Refuses what is larger than the protocol allows, or is no JSON.
    pub(super) fn check(&self) -> Result<(), String> {
        let CursorKey { kind: _, step, item } = &self.key;
        cursor::check(step, item.as_bytes(), &self.json).map_err(|excess| excess.to_string())?;
        // The database takes no such text; items are bytes there.
        if step.contains('\0') {
            return Err(format!("cursor of step {step:?}: no step has such an id"));
        }
        if serde_json::from_slice::<&serde_json::value::RawValue>(&self.json).is_err() {
            return Err(format!("cursor of step {step:?} is no JSON"));
        }
        Ok(())
    }
}

/// A checkpoint under its lock, with its place in the call.
pub(super) type CursorCandidate<'a> = (usize, &'a LockedExecution, &'a CheckpointUpdate);

/// Those of the checkpoints whose cursors are too many for their plan and config, and in which words.
pub(super) async fn excesses(
    tx: &Tx,
    candidates: &[CursorCandidate<'_>],
) -> Result<HashMap<usize, String>, StoreError> {
    let writes: Vec<CursorWrite> =
        candidates.iter().flat_map(|(_, run, data)| writes_of(run, data)).collect();
    if writes.is_empty() {
        return Ok(HashMap::new());
    }
    let beside = cursors::kept_beside(tx, &writes).await?;
    let judged = candidates.iter().filter_map(|(index, run, data)| {
        let of = schedule_of(run);
        let kept = beside.get(&of).copied().unwrap_or_default();
        let excess = with_changes(kept, run, data).check().err()?;
        Some((*index, excess.to_string()))
    });
    Ok(judged.collect())
}

/// What would be kept; a change that comes twice counts once.
fn with_changes(kept: Amount, run: &LockedExecution, data: &CheckpointUpdate) -> Amount {
    if !run.persists {
        return Amount::default();
    }
    let last: BTreeMap<&CursorKey, &[u8]> =
        data.cursor_changes.iter().map(|change| (&change.key, change.json.as_slice())).collect();
    last.into_iter().fold(kept, |kept, (key, json)| kept.and(&key.step, key.item.as_bytes(), json))
}

/// Saves the cursors of runs whose rows are locked and whose seqs are new.
pub(super) async fn write(
    tx: &Tx,
    now: DateTime<Utc>,
    accepted: &[(&LockedExecution, &CheckpointUpdate)],
) -> Result<(), StoreError> {
    let writes: Vec<CursorWrite> = accepted.iter().flat_map(|(run, data)| writes_of(run, data)).collect();
    cursors::write(tx, now, &writes).await
}

fn writes_of<'a>(run: &'a LockedExecution, data: &'a CheckpointUpdate) -> impl Iterator<Item = CursorWrite> {
    let saved = if run.persists { data.cursor_changes.as_slice() } else { &[] };
    saved.iter().map(|change| CursorWrite {
        of: schedule_of(run),
        key: change.key.clone(),
        value: change.json.clone(),
        execution_id: run.key.execution_id,
    })
}

fn schedule_of(run: &LockedExecution) -> ScheduleKey {
    ScheduleKey { tenant_id: run.key.tenant_id, plan_id: run.plan_id, config_id: run.config_id }
}

#[cfg(test)]
mod tests {
    use orchid_common::limits::{CURSOR_KEY_MAX_BYTES, CURSOR_MAX_BYTES};
    use orchid_domain::cursor::CursorKind;

    use super::{CursorChange, CursorKey};

    #[test]
    fn what_is_too_large_or_no_json_is_refused_by_its_step() {
        let check = |step: &str, item: &str, json: &[u8]| {
            let key = CursorKey { kind: CursorKind::Cursor, step: step.to_owned(), item: item.to_owned() };
            CursorChange { key, json: json.to_vec() }.check()
        };
        assert_eq!(check("orders", "a\0b", br#""2026-01-01""#), Ok(()));
        let long = check("orders", &"i".repeat(CURSOR_KEY_MAX_BYTES), b"1").unwrap_err();
        assert!(long.starts_with("CURSOR_TOO_LARGE") && long.contains("\"orders\""), "{long}");
        let large = check("orders", "", &vec![b'1'; CURSOR_MAX_BYTES + 1]).unwrap_err();
        assert!(large.starts_with("CURSOR_TOO_LARGE"), "{large}");
        assert_eq!(check("orders", "", b"{").unwrap_err(), "cursor of step \"orders\" is no JSON");
        assert!(check("or\0ders", "", b"1").is_err());
    }
}
