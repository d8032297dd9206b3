//! Grants executions of one placement group, in one transaction. Executions that cannot be granted
//! because of what is stored for them end in the same transaction.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use orchid_domain::admission::AdmissionBudget;
use orchid_domain::execution::{ExecutionEvent, decide};
use orchid_domain::lease::attempt_end;

use super::grant::Grant;
use super::material::{GrantCandidates, GrantContents, GrantMaterial};
use super::request::AcquireRequest;
use super::unstartable::{UnstartableReason, end_unstartable};
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

/// The outcome of a batch.
pub(super) struct GrantedBatch {
    /// The grants.
    pub(super) grants: Vec<Grant>,
    /// The budget that is left.
    pub(super) budget: GrantBudget,
    /// Executions that ended because their grants could not be put together.
    pub(super) ended: usize,
    /// True if work is ready that was not before.
    pub(super) work_is_ready: bool,
}

impl Transaction<FleetTx> for GrantBatch<'_> {
    type Output = GrantedBatch;
    type Error = FleetError;

    async fn run(&self, tx: &FleetTx) -> Result<GrantedBatch, FleetError> {
        let mut budget = self.budget;
        // Acquire calls race for the same rows. A locked one is being granted by another call, so
        // it is skipped instead of waited for.
        let locked = locked::lock(tx, self.keys, LockWait::Skip).await?;
        let can_be_granted =
            |execution: &LockedExecution| decide(execution.snapshot(), ExecutionEvent::Granted).is_ok();
        let grantable: Vec<LockedExecution> = locked.into_iter().filter(can_be_granted).collect();
        if grantable.is_empty() {
            return Ok(GrantedBatch { grants: Vec::new(), budget, ended: 0, work_is_ready: false });
        }
        // Sizes come first and large values only for what was chosen, so that a queue of large
        // executions is not read for one slot.
        let material = GrantMaterial::read(tx, &grantable, &self.request.known_definitions).await?;
        let Choice { chosen, gone } = choose(&material, grantable, self.keys, &mut budget);
        let wanted = chosen.len();
        // Everything that can fail for one execution comes before its lease.
        let GrantCandidates { ready, mut unstartable } =
            material.contents(tx, chosen, &self.fleet.master_keys).await?;
        unstartable.extend(gone);
        let ended = unstartable.len();
        let grants = self.grant(tx, ready).await?;
        budget.slots += wanted - grants.len();
        if grants.is_empty() {
            budget = self.budget;
        }
        // Last, because it may lock schedules and what waits behind them.
        let applied = end_unstartable(tx, self.now, unstartable).await?;
        Ok(GrantedBatch { grants, budget, ended, work_is_ready: applied.work_is_ready })
    }
}

impl GrantBatch<'_> {
    /// Opens leases, and completes the grants of those executions that were still ready.
    async fn grant(
        &self,
        tx: &FleetTx,
        ready: Vec<(LockedExecution, GrantContents)>,
    ) -> Result<Vec<Grant>, FleetError> {
        if ready.is_empty() {
            return Ok(Vec::new());
        }
        let owner = LeaseOwner {
            session_id: self.live.id,
            executor: self.live.name.clone(),
            acquire_seq: self.request.seq,
        };
        let mut contents = HashMap::with_capacity(ready.len());
        let mut executions = Vec::with_capacity(ready.len());
        let mut ends = HashMap::with_capacity(ready.len());
        for (execution, content) in ready {
            let end = attempt_end(self.now, content.max_execution_seconds(), execution.ran_ms);
            ends.insert(execution.key, end);
            contents.insert(execution.key, content);
            executions.push(execution);
        }
        let granted = grant_executions(tx, self.now, executions, &owner, &ends).await?;
        let mut grants = Vec::with_capacity(granted.len());
        for execution in granted {
            let Some(contents) = contents.remove(&execution.key) else { continue };
            let lease = self.token(&execution);
            grants.push(contents.into_grant(lease, execution, &self.fleet.sealer)?);
        }
        Ok(grants)
    }

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

/// The executions of a batch that were looked at.
struct Choice {
    /// Those to grant.
    chosen: Vec<LockedExecution>,
    /// Those whose definition or config is gone.
    gone: Vec<(LockedExecution, UnstartableReason)>,
}

/// Chooses executions in the order of their keys, as many as slots and bytes allow.
fn choose(
    material: &GrantMaterial,
    mut executions: Vec<LockedExecution>,
    order: &[ExecutionKey],
    budget: &mut GrantBudget,
) -> Choice {
    // Locking sorted the rows by key; fairness ordered them otherwise.
    executions.sort_by_key(|execution| order.iter().position(|key| *key == execution.key));
    let mut admission = AdmissionBudget { slots: budget.slots, holds_suspicious: budget.holds_suspicious };
    let mut choice = Choice { chosen: Vec::new(), gone: Vec::new() };
    for execution in executions {
        let Some(bytes) = material.bytes(&execution) else {
            let reason = UnstartableReason::definition_gone(&execution);
            choice.gone.push((execution, reason));
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
            choice.chosen.push(execution);
        }
    }
    budget.slots = admission.slots;
    budget.holds_suspicious = admission.holds_suspicious;
    choice
}
