//! Ends sessions that are gone, and hands their runs to others. Both by what the database says: the first by its clock, the second by
//! looking for leases whose session is missing or has ended, whenever that was.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use orchid_domain::execution::{Event, State, decide};
use orchid_domain::expiry::{Expiry, expire};
use orchid_kit::clock;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::pace::{Health, jittered, pause};
use crate::commands::fleet::progress::RunFault;
use crate::commands::fleet::settle::{Facts, Settlement, settle};
use crate::commands::fleet::{Fleet, FleetError, GroupWork};
use crate::settings::LoopSettings;
use crate::store::db::{FleetTx, Tx, Work};
use crate::store::error::StoreError;
use crate::store::fleet::leases::{self, Orphan};
use crate::store::fleet::runs::{self, Busy, LockedRun};
use crate::store::fleet::{Key, passes, sessions};

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
    let (expiry, live) = fleet.databases.fleet(&Expire { fleet, settings }).await?;
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

impl Work<FleetTx> for Expire<'_> {
    /// What expired, and how many sessions are left.
    type Done = (Expiry, usize);
    type Fault = StoreError;

    async fn run(&self, tx: &FleetTx) -> Result<Self::Done, StoreError> {
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

impl GroupWork for Lose {
    type Item = Orphan;
    /// Whether work is ready.
    type Done = bool;
    type Fault = StoreError;

    fn tenant(item: &Orphan) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, orphans: &[Orphan]) -> Result<bool, StoreError> {
        let keys: Vec<Key> = orphans.iter().map(Orphan::key).collect();
        let locked = runs::lock(tx, &keys, Busy::Wait).await?;
        let is_stale = |lease: &&Orphan| !locked.iter().any(|run| run.lease_id == Some(lease.lease_id));
        let stale: Vec<(Key, Uuid)> =
            orphans.iter().filter(is_stale).map(|lease| (lease.key(), lease.lease_id)).collect();
        let settlements: Vec<Settlement> =
            locked.into_iter().filter_map(|run| self.lose(run, orphans)).collect();
        let settled = settle(tx, self.now, &settlements, false).await?;
        leases::delete_stale(tx, &stale).await?;
        Ok(settled.work_is_ready)
    }
}

impl Lose {
    fn lose(&self, run: LockedRun, orphans: &[Orphan]) -> Option<Settlement> {
        let lease = orphans.iter().find(|lease| Some(lease.lease_id) == run.lease_id)?;
        let transition = decide(run.run(), Event::Lost).ok()?;
        let last_request = self.last_requests.get(&lease.lease_id).cloned().unwrap_or_default();
        let fault = (transition.next == State::DeadLettered).then(|| RunFault {
            class: "system".to_owned(),
            code: "POISON".to_owned(),
            message: format!("lost {} times without progress in between", transition.losses),
            ..RunFault::default()
        });
        let detail =
            if last_request.is_empty() { String::new() } else { format!("last request: {last_request}") };
        let facts = Facts { last_request, fault, detail, ..Facts::default() };
        Some(Settlement { run, transition, facts })
    }
}
