//! Saves checkpoints of a batch of leases, in the transaction of each placement group.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{Transition, decide};
use orchid_domain::lease::{ClaimVerdict, judge_claim};
use uuid::Uuid;

use super::cursors;
use super::persist::save_checkpoints;
use super::update::CheckpointUpdate;
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::lease_results::{LeaseResult, LeaseResults, LeaseStatus, OpenedItem};
use crate::commands::fleet::placement::{GroupResults, GroupTransaction};
use crate::commands::fleet::resources::Fleet;
use crate::commands::fleet::session::Session;
use crate::keys::MasterKeys;
use crate::store::db::Tx;
use crate::store::executions::change::{self, CheckpointChange};
use crate::store::executions::locked::{self, LockWait, LockedExecution};
use crate::store::keys::ExecutionKey;

/// Saves checkpoints, each with its lease token. A seq that is not higher than the stored one is
/// accepted and does nothing.
///
/// # Errors
/// The database fails. Refused leases are results, not errors.
pub async fn run(
    fleet: &Fleet,
    session: &Session,
    now: DateTime<Utc>,
    items: Vec<(Vec<u8>, CheckpointUpdate)>,
) -> Result<Vec<LeaseResult>, FleetError> {
    let (mut results, opened) = LeaseResults::open(&fleet.sealer, session.id, items, CheckpointUpdate::check);
    let save = SaveCheckpoints { now, master_keys: &fleet.master_keys };
    let GroupResults { outputs, failed } = fleet.placement.run_each(&save, opened).await?;
    results.record_failed(failed);
    for statuses in outputs {
        results.record(statuses);
    }
    Ok(results.into_vec())
}

struct SaveCheckpoints<'a> {
    now: DateTime<Utc>,
    master_keys: &'a MasterKeys,
}

impl GroupTransaction for SaveCheckpoints<'_> {
    type Item = OpenedItem<CheckpointUpdate>;
    type Output = Vec<(usize, LeaseStatus)>;

    fn tenant(item: &Self::Item) -> Uuid {
        item.token.key.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[Self::Item]) -> Result<Self::Output, FleetError> {
        let keys: Vec<ExecutionKey> = items.iter().map(|item| item.token.key).collect();
        let locked: HashMap<ExecutionKey, LockedExecution> = locked::lock(tx, &keys, LockWait::Wait)
            .await?
            .into_iter()
            .map(|execution| (execution.key, execution))
            .collect();
        let mut statuses = Vec::with_capacity(items.len());
        let mut candidates = Vec::new();
        let mut changes = Vec::new();
        for OpenedItem { index, token, item } in items {
            let execution = locked.get(&token.key);
            let verdict = judge_claim(&token.claim(), execution.map(LockedExecution::holder).as_ref());
            // A checkpoint that was delayed on the way holds its lease and is Ok, but a newer one
            // is stored already.
            if let (ClaimVerdict::Held, Some(execution)) = (verdict, execution)
                && item.seq > execution.checkpoint_seq
                && let Ok(transition) = decide(execution.snapshot(), item.acceptance(execution))
            {
                changes.push((*index, change(execution, item, &transition)));
                candidates.push((*index, execution, item));
            }
            statuses.push((*index, verdict.into()));
        }
        let excesses = cursors::find_excesses(tx, &candidates).await?;
        candidates.retain(|(index, ..)| !excesses.contains_key(index));
        changes.retain(|(index, _)| !excesses.contains_key(index));
        let accepted: Vec<_> = candidates.into_iter().map(|(_, execution, item)| (execution, item)).collect();
        // Results are recorded in order, so these replace the statuses of the same items above.
        statuses.extend(excesses.into_iter().map(|(index, invalid)| (index, LeaseStatus::Invalid(invalid))));
        save_checkpoints(tx, self.now, self.master_keys, &accepted).await?;
        let changes: Vec<CheckpointChange> = changes.into_iter().map(|(_, change)| change).collect();
        change::accept_checkpoints(tx, self.now, &changes).await?;
        Ok(statuses)
    }
}

fn change(
    execution: &LockedExecution,
    update: &CheckpointUpdate,
    transition: &Transition,
) -> CheckpointChange {
    CheckpointChange {
        key: execution.key,
        fence: execution.fence,
        losses: transition.losses,
        needs_upstream_cancel: transition.needs_upstream_cancel,
        seq: update.seq,
        attempt_ms: update.attempt_ms,
        progress: update.progress.encode(),
    }
}
