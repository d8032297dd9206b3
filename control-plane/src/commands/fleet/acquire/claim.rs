//! Claims runs of one placement group in one transaction: their rows are locked (those that somebody else has are skipped), their
//! ready rows deleted, leases, attempts and history written.

use chrono::{DateTime, Utc};
use orchid_domain::admission::AdmissionBudget;
use orchid_domain::execution::{ExecutionEvent, State, TransitionCause, decide};
use orchid_domain::fence;
use uuid::Uuid;

use super::assemble::Material;
use super::{AcquireRequest, Grant};
use crate::commands::fleet::{Fleet, FleetError, GroupTransaction, LeaseToken};
use crate::store::db::{FleetTx, Transaction, Tx};
use crate::store::error::StoreError;
use crate::store::fleet::leases::{self, GrantedExecution, LeaseOwner, NewLease};
use crate::store::fleet::runs::{self, HistoryEntry, LockWait, LockedExecution};
use crate::store::fleet::sessions::LiveSession;
use crate::store::fleet::{ExecutionKey, ready};

/// What one call may still be granted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) slots: usize,
    pub(super) bytes: usize,
    /// The session holds a run that may be what kills executors.
    pub(super) holds_suspicious: bool,
    /// Nothing was granted yet: the first run goes whatever its size.
    pub(super) is_first: bool,
}

/// Claims of one placement group.
pub(super) struct Claim<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) live: &'a LiveSession,
    pub(super) acquire: &'a AcquireRequest,
    pub(super) now: DateTime<Utc>,
    pub(super) keys: &'a [ExecutionKey],
    pub(super) budget: Budget,
}

impl Transaction<FleetTx> for Claim<'_> {
    type Output = (Vec<Grant>, Budget);
    type Error = FleetError;

    async fn run(&self, tx: &FleetTx) -> Result<Self::Output, FleetError> {
        let mut budget = self.budget;
        let locked = runs::lock(tx, self.keys, LockWait::Skip).await?;
        let grantable: Vec<LockedExecution> = locked
            .into_iter()
            .filter(|run| decide(run.snapshot(), ExecutionEvent::Granted).is_ok())
            .collect();
        if grantable.is_empty() {
            return Ok((Vec::new(), budget));
        }
        let material = Material::read(tx, &grantable, &self.acquire.known_definitions).await?;
        let chosen = choose(&material, grantable, self.keys, &mut budget);
        let keys: Vec<ExecutionKey> = chosen.iter().map(|run| run.key).collect();
        let taken = ready::delete(tx, &keys).await?;
        let chosen: Vec<LockedExecution> =
            chosen.into_iter().filter(|run| taken.contains(&run.key)).collect();
        budget.slots += keys.len() - chosen.len();
        if chosen.is_empty() {
            return Ok((Vec::new(), budget));
        }
        let granted = self.write(tx, &chosen).await?;
        let leased = chosen.into_iter().filter_map(|run| {
            let row = granted.iter().find(|row| row.key() == run.key)?;
            Some(self.leased(run, row))
        });
        let grants =
            material.grants(tx, leased.collect(), &self.fleet.master_keys, &self.fleet.sealer).await?;
        Ok((grants, budget))
    }
}

/// Runs in the order of the keys, as many as slots and bytes allow. One whose definition or config is gone is left out.
fn choose(
    material: &Material,
    runs: Vec<LockedExecution>,
    order: &[ExecutionKey],
    budget: &mut Budget,
) -> Vec<LockedExecution> {
    let place = |run: &LockedExecution| order.iter().position(|key| *key == run.key);
    let mut runs = runs;
    runs.sort_by_key(place);
    let mut admission = AdmissionBudget { slots: budget.slots, holds_suspicious: budget.holds_suspicious };
    let mut chosen = Vec::new();
    for run in runs {
        let Some(bytes) = material.bytes(&run) else {
            tracing::error!(execution_id = %run.key.execution_id, "not granted: its plan revision or config is gone");
            continue;
        };
        let fits = budget.is_first || bytes <= budget.bytes;
        if !fits {
            budget.bytes = 0;
            break;
        }
        if admission.admit(run.losses) {
            budget.is_first = false;
            budget.bytes = budget.bytes.saturating_sub(bytes);
            chosen.push(run);
        }
    }
    budget.slots = admission.slots;
    budget.holds_suspicious = admission.holds_suspicious;
    chosen
}

impl Claim<'_> {
    async fn write(&self, tx: &Tx, chosen: &[LockedExecution]) -> Result<Vec<GrantedExecution>, StoreError> {
        let floor = fence::floor_of(leases::timeline(tx).await?);
        let new: Vec<NewLease> = chosen
            .iter()
            .map(|run| NewLease { key: run.key, lease_id: Uuid::new_v4(), losses: run.losses })
            .collect();
        let grantee = LeaseOwner {
            session_id: self.live.id,
            executor: self.live.name.clone(),
            acquire_seq: self.acquire.seq,
        };
        let granted = leases::grant(tx, self.now, floor, &new, &grantee).await?;
        let history: Vec<HistoryEntry> = granted
            .iter()
            .map(|row| HistoryEntry {
                key: row.key(),
                state: State::Running,
                attempt: row.attempt,
                cause: TransitionCause::Granted.as_str(),
                detail: self.live.name.clone(),
            })
            .collect();
        runs::record(tx, self.now, &history).await?;
        Ok(granted)
    }

    fn leased(&self, run: LockedExecution, row: &GrantedExecution) -> (LockedExecution, LeaseToken) {
        let token = LeaseToken {
            key: run.key,
            lease_id: row.lease_id.unwrap_or_default(),
            session_id: self.live.id,
            attempt: row.attempt,
            fence: row.fence,
        };
        (LockedExecution { started_at: row.started_at, ran_ms: row.ran_ms, ..run }, token)
    }
}

/// Grants again what a call was granted before, without writing anything.
pub(super) struct Regrant<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) session_id: Uuid,
    pub(super) known: &'a [Vec<u8>],
}

impl GroupTransaction for Regrant<'_> {
    /// An execution, and the lease that the call was granted.
    type Item = (ExecutionKey, Uuid);
    type Output = Vec<Grant>;
    type Error = FleetError;

    fn tenant(item: &(ExecutionKey, Uuid)) -> Uuid {
        item.0.tenant_id
    }

    async fn run(&self, tx: &Tx, leased: &[(ExecutionKey, Uuid)]) -> Result<Vec<Grant>, FleetError> {
        let keys: Vec<ExecutionKey> = leased.iter().map(|(key, _)| *key).collect();
        let mut locked = runs::lock(tx, &keys, LockWait::Wait).await?;
        locked.retain(|run| run.lease_id.is_some_and(|lease| leased.contains(&(run.key, lease))));
        let material = Material::read(tx, &locked, self.known).await?;
        let leased = locked.into_iter().filter_map(|run| {
            let token = LeaseToken {
                key: run.key,
                lease_id: run.lease_id?,
                session_id: self.session_id,
                attempt: run.attempt,
                fence: run.fence,
            };
            Some((run, token))
        });
        material.grants(tx, leased.collect(), &self.fleet.master_keys, &self.fleet.sealer).await
    }
}
