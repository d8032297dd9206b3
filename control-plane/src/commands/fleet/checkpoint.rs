//! Saves progress that Kafka has acknowledged, for some leases. A lower or equal seq is OK and does nothing.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use orchid_common::limits::{CONTEXT_FIELD_MAX_BYTES, FINISHED_STEPS_MAX_BYTES, RESUME_STATE_MAX_BYTES};
use orchid_domain::execution::{ExecutionEvent, Transition, decide};
use orchid_domain::lease::{ClaimVerdict, judge_claim};
use uuid::Uuid;

use super::claims::{LeaseResults, OpenedItem};
use super::progress::ExecutionProgress;
use super::{CursorChange, Fleet, FleetError, GroupTransaction, LeaseResult, LeaseVerdict, Session, cursors};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::checkpoints::{self, ContextWrite, ExecutionAdvance, NewCheckpoint};
use crate::store::fleet::runs::{self, LockWait, LockedExecution};
use crate::store::fleet::{ExecutionKey, grants};

/// A context field that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextChange {
    /// The field's name.
    pub name: String,
    /// JSON text; none: the field is removed.
    pub json: Option<Vec<u8>>,
}

/// Progress of one lease.
#[derive(Clone, Debug, Default)]
pub struct CheckpointUpdate {
    /// Higher than any before of the execution.
    pub seq: i64,
    /// The engine's.
    pub place: Vec<u8>,
    /// The engine's; none: unchanged.
    pub finished: Option<Vec<u8>>,
    /// Only what changed.
    pub context_changes: Vec<ContextChange>,
    /// Only what changed.
    pub cursor_changes: Vec<CursorChange>,
    /// What the run did until there.
    pub progress: ExecutionProgress,
    /// How long the attempt runs.
    pub running_ms: i64,
    /// An upstream works for the run at that place; none: unchanged.
    pub must_cancel: Option<bool>,
}

impl CheckpointUpdate {
    /// What its acceptance is to the run.
    pub(super) fn accepted_by(&self, run: &LockedExecution) -> ExecutionEvent {
        ExecutionEvent::CheckpointAccepted { must_cancel: self.must_cancel.unwrap_or(run.must_cancel) }
    }

    /// Refuses what is larger than the protocol allows, or is no JSON where JSON is promised.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.place.len() > RESUME_STATE_MAX_BYTES {
            return Err(format!(
                "CHECKPOINT_TOO_LARGE: place has {} bytes, at most {RESUME_STATE_MAX_BYTES}",
                self.place.len()
            ));
        }
        let finished = self.finished.as_ref().map_or(0, Vec::len);
        if finished > FINISHED_STEPS_MAX_BYTES {
            return Err(format!(
                "CHECKPOINT_TOO_LARGE: finished has {finished} bytes, at most {FINISHED_STEPS_MAX_BYTES}"
            ));
        }
        for ContextChange { name, json } in &self.context_changes {
            let json = json.as_deref().unwrap_or(b"null");
            if json.len() > CONTEXT_FIELD_MAX_BYTES {
                return Err(format!(
                    "CONTEXT_TOO_LARGE: field {name:?} has {} bytes, at most {CONTEXT_FIELD_MAX_BYTES}",
                    json.len()
                ));
            }
            if serde_json::from_slice::<&serde_json::value::RawValue>(json).is_err() {
                return Err(format!("field {name:?} is no JSON"));
            }
        }
        self.cursor_changes.iter().try_for_each(CursorChange::check)
    }
}

/// Saves a batch.
pub async fn run(
    fleet: &Fleet,
    session: &Session,
    now: DateTime<Utc>,
    items: Vec<(Vec<u8>, CheckpointUpdate)>,
) -> Result<Vec<LeaseResult>, FleetError> {
    let (mut results, opened) = LeaseResults::open(&fleet.sealer, session.id, items, CheckpointUpdate::check);
    for verdicts in fleet.placement.run(&Save { now }, opened).await? {
        results.note(verdicts);
    }
    Ok(results.into_vec())
}

struct Save {
    now: DateTime<Utc>,
}

impl GroupTransaction for Save {
    type Item = OpenedItem<CheckpointUpdate>;
    type Output = Vec<(usize, LeaseVerdict)>;
    type Error = StoreError;

    fn tenant(item: &Self::Item) -> Uuid {
        item.token.key.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[Self::Item]) -> Result<Self::Output, StoreError> {
        let keys: Vec<ExecutionKey> = items.iter().map(|item| item.token.key).collect();
        let locked = by_key(runs::lock(tx, &keys, LockWait::Wait).await?);
        let mut verdicts = Vec::with_capacity(items.len());
        let mut candidates = Vec::new();
        let mut advances = Vec::new();
        for OpenedItem { index, token, item } in items {
            let run = locked.get(&token.key);
            let standing = judge_claim(&token.claim(), run.map(LockedExecution::holder).as_ref());
            if let (ClaimVerdict::Held, Some(run)) = (standing, run)
                && item.seq > run.checkpoint_seq
                && let Ok(transition) = decide(run.snapshot(), item.accepted_by(run))
            {
                advances.push((*index, advance(run, item, &transition)));
                candidates.push((*index, run, item));
            }
            verdicts.push((*index, standing.into()));
        }
        let excesses = cursors::excesses(tx, &candidates).await?;
        candidates.retain(|(index, ..)| !excesses.contains_key(index));
        advances.retain(|(index, _)| !excesses.contains_key(index));
        let accepted: Vec<_> = candidates.into_iter().map(|(_, run, item)| (run, item)).collect();
        // Of one place, the later verdict counts.
        verdicts.extend(excesses.into_iter().map(|(index, words)| (index, LeaseVerdict::Invalid(words))));
        save(tx, self.now, &accepted).await?;
        let advances: Vec<ExecutionAdvance> = advances.into_iter().map(|(_, advance)| advance).collect();
        checkpoints::advance(tx, self.now, &advances).await?;
        Ok(verdicts)
    }
}

pub(super) fn by_key(runs: Vec<LockedExecution>) -> HashMap<ExecutionKey, LockedExecution> {
    runs.into_iter().map(|run| (run.key, run)).collect()
}

fn advance(run: &LockedExecution, data: &CheckpointUpdate, transition: &Transition) -> ExecutionAdvance {
    ExecutionAdvance {
        key: run.key,
        fence: run.fence,
        losses: transition.losses,
        must_cancel: transition.must_cancel,
        seq: data.seq,
        running_ms: data.running_ms,
        progress: data.progress.encode(),
    }
}

/// Writes checkpoints, context and cursors of runs whose rows are locked and whose seqs are new; the runs' own rows are the caller's.
pub(super) async fn save(
    tx: &Tx,
    now: DateTime<Utc>,
    accepted: &[(&LockedExecution, &CheckpointUpdate)],
) -> Result<(), StoreError> {
    let own = own_contexts(tx, accepted).await?;
    let rows: Vec<NewCheckpoint> = accepted
        .iter()
        .map(|(run, data)| NewCheckpoint {
            key: run.key,
            seq: data.seq,
            fence: run.fence,
            place: data.place.clone(),
            finished: data.finished.clone(),
            own_context: own.get(&run.key).cloned(),
            progress: data.progress.encode(),
        })
        .collect();
    checkpoints::save(tx, now, &rows).await?;
    keep(tx, now, accepted).await
}

/// Writes what outlives the runs: context and cursors, of those that save them.
pub(super) async fn keep(
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
        .filter(|(run, _)| run.persists)
        .flat_map(|(run, data)| {
            data.context_changes.iter().map(|change| ContextWrite {
                key: run.key,
                plan_id: run.plan_id,
                config_id: run.config_id,
                name: change.name.clone(),
                value: change.json.clone(),
            })
        })
        .collect();
    checkpoints::write_context(tx, now, &writes).await
}

/// A run's own writes: name → JSON text; null where it removed the field.
pub(super) type OwnContext = BTreeMap<String, Option<String>>;

/// The own writes, all of them, of those runs that keep them beside their checkpoint and wrote something: runs that persist nothing, and
/// runs with an override, which must not cover later writes when they are granted again.
async fn own_contexts(
    tx: &Tx,
    accepted: &[(&LockedExecution, &CheckpointUpdate)],
) -> Result<HashMap<ExecutionKey, Vec<u8>>, StoreError> {
    let keeps: Vec<&(&LockedExecution, &CheckpointUpdate)> = accepted
        .iter()
        .filter(|(run, data)| {
            (!run.persists || run.context_override.is_some()) && !data.context_changes.is_empty()
        })
        .collect();
    let keys: Vec<ExecutionKey> = keeps.iter().map(|(run, _)| grants::begin_at(run)).collect();
    let mut before: HashMap<ExecutionKey, Vec<u8>> =
        checkpoints::own_contexts(tx, &keys).await?.into_iter().collect();
    let mut merged = HashMap::new();
    for (run, data) in keeps {
        let mut own: OwnContext = match before.remove(&grants::begin_at(run)) {
            Some(stored) => {
                serde_json::from_slice(&stored).map_err(|error| StoreError::corrupt("checkpoints", error))?
            }
            None => OwnContext::new(),
        };
        for change in &data.context_changes {
            let json = change.json.as_ref().map(|json| String::from_utf8_lossy(json).into_owned());
            own.insert(change.name.clone(), json);
        }
        let bytes = serde_json::to_vec(&own).map_err(|error| StoreError::corrupt("own context", error))?;
        merged.insert(run.key, bytes);
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::{CONTEXT_FIELD_MAX_BYTES, CheckpointUpdate, ContextChange, RESUME_STATE_MAX_BYTES};

    #[test]
    fn what_is_too_large_or_no_json_is_refused_by_name() {
        let field = |json: &[u8]| CheckpointUpdate {
            context_changes: vec![ContextChange { name: "since".to_owned(), json: Some(json.to_vec()) }],
            ..CheckpointUpdate::default()
        };
        let large =
            CheckpointUpdate { place: vec![b' '; RESUME_STATE_MAX_BYTES + 1], ..CheckpointUpdate::default() };
        assert!(large.check().unwrap_err().starts_with("CHECKPOINT_TOO_LARGE"));
        assert!(field(&vec![b'1'; CONTEXT_FIELD_MAX_BYTES + 1]).check().unwrap_err().contains("\"since\""));
        assert_eq!(field(b"{").check().unwrap_err(), "field \"since\" is no JSON");
        assert_eq!(field(b"12345678901234567890123").check(), Ok(()));
    }
}
