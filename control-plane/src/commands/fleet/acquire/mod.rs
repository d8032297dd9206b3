//! Grants leases: of executions that the doorbell rang for, or of any of the session's pool, then with a long poll. Repeated with the
//! same seq, it returns what is still leased of that call and grants nothing more.

mod assemble;
mod claim;
mod grant;

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_domain::TenantId;
use orchid_domain::execution::State;
use orchid_domain::fairness::{self, WaitingItem};
use orchid_domain::lease::LeaseRefusal;
use orchid_kit::clock;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{Fleet, FleetError, Session};
use crate::store::error::StoreError;
use crate::store::fleet::sessions::{self, LiveSession};
use crate::store::fleet::{ExecutionKey, leases, ready};

pub(super) use assemble::kept_of;
use claim::{Budget, Claim, Regrant};
pub use grant::{Grant, GrantedCheckpoint, GrantedConfig, PersistentState};

/// The longest wait of one call.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// How often a waiting call looks for what other replicas committed.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Leases of one call, at most.
const MAX_LEASES: usize = 256;
/// Rung executions of one call, at most.
const MAX_RUNG: usize = 1024;
/// Bytes of one answer: grants stop here, but the first always goes.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct AcquireRequest {
    /// Counts the session's acquire calls from 1.
    pub seq: i64,
    /// Free slots.
    pub max_leases: usize,
    /// The rung executions to take; empty: any of the pool.
    pub rung: Vec<ExecutionKey>,
    /// With no `rung`: how long to wait for work to come.
    pub wait: Duration,
    /// SHA-256 of definitions that the executor holds.
    pub known_definitions: Vec<Vec<u8>>,
}

/// What was granted.
#[derive(Clone, Debug, Default)]
pub struct AcquireResponse {
    /// The seq that this answers.
    pub seq: i64,
    /// The leases.
    pub grants: Vec<Grant>,
    /// Rung executions that were not granted, and why.
    pub refused: Vec<(ExecutionKey, LeaseRefusal)>,
}

/// Grants leases to a session.
pub async fn run(
    fleet: &Fleet,
    session: &Session,
    acquire: AcquireRequest,
) -> Result<AcquireResponse, FleetError> {
    check(&acquire)?;
    let (live, (repeated, holds_suspicious)) = tokio::try_join!(
        sessions::find(&fleet.databases, session.id),
        leases::find_for_acquire(&fleet.databases, session.id, acquire.seq)
    )?;
    let live = live.ok_or(FleetError::SessionEnded)?;
    let nothing = AcquireResponse { seq: acquire.seq, ..AcquireResponse::default() };
    if !repeated.is_empty() {
        let regrant = Regrant { fleet, session_id: session.id, known: &acquire.known_definitions };
        let grants = fleet.placement.run(&regrant, repeated).await?.into_iter().flatten().collect();
        return Ok(AcquireResponse { grants, ..nothing });
    }
    if live.draining || acquire.seq <= live.answered_acquire_seq {
        return Ok(nothing);
    }
    let budget = Budget {
        slots: acquire.max_leases.min(usize::try_from(live.slots).unwrap_or(0)).min(MAX_LEASES),
        bytes: MAX_ANSWER_BYTES,
        holds_suspicious,
        is_first: true,
    };
    if acquire.rung.is_empty() {
        poll(fleet, &live, acquire, budget).await
    } else {
        take_rung(fleet, &live, acquire, budget).await
    }
}

fn check(acquire: &AcquireRequest) -> Result<(), FleetError> {
    if acquire.seq < 1 {
        return Err(FleetError::Invalid(format!("acquire_seq is {}, it counts from 1", acquire.seq)));
    }
    if acquire.rung.len() > MAX_RUNG {
        return Err(FleetError::Invalid(format!(
            "{} rung executions, at most {MAX_RUNG}",
            acquire.rung.len()
        )));
    }
    Ok(())
}

async fn take_rung(
    fleet: &Fleet,
    live: &LiveSession,
    acquire: AcquireRequest,
    mut budget: Budget,
) -> Result<AcquireResponse, FleetError> {
    let now = clock::utc_now();
    let candidates = ready::find_rung(&fleet.databases, &live.pool, now, &acquire.rung).await?;
    let keys = candidates.iter().map(ready::ReadyCandidate::key).collect();
    let grants = claim_all(fleet, live, &acquire, now, keys, &mut budget).await?;
    let granted = |key: &ExecutionKey| grants.iter().any(|grant| grant.lease.key == *key);
    let missing: Vec<ExecutionKey> = acquire.rung.iter().filter(|key| !granted(key)).copied().collect();
    let refused = refusals(fleet, missing).await?;
    Ok(AcquireResponse { seq: acquire.seq, grants, refused })
}

/// Why rung executions were not granted.
async fn refusals(
    fleet: &Fleet,
    missing: Vec<ExecutionKey>,
) -> Result<Vec<(ExecutionKey, LeaseRefusal)>, FleetError> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let states: HashMap<ExecutionKey, State> =
        crate::store::fleet::runs::states(&fleet.databases, &missing).await?.into_iter().collect();
    let refusal = |key: &ExecutionKey| match states.get(key) {
        Some(State::Running) => LeaseRefusal::AlreadyLeased,
        Some(state) if state.is_terminal() => LeaseRefusal::ExecutionTerminal,
        Some(_) | None => LeaseRefusal::NotReady,
    };
    Ok(missing.into_iter().map(|key| (key, refusal(&key))).collect())
}

async fn poll(
    fleet: &Fleet,
    live: &LiveSession,
    acquire: AcquireRequest,
    mut budget: Budget,
) -> Result<AcquireResponse, FleetError> {
    let deadline = Instant::now() + acquire.wait.min(MAX_WAIT);
    loop {
        // Counts commits from before the look, so that none falls in between.
        let next_work = fleet.wakeups.next_work();
        let grants = take_any(fleet, live, &acquire, &mut budget).await?;
        let now = Instant::now();
        if !grants.is_empty() || budget.slots == 0 || now >= deadline {
            return Ok(AcquireResponse { seq: acquire.seq, grants, refused: Vec::new() });
        }
        // Whether it was woken or the time is up: it looks again.
        let _ = timeout_at(deadline.min(now + POLL_INTERVAL), next_work).await;
    }
}

async fn take_any(
    fleet: &Fleet,
    live: &LiveSession,
    acquire: &AcquireRequest,
    budget: &mut Budget,
) -> Result<Vec<Grant>, FleetError> {
    let now = clock::utc_now();
    let limit = i64::try_from(budget.slots).unwrap_or(i64::MAX);
    // Twice as many as are wanted: other sessions look at the same rows.
    let candidates = ready::find(&fleet.databases, &live.pool, now, limit, limit.saturating_mul(2)).await?;
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let tenants: Vec<Uuid> = candidates.iter().map(|candidate| candidate.tenant_id).collect();
    let held = leases::count_of_tenants(&fleet.databases, tenants).await?;
    let keys = in_turn(candidates, &held, budget.slots);
    claim_all(fleet, live, acquire, now, keys, budget).await
}

/// The first candidates in the order in which they shall start.
pub(crate) fn in_turn(
    candidates: Vec<ready::ReadyCandidate>,
    held: &[(Uuid, i64)],
    slots: usize,
) -> Vec<ExecutionKey> {
    let held = held
        .iter()
        .map(|(tenant, count)| (TenantId(*tenant), u32::try_from(*count).unwrap_or(u32::MAX)))
        .collect();
    let waiting = candidates.into_iter().map(|candidate| WaitingItem {
        tenant: TenantId(candidate.tenant_id),
        weight: u32::try_from(candidate.weight).unwrap_or(1),
        priority: u8::try_from(candidate.priority).unwrap_or(0),
        seq: candidate.seq,
        item: candidate.key(),
    });
    fairness::order(waiting.collect(), &held, slots).into_iter().map(|entry| entry.item).collect()
}

/// Claims runs group by group, until slots or bytes are used up.
async fn claim_all(
    fleet: &Fleet,
    live: &LiveSession,
    acquire: &AcquireRequest,
    now: DateTime<Utc>,
    keys: Vec<ExecutionKey>,
    budget: &mut Budget,
) -> Result<Vec<Grant>, FleetError> {
    let mut grants: Vec<Grant> = Vec::new();
    for batch in fleet.placement.split(keys, |key| key.tenant_id).await? {
        if budget.slots == 0 || budget.bytes == 0 {
            break;
        }
        let claim = Claim { fleet, live, acquire, now, keys: &batch, budget: *budget };
        match fleet.databases.run_fleet(&claim).await {
            Ok((claimed, left)) => {
                *budget = left;
                grants.extend(claimed);
            }
            Err(FleetError::Store(StoreError::StaleGroup(_))) => fleet.placement.forget(),
            // What other groups granted must reach the executor; the doorbell rings again for the rest.
            Err(error) if !grants.is_empty() => {
                tracing::warn!(%error, "a group of leases was not granted");
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(grants)
}
