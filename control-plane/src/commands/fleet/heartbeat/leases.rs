//! Reconciles the leases that a session holds with those that its heartbeat lists.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, ReleaseReason, decide};
use uuid::Uuid;

use crate::commands::executions::transition::apply::{AnnouncementRoute, apply_transitions};
use crate::commands::executions::transition::decided::{DecidedTransition, TransitionFacts};
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::lease_token::LeaseToken;
use crate::commands::fleet::placement::GroupTransaction;
use crate::commands::fleet::resources::Fleet;
use crate::store::db::Tx;
use crate::store::executions::locked::{self, LockWait};
use crate::store::fleet::leases::{self, HeldLease};
use crate::store::keys::ExecutionKey;

/// Confirms leases that are listed for the first time, and takes back those that the executor does
/// not know of.
pub(super) async fn reconcile(
    fleet: &Fleet,
    now: DateTime<Utc>,
    resolved_acquire_seq: i64,
    listed: &[(LeaseToken, &str)],
    held: Vec<HeldLease>,
) -> Result<(), FleetError> {
    let listed: HashSet<Uuid> = listed.iter().map(|(token, _)| token.lease_id).collect();
    let (known, unknown): (Vec<HeldLease>, Vec<HeldLease>) =
        held.into_iter().partition(|lease| listed.contains(&lease.lease_id));
    let new: Vec<HeldLease> = known.into_iter().filter(|lease| !lease.confirmed).collect();
    if !new.is_empty() {
        fleet.placement.run(&ConfirmLeases, new).await?;
    }
    // A lease of a later acquire call may still be on its way to the executor.
    let lost: Vec<HeldLease> =
        unknown.into_iter().filter(|lease| lease.acquire_seq <= resolved_acquire_seq).collect();
    if !lost.is_empty() {
        tracing::info!(leases = lost.len(), "taking back leases that their executor does not know");
        if fleet.placement.run(&TakeBackLeases { now }, lost).await?.contains(&true) {
            fleet.wakeups.work_is_ready();
        }
    }
    Ok(())
}

struct ConfirmLeases;

impl GroupTransaction for ConfirmLeases {
    type Item = HeldLease;
    type Output = ();

    fn tenant(item: &HeldLease) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[HeldLease]) -> Result<(), FleetError> {
        Ok(leases::confirm(tx, &items.iter().map(HeldLease::key).collect::<Vec<_>>()).await?)
    }
}

struct TakeBackLeases {
    now: DateTime<Utc>,
}

impl GroupTransaction for TakeBackLeases {
    type Item = HeldLease;
    /// True if work is ready.
    type Output = bool;

    fn tenant(item: &HeldLease) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[HeldLease]) -> Result<bool, FleetError> {
        let keys: Vec<ExecutionKey> = items.iter().map(HeldLease::key).collect();
        let mut decided = Vec::new();
        // A locked execution is moving right now. If it still holds the lease, the next heartbeat
        // finds it again.
        for execution in locked::lock(tx, &keys, LockWait::Skip).await? {
            // The lease was read without a lock. The execution may have ended or have a newer one.
            let Some(lease) = items.iter().find(|lease| execution.lease_id == Some(lease.lease_id)) else {
                continue;
            };
            // A confirmed lease was running: its executor lost it on the way, and that counts.
            let event = if lease.confirmed {
                ExecutionEvent::Lost
            } else {
                ExecutionEvent::Released(ReleaseReason::NeverStarted)
            };
            if let Ok(transition) = decide(execution.snapshot(), event) {
                decided.push(DecidedTransition { execution, transition, facts: TransitionFacts::default() });
            }
        }
        let applied = apply_transitions(tx, self.now, &decided, AnnouncementRoute::Heartbeat).await?;
        Ok(applied.work_is_ready)
    }
}
