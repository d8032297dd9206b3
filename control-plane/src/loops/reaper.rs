//! Ends sessions that are gone, and gives their executions to other executors.
//!
//! Both rely on the database alone. Sessions expire by the database's clock. Executions are found
//! by leases whose session is missing or has ended, whenever that was, so that a run that fails in
//! between loses nothing.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, State, decide};
use orchid_domain::expiry::{ExpiryDecision, expire};
use orchid_kit::clock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::loop_runtime::{LoopHealth, jittered, pause};
use crate::commands::executions::progress::ExecutionError;
use crate::commands::executions::transition::apply::{AnnouncementRoute, apply_transitions};
use crate::commands::executions::transition::decided::{DecidedTransition, TransitionFacts};
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::placement::GroupTransaction;
use crate::commands::fleet::resources::Fleet;
use crate::settings::LoopSettings;
use crate::store::db::{FleetTx, Transaction, Tx};
use crate::store::error::StoreError;
use crate::store::executions::locked::{self, LockWait, LockedExecution};
use crate::store::fleet::leases::{self, OrphanedLease};
use crate::store::fleet::{loop_runs, sessions};
use crate::store::keys::ExecutionKey;

const NAME: &str = "reaper";
/// Maximum leases of one transaction per placement group.
const BATCH: i64 = 500;
/// Maximum batches of one run. Executions of a dead executor must not wait for further runs.
const MAX_BATCHES: usize = 200;

pub(super) async fn run(fleet: Fleet, settings: LoopSettings, stop: CancellationToken) {
    let mut health = LoopHealth::new(NAME);
    loop {
        health.record(expire_and_reap(&fleet, &settings).await);
        if !pause(&stop, jittered(settings.reaper_interval)).await {
            return;
        }
    }
}

async fn expire_and_reap(fleet: &Fleet, settings: &LoopSettings) -> Result<(), FleetError> {
    let (expiry, live) = fleet.databases.run_fleet(&ExpireSessions { fleet, settings }).await?;
    fleet.set_live_sessions(live.len());
    if expiry.is_held {
        tracing::error!(live = live.len(), "most executors are silent at once: none expires for one TTL");
    }
    for session in &expiry.expired {
        tracing::warn!(session_id = %session, "session expired");
    }
    reap(fleet, clock::utc_now(), &live).await
}

struct ExpireSessions<'a> {
    fleet: &'a Fleet,
    settings: &'a LoopSettings,
}

impl Transaction<FleetTx> for ExpireSessions<'_> {
    /// The decision, and the sessions that are left.
    type Output = (ExpiryDecision, Vec<Uuid>);
    type Error = StoreError;

    async fn run(&self, tx: &FleetTx) -> Result<Self::Output, StoreError> {
        let (now, history) = loop_runs::begin(tx, NAME).await?;
        let sessions = sessions::read_heartbeats(tx).await?;
        let expiry =
            expire(&sessions, history, now, self.fleet.settings.lease_ttl, self.settings.reaper_grace);
        let expired: Vec<(Uuid, DateTime<Utc>)> = sessions
            .iter()
            .filter(|session| expiry.expired.contains(&session.id))
            .map(|session| (session.id.0, session.last_heartbeat_at))
            .collect();
        if !expired.is_empty() {
            sessions::expire(tx, &expired).await?;
        }
        loop_runs::finish(tx, NAME, now, expiry.grace_until).await?;
        let live = sessions.iter().filter(|session| !expiry.expired.contains(&session.id));
        let live = live.map(|session| session.id.0).collect();
        Ok((expiry, live))
    }
}

/// Takes executions away from sessions that are gone: from all but these that were just live.
async fn reap(fleet: &Fleet, now: DateTime<Utc>, live: &[Uuid]) -> Result<(), FleetError> {
    for _ in 0..MAX_BATCHES {
        if !reap_batch(fleet, now, live).await? {
            break;
        }
    }
    Ok(())
}

/// Takes one batch of executions away, and returns whether there may be more.
async fn reap_batch(fleet: &Fleet, now: DateTime<Utc>, live: &[Uuid]) -> Result<bool, FleetError> {
    let found = leases::find_orphans(&fleet.databases, live.to_vec(), BATCH).await?;
    if found.is_empty() {
        return Ok(false);
    }
    let is_full = found.len() >= usize::try_from(BATCH).unwrap_or(usize::MAX);
    // A session that opened after the first read looked dead. It is live in a read that comes after
    // its leases were found.
    let live: HashSet<Uuid> =
        sessions::find_live(&fleet.databases).await?.into_iter().map(|session| session.id).collect();
    let orphans: Vec<OrphanedLease> =
        found.into_iter().filter(|lease| !live.contains(&lease.session_id)).collect();
    if orphans.is_empty() {
        return Ok(false);
    }
    let dead: HashSet<Uuid> = orphans.iter().map(|lease| lease.session_id).collect();
    let dead = dead.into_iter().collect();
    let last_requests = sessions::last_requests(&fleet.databases, dead).await?.into_iter().collect();
    tracing::warn!(leases = orphans.len(), "executions lost their executor");
    let ready = fleet.placement.run(&LoseLeases { now, last_requests }, orphans).await?;
    if ready.contains(&true) {
        fleet.wakeups.work_is_ready();
    }
    Ok(is_full)
}

struct LoseLeases {
    now: DateTime<Utc>,
    /// The last request of each lease, by lease id.
    last_requests: HashMap<Uuid, String>,
}

impl GroupTransaction for LoseLeases {
    type Item = OrphanedLease;
    /// True if work is ready.
    type Output = bool;

    fn tenant(item: &OrphanedLease) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, orphans: &[OrphanedLease]) -> Result<bool, FleetError> {
        let keys: Vec<ExecutionKey> = orphans.iter().map(OrphanedLease::key).collect();
        let locked = locked::lock(tx, &keys, LockWait::Wait).await?;
        // A lease that its execution does not name is a leftover: the attempt ended since the scan,
        // or the history was dropped under it.
        let is_stale = |lease: &&OrphanedLease| {
            !locked.iter().any(|execution| execution.lease_id == Some(lease.lease_id))
        };
        let stale: Vec<(ExecutionKey, Uuid)> =
            orphans.iter().filter(is_stale).map(|lease| (lease.key(), lease.lease_id)).collect();
        let decided: Vec<DecidedTransition> =
            locked.into_iter().filter_map(|execution| self.decide_loss(execution, orphans)).collect();
        let applied = apply_transitions(tx, self.now, &decided, AnnouncementRoute::Heartbeat).await?;
        leases::delete_stale(tx, &stale).await?;
        Ok(applied.work_is_ready)
    }
}

impl LoseLeases {
    /// Decides the loss of one execution; none when it has another lease by now.
    fn decide_loss(
        &self,
        execution: LockedExecution,
        orphans: &[OrphanedLease],
    ) -> Option<DecidedTransition> {
        let lease = orphans.iter().find(|lease| Some(lease.lease_id) == execution.lease_id)?;
        let transition = decide(execution.snapshot(), ExecutionEvent::Lost).ok()?;
        let last_request = self.last_requests.get(&lease.lease_id).cloned().unwrap_or_default();
        let error = (transition.next == State::DeadLettered).then(|| ExecutionError {
            class: "system".to_owned(),
            code: "POISON".to_owned(),
            message: format!("lost {} times without progress in between", transition.losses),
            ..ExecutionError::default()
        });
        let detail =
            if last_request.is_empty() { String::new() } else { format!("last request: {last_request}") };
        let facts = TransitionFacts { last_request, error, detail, ..TransitionFacts::default() };
        Some(DecidedTransition { execution, transition, facts })
    }
}
