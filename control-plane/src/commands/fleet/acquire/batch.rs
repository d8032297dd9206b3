//! Grants executions of one placement group, in one transaction.

use chrono::{DateTime, Utc};
use orchid_domain::admission::AdmissionBudget;
use orchid_domain::execution::{ExecutionEvent, decide};

use super::grant::Grant;
use super::material::GrantMaterial;
use super::request::AcquireRequest;
use crate::commands::executions::transition::grant::grant_executions;
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::lease_token::LeaseToken;
use crate::commands::fleet::resources::Fleet;
use crate::store::db::{FleetTx, Transaction};
use crate::store::executions::grant::LeaseOwner;
use crate::store::executions::locked::{self, LockWait, LockedExecution};
use crate::store::fleet::sessions::LiveSession;
use crate::store::keys::ExecutionKey;

/// The rest of what one call may be granted.
#[derive(Clone, Copy, Debug)]
pub(super) struct GrantBudget {
    /// Free slots.
    pub(super) slots: usize,
    /// Free bytes of the response.
    pub(super) bytes: usize,
    /// True if the session holds an execution that may crash executors.
    pub(super) holds_suspicious: bool,
    /// True if nothing was granted yet. The first grant ignores `bytes`.
    pub(super) is_first: bool,
}

/// The executions of one placement group to grant, in the order in which they shall start.
pub(super) struct GrantBatch<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) live: &'a LiveSession,
    pub(super) request: &'a AcquireRequest,
    pub(super) now: DateTime<Utc>,
    pub(super) keys: &'a [ExecutionKey],
    pub(super) budget: GrantBudget,
}

impl Transaction<FleetTx> for GrantBatch<'_> {
    /// The grants, and the budget that is left.
    type Output = (Vec<Grant>, GrantBudget);
    type Error = FleetError;

    async fn run(&self, tx: &FleetTx) -> Result<Self::Output, FleetError> {
        let mut budget = self.budget;
        // Acquire calls race for the same rows. A locked one is being granted by another call, so
        // it is skipped instead of waited for.
        let locked = locked::lock(tx, self.keys, LockWait::Skip).await?;
        let can_be_granted =
            |execution: &LockedExecution| decide(execution.snapshot(), ExecutionEvent::Granted).is_ok();
        let grantable: Vec<LockedExecution> = locked.into_iter().filter(can_be_granted).collect();
        if grantable.is_empty() {
            return Ok((Vec::new(), budget));
        }
        // Sizes come first and large values only for what was granted, so that a queue of large
        // executions is not read for one slot.
        let material = GrantMaterial::read(tx, &grantable, &self.request.known_definitions).await?;
        let chosen = choose(&material, grantable, self.keys, &mut budget);
        let wanted = chosen.len();
        let owner = LeaseOwner {
            session_id: self.live.id,
            executor: self.live.name.clone(),
            acquire_seq: self.request.seq,
        };
        let granted = grant_executions(tx, self.now, chosen, &owner).await?;
        budget.slots += wanted - granted.len();
        if granted.is_empty() {
            return Ok((Vec::new(), budget));
        }
        let leased = granted.into_iter().map(|execution| (self.token(&execution), execution)).collect();
        let grants = material.into_grants(tx, leased, &self.fleet.master_keys, &self.fleet.sealer).await?;
        Ok((grants, budget))
    }
}

impl GrantBatch<'_> {
    fn token(&self, execution: &LockedExecution) -> LeaseToken {
        LeaseToken {
            key: execution.key,
            lease_id: execution.lease_id.unwrap_or_default(),
            session_id: self.live.id,
            attempt: execution.attempt,
            fence: execution.fence,
        }
    }
}

/// Returns executions in the order of their keys, as many as slots and bytes allow. An execution
/// whose definition or config is gone is left out.
fn choose(
    material: &GrantMaterial,
    mut executions: Vec<LockedExecution>,
    order: &[ExecutionKey],
    budget: &mut GrantBudget,
) -> Vec<LockedExecution> {
    // Locking sorted the rows by key; fairness ordered them otherwise.
    executions.sort_by_key(|execution| order.iter().position(|key| *key == execution.key));
    let mut admission = AdmissionBudget { slots: budget.slots, holds_suspicious: budget.holds_suspicious };
    let mut chosen = Vec::new();
    for execution in executions {
        let Some(bytes) = material.bytes(&execution) else {
            tracing::error!(
                execution_id = %execution.key.execution_id,
                "execution is not granted: its plan revision or config does not exist"
            );
            continue;
        };
        // It stops here instead of looking for a smaller one: a large execution must not be passed
        // over for ever.
        if !budget.is_first && bytes > budget.bytes {
            budget.bytes = 0;
            break;
        }
        if admission.admit(execution.losses) {
            budget.is_first = false;
            budget.bytes = budget.bytes.saturating_sub(bytes);
            chosen.push(execution);
        }
    }
    budget.slots = admission.slots;
    budget.holds_suspicious = admission.holds_suspicious;
    chosen
}
