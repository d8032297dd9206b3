//! The acquire call: finds executions that can start, and grants them group by group.
//!
//! A call that is repeated with the same seq returns what it was granted and still holds, and
//! grants nothing more. So a lost response costs no lease.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use orchid_domain::execution::State;
use orchid_domain::lease::LeaseRefusal;
use orchid_kit::clock;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::batch::{GrantBatch, GrantBudget};
use super::grant::Grant;
use super::repeat::RepeatGrants;
use super::request::{AcquireRequest, AcquireResponse};
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::fair_queue::RING_HOLDS_SLOT;
use crate::commands::fleet::placement::GroupTransaction;
use crate::commands::fleet::resources::Fleet;
use crate::commands::fleet::session::Session;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::executions::locked;
use crate::store::fleet::ready::{self, ReadyCandidate};
use crate::store::fleet::sessions::{self, LiveSession};
use crate::store::fleet::{leases, ready_queue};
use crate::store::keys::ExecutionKey;

/// Maximum wait of one call.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// Time between two looks of a waiting call for what other replicas committed.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Time that one call spends on ending executions that cannot be granted, before it answers.
const MAX_CLEARING: Duration = Duration::from_secs(5);
/// Time after which an execution is tried again whose grant failed for an unknown reason.
const DEFER_FOR: TimeDelta = TimeDelta::minutes(1);
/// Maximum leases of one call.
const MAX_LEASES: usize = 256;
/// Maximum bytes of one response. The first grant always fits, so that a large one is not stuck.
const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// Grants leases to a session.
///
/// # Errors
/// The session has ended, the request is invalid, or the database fails before anything was
/// granted.
pub async fn run(
    fleet: &Fleet,
    session: &Session,
    request: AcquireRequest,
) -> Result<AcquireResponse, FleetError> {
    request.check()?;
    let (live, (repeated, holds_suspicious)) = tokio::try_join!(
        sessions::find(&fleet.databases, session.id),
        leases::find_for_acquire(&fleet.databases, session.id, request.seq)
    )?;
    let live = live.ok_or(FleetError::SessionEnded)?;
    let nothing = AcquireResponse { seq: request.seq, ..AcquireResponse::default() };
    if !repeated.is_empty() {
        let repeat = RepeatGrants { fleet, session_id: session.id, known: &request.known_definitions };
        let grants = fleet.placement.run(&repeat, repeated).await?.into_iter().flatten().collect();
        return Ok(AcquireResponse { grants, ..nothing });
    }
    // A call that the executor has given up already must not grant: its heartbeat has said so, and
    // the executor would not know of the lease.
    if live.draining || request.seq <= live.resolved_acquire_seq {
        return Ok(nothing);
    }
    let budget = GrantBudget {
        slots: request.max_leases.min(usize::try_from(live.slots).unwrap_or(0)).min(MAX_LEASES),
        bytes: MAX_RESPONSE_BYTES,
        holds_suspicious,
        is_first: true,
    };
    let mut acquisition = Acquisition { fleet, live: &live, request: &request, budget };
    if request.rung.is_empty() { acquisition.poll().await } else { acquisition.take_rung().await }
}

/// One acquire call in progress.
struct Acquisition<'a> {
    fleet: &'a Fleet,
    live: &'a LiveSession,
    request: &'a AcquireRequest,
    budget: GrantBudget,
}

impl Acquisition<'_> {
    /// Grants announced executions, and says why the others are not granted.
    async fn take_rung(&mut self) -> Result<AcquireResponse, FleetError> {
        let now = clock::utc_now();
        let AcquireRequest { seq, rung, .. } = self.request;
        let candidates = ready::find_rung(&self.fleet.databases, &self.live.pool, now, rung).await?;
        let keys = candidates.iter().map(ReadyCandidate::key).collect();
        let GrantedWork { grants, ended: _ } = self.grant_all(now, keys).await?;
        let is_granted = |key: &ExecutionKey| grants.iter().any(|grant| grant.lease.key == *key);
        let missing: Vec<ExecutionKey> = rung.iter().filter(|key| !is_granted(key)).copied().collect();
        let refused = self.refusals(missing).await?;
        Ok(AcquireResponse { seq: *seq, grants, refused })
    }

    /// Returns why announced executions were not granted, by their states after the fact.
    async fn refusals(
        &self,
        missing: Vec<ExecutionKey>,
    ) -> Result<Vec<(ExecutionKey, LeaseRefusal)>, FleetError> {
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let states: HashMap<ExecutionKey, State> =
            locked::find_states(&self.fleet.databases, &missing).await?.into_iter().collect();
        let refusal = |key: &ExecutionKey| match states.get(key) {
            Some(State::Running) => LeaseRefusal::AlreadyLeased,
            Some(state) if state.is_terminal() => LeaseRefusal::ExecutionTerminal,
            Some(_) | None => LeaseRefusal::NotReady,
        };
        Ok(missing.into_iter().map(|key| (key, refusal(&key))).collect())
    }

    /// Grants any executions of the pool, and waits for some when there are none.
    async fn poll(&mut self) -> Result<AcquireResponse, FleetError> {
        let deadline = Instant::now() + self.request.wait.min(MAX_WAIT);
        let clear_until = Instant::now() + MAX_CLEARING;
        loop {
            // Created before the look, so that a commit between the look and the wait ends the
            // wait.
            let next_work = self.fleet.wakeups.next_work();
            let GrantedWork { grants, ended } = self.take_any().await?;
            let now = Instant::now();
            // What ended instead of being granted may have been all that this look found, but not
            // all that waits.
            if grants.is_empty() && ended > 0 && now < clear_until {
                continue;
            }
            if !grants.is_empty() || self.budget.slots == 0 || now >= deadline {
                return Ok(AcquireResponse { seq: self.request.seq, grants, refused: Vec::new() });
            }
            // Woken or not, it looks again: another replica's commit does not wake this process.
            let _ = timeout_at(deadline.min(now + POLL_INTERVAL), next_work).await;
        }
    }

    /// Grants the executions of the pool that come next by fairness, and then those that the
    /// doorbell rang for and no executor has taken.
    async fn take_any(&mut self) -> Result<GrantedWork, FleetError> {
        let now = clock::utc_now();
        let Fleet { databases, placement, queues, .. } = self.fleet;
        // Twice as many as wanted: other sessions look at the same rows, and some will be taken.
        let limit = self.budget.slots.saturating_mul(2);
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let announced = ready_queue::find_announced(databases, &self.live.pool, now, most).await?;
        // A ring that no executor heard in time: its tenant has had its turn.
        let (unheard, rung): (Vec<ReadyCandidate>, Vec<ReadyCandidate>) = announced
            .into_iter()
            .partition(|row| row.rung_at.is_some_and(|rung_at| rung_at <= now - RING_HOLDS_SLOT));
        let queue = queues.of(&self.live.pool);
        let slots = queue.slots(databases).await?;
        let next = queue.next(databases, placement, slots, limit.saturating_sub(unheard.len())).await?;
        let keys: Vec<ExecutionKey> =
            unheard.iter().chain(&next.candidates).chain(&rung).map(ReadyCandidate::key).collect();
        let granted = self.grant_in_order(now, keys).await;
        let started: HashSet<ExecutionKey> =
            granted.iter().flat_map(|work| &work.grants).map(|grant| grant.lease.key).collect();
        queue.settle(&next, &started);
        granted
    }

    /// Grants executions in their order, until slots or bytes are used up. Those beyond the slots
    /// are spares for what others have taken.
    async fn grant_in_order(
        &mut self,
        now: DateTime<Utc>,
        mut keys: Vec<ExecutionKey>,
    ) -> Result<GrantedWork, FleetError> {
        // Groups are granted one after the other: a spare of the first must not take the slot of
        // an execution of the last.
        let spares = keys.split_off(keys.len().min(self.budget.slots));
        let mut work = self.grant_all(now, keys).await?;
        if self.budget.slots > 0 && self.budget.bytes > 0 && !spares.is_empty() {
            match self.grant_all(now, spares).await {
                Ok(more) => {
                    work.grants.extend(more.grants);
                    work.ended += more.ended;
                }
                Err(error) if work.grants.is_empty() => return Err(error),
                // As between groups: what is committed must reach the executor.
                Err(error) => tracing::warn!(%error, "granting further leases failed"),
            }
        }
        Ok(work)
    }

    /// Grants executions group by group, until slots or bytes are used up.
    async fn grant_all(
        &mut self,
        now: DateTime<Utc>,
        keys: Vec<ExecutionKey>,
    ) -> Result<GrantedWork, FleetError> {
        let Self { fleet, live, request, budget } = self;
        let mut work = GrantedWork::default();
        let mut left = fleet.placement.split(keys, |key| key.tenant_id).await?;
        // The last batch is the next one.
        left.reverse();
        while let Some(mut keys) = left.pop() {
            if budget.slots == 0 || budget.bytes == 0 {
                break;
            }
            let batch = GrantBatch { fleet, live, request, now, keys: &keys, budget: *budget };
            match fleet.databases.run_fleet(&batch).await {
                Ok(granted) => {
                    *budget = granted.budget;
                    work.grants.extend(granted.grants);
                    work.ended += granted.ended;
                    if granted.work_is_ready {
                        fleet.wakeups.work_is_ready();
                    }
                }
                // A shard moved. The groups are looked up again at the next call.
                Err(FleetError::Store(error @ StoreError::StaleGroup(_))) => {
                    tracing::warn!(%error, "granting a batch was refused: looking up placement groups again");
                    fleet.placement.forget();
                }
                // One execution is enough to fail a batch: it is looked for in the halves.
                Err(error) if !error.is_transient() && keys.len() > 1 => {
                    tracing::warn!(%error, executions = keys.len(), "granting a batch failed: halving it");
                    let second = keys.split_off(keys.len() / 2);
                    left.extend([second, keys]);
                }
                Err(error) if !error.is_transient() => {
                    tracing::error!(
                        %error,
                        execution_id = ?keys.first().map(|key| key.execution_id),
                        "an execution cannot be granted: it is tried again in a minute"
                    );
                    fleet.placement.run(&DeferGrants { until: now + DEFER_FOR }, keys).await?;
                }
                // Leases of other groups are committed and must reach the executor. The doorbell
                // rings again for the rest.
                Err(error) if !work.grants.is_empty() => {
                    tracing::warn!(%error, "granting leases of a placement group failed");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(work)
    }
}

/// The outcome of granting some executions.
#[derive(Default)]
struct GrantedWork {
    grants: Vec<Grant>,
    /// Executions that ended because their grants could not be put together.
    ended: usize,
}

/// Moves executions out of the way of others, because granting them fails for an unknown reason.
struct DeferGrants {
    until: DateTime<Utc>,
}

impl GroupTransaction for DeferGrants {
    type Item = ExecutionKey;
    type Output = ();

    fn tenant(item: &ExecutionKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, keys: &[ExecutionKey]) -> Result<(), FleetError> {
        Ok(ready::defer(tx, self.until, keys).await?)
    }
}
