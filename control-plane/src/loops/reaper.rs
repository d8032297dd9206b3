//! Ends sessions that are gone, and hands their runs to others. Both by what the database says: the first by its clock, the second by
//! looking for leases whose session is missing or has ended, whenever that was.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use orchid_domain::execution::{ExecutionEvent, State, decide};
use orchid_domain::expiry::{ExpiryDecision, expire};
use orchid_kit::clock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::pace::{Health, jittered, pause};
use crate::commands::fleet::progress::ExecutionError;
use crate::commands::fleet::settle::{DecidedTransition, TransitionFacts, settle};
use crate::commands::fleet::{Fleet, FleetError, GroupTransaction};
use crate::settings::LoopSettings;
use crate::store::db::{FleetTx, Transaction, Tx};
use crate::store::error::StoreError;
use crate::store::fleet::leases::{self, OrphanedLease};
use crate::store::fleet::runs::{self, LockWait, LockedExecution};
use crate::store::fleet::{ExecutionKey, passes, sessions};

const NAME: &str = "reaper";
/// Leases that one pass hands on.
const BATCH: i64 = 500;

pub(super) async fn run(fleet: Fleet, settings: LoopSettings, stop: CancellationToken) {
    let mut health = Health::new(NAME);
    loop {
        health.note(pass(&fleet, &settings).await);
        if !pause(&stop, jittered(settings.reaper_interval)).await {
            return;
        }
    }
}

async fn pass(fleet: &Fleet, settings: &LoopSettings) -> Result<(), FleetError> {
    let (expiry, live) = fleet.databases.run_fleet(&Expire { fleet, settings }).await?;
    fleet.fleet_counted(live);
    if expiry.trickles {
        tracing::error!(
            live,
            expired = expiry.expired.len(),
            "most executors look dead at once: expiring a few at a time"
        );
    }
    for session in &expiry.expired {
        tracing::warn!(session_id = %session, "session expired");
    }
    reap(fleet, clock::utc_now()).await
}

struct Expire<'a> {
    fleet: &'a Fleet,
    settings: &'a LoopSettings,
}

impl Transaction<FleetTx> for Expire<'_> {
    /// What expired, and how many sessions are left.
    type Output = (ExpiryDecision, usize);
    type Error = StoreError;

    async fn run(&self, tx: &FleetTx) -> Result<Self::Output, StoreError> {
        let (now, passes) = passes::enter(tx, NAME).await?;
        let sessions = sessions::read_beats(tx).await?;
        let expiry =
            expire(&sessions, passes, now, self.fleet.settings.lease_ttl, self.settings.reaper_grace);
        let expired: Vec<(Uuid, DateTime<Utc>)> = sessions
            .iter()
            .filter(|session| expiry.expired.contains(&session.id))
            .map(|session| (session.id.0, session.beat_at))
            .collect();
        if !expired.is_empty() {
            sessions::expire(tx, &expired).await?;
        }
        passes::leave(tx, NAME, now, expiry.grace_until).await?;
        Ok((expiry, sessions.len() - expired.len()))
    }
}

/// Hands on runs whose lease has no live session.
async fn reap(fleet: &Fleet, now: DateTime<Utc>) -> Result<(), FleetError> {
    // Leases first: a session that opens in between is then among the live.
    let holders = leases::find_sessions(&fleet.databases).await?;
    if holders.is_empty() {
        return Ok(());
    }
    let live: HashSet<Uuid> =
        sessions::find_live(&fleet.databases).await?.into_iter().map(|session| session.id).collect();
    let dead: Vec<Uuid> = holders.into_iter().filter(|session| !live.contains(session)).collect();
    if dead.is_empty() {
        return Ok(());
    }
    let last_requests = sessions::last_requests(&fleet.databases, dead.clone()).await?.into_iter().collect();
    let orphans = leases::find_of_sessions(&fleet.databases, dead, BATCH).await?;
    tracing::warn!(leases = orphans.len(), "runs lost their executor");
    let ready = fleet.placement.run(&Lose { now, last_requests }, orphans).await?;
    if ready.contains(&true) {
        fleet.wakeups.work_is_ready();
    }
    Ok(())
}

struct Lose {
    now: DateTime<Utc>,
    last_requests: HashMap<Uuid, String>,
}

impl GroupTransaction for Lose {
    type Item = OrphanedLease;
    /// Whether work is ready.
    type Output = bool;
    type Error = StoreError;

    fn tenant(item: &OrphanedLease) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, orphans: &[OrphanedLease]) -> Result<bool, StoreError> {
        let keys: Vec<ExecutionKey> = orphans.iter().map(OrphanedLease::key).collect();
        let locked = runs::lock(tx, &keys, LockWait::Wait).await?;
        let is_stale =
            |lease: &&OrphanedLease| !locked.iter().any(|run| run.lease_id == Some(lease.lease_id));
        let stale: Vec<(ExecutionKey, Uuid)> =
            orphans.iter().filter(is_stale).map(|lease| (lease.key(), lease.lease_id)).collect();
        let settlements: Vec<DecidedTransition> =
            locked.into_iter().filter_map(|run| self.lose(run, orphans)).collect();
        let settled = settle(tx, self.now, &settlements, false).await?;
        leases::delete_stale(tx, &stale).await?;
        Ok(settled.work_is_ready)
    }
}

impl Lose {
    fn lose(&self, run: LockedExecution, orphans: &[OrphanedLease]) -> Option<DecidedTransition> {
        let lease = orphans.iter().find(|lease| Some(lease.lease_id) == run.lease_id)?;
        let transition = decide(run.snapshot(), ExecutionEvent::Lost).ok()?;
        let last_request = self.last_requests.get(&lease.lease_id).cloned().unwrap_or_default();
        let fault = (transition.next == State::DeadLettered).then(|| ExecutionError {
            class: "system".to_owned(),
            code: "POISON".to_owned(),
            message: format!("lost {} times without progress in between", transition.losses),
            ..ExecutionError::default()
        });
        let detail =
            if last_request.is_empty() { String::new() } else { format!("last request: {last_request}") };
        let facts = TransitionFacts { last_request, fault, detail, ..TransitionFacts::default() };
        Some(DecidedTransition { run, transition, facts })
    }
}
