//! Grants executions to an executor: leases, attempts and history of a whole batch at once.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, State, decide};
use orchid_domain::fence;

use super::decided::{DecidedTransition, TransitionFacts};
use super::effects::EffectRows;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::executions::attempts;
use crate::store::executions::grant::{self, GrantedExecution, LeaseOwner};
use crate::store::executions::locked::LockedExecution;
use crate::store::fleet::leases;
use crate::store::keys::ExecutionKey;

/// Opens a lease on each of these locked executions, and returns the executions as the grant left
/// them. An execution without a ready row is left out: another transaction took it. `ends` holds
/// the times at which the server ends the attempts by itself.
///
/// # Errors
/// A statement fails.
pub async fn grant_executions(
    tx: &Tx,
    now: DateTime<Utc>,
    executions: Vec<LockedExecution>,
    owner: &LeaseOwner,
    ends: &HashMap<ExecutionKey, DateTime<Utc>>,
) -> Result<Vec<LockedExecution>, StoreError> {
    let decided: Vec<DecidedTransition> =
        executions.into_iter().filter_map(|execution| decide_grant(execution, owner)).collect();
    let mut rows = EffectRows::of(&decided, now)?;
    // Deleting the ready row is what takes the work, so it comes before the lease.
    let taken = rows.leave_ready(tx).await?;
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    rows.retain_grants(&taken);
    let floor = fence::floor_of(grant::timeline(tx).await?);
    let granted = grant::grant(tx, now, floor, &rows.opened).await?;
    leases::open(tx, now, &rows.opened, &granted, owner, ends).await?;
    attempts::open(tx, now, &granted, owner).await?;
    rows.write(tx, now, None).await?;
    let leased = decided.into_iter().filter_map(|DecidedTransition { execution, .. }| {
        granted.iter().find(|row| row.key() == execution.key).map(|row| leased(execution, row))
    });
    Ok(leased.collect())
}

fn decide_grant(execution: LockedExecution, owner: &LeaseOwner) -> Option<DecidedTransition> {
    let transition = decide(execution.snapshot(), ExecutionEvent::Granted).ok()?;
    let facts = TransitionFacts { detail: owner.executor.clone(), ..TransitionFacts::default() };
    Some(DecidedTransition { execution, transition, facts })
}

fn leased(execution: LockedExecution, row: &GrantedExecution) -> LockedExecution {
    LockedExecution {
        state: State::Running,
        lease_id: row.lease_id,
        attempt: row.attempt,
        fence: row.fence,
        started_at: row.started_at,
        ran_ms: row.ran_ms,
        ..execution
    }
}
