//! One beat of a session: counts it, answers what to do with each lease, takes back grants that never arrived, and hands over terminal
//! events that nobody confirmed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use orchid_domain::execution::{ExecutionEvent, ReleaseReason, decide};
use orchid_domain::expiry::heartbeat_interval;
use serde_json::Value as Json;
use uuid::Uuid;

use super::settle::{DecidedTransition, TransitionFacts, settle};
use super::{Fleet, FleetError, GroupTransaction, LeaseToken, Session};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::announcements::{self, Announcement, AnnouncementKey};
use crate::store::fleet::leases::{self, HeldLease};
use crate::store::fleet::runs::{self, LockWait};
use crate::store::fleet::sessions;

/// Announcements that one answer hands over, at most.
const MAX_ANNOUNCEMENTS: i64 = 64;
/// After this long, an announcement that was handed over and not confirmed is handed to somebody else.
const HAND_OVER_AGAIN_AFTER: TimeDelta = TimeDelta::seconds(15);
/// Bytes that are kept of a last request.
const MAX_LAST_REQUEST: usize = 512;

/// One beat.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// Counts the session's beats.
    pub seq: i64,
    /// Every acquire call up to this one is answered, or given up.
    pub answered_acquire_seq: i64,
    /// Lease token and last request of everything that runs.
    pub leases: Vec<(Vec<u8>, String)>,
    /// Free slots.
    pub free_slots: i32,
    /// It takes no more work.
    pub draining: bool,
    /// Announcements that Kafka has.
    pub confirmed: Vec<AnnouncementKey>,
}

/// What to do with a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseCommand {
    /// Go on.
    Continue,
    /// Stop, and complete as cancelled.
    Cancel,
    /// Stop at once, and report nothing.
    Lost,
}

/// The answer to a beat.
#[derive(Clone, Debug)]
pub struct HeartbeatResponse {
    /// How long the session lives now.
    pub ttl: Duration,
    /// How often to beat now.
    pub heartbeat_interval: Duration,
    /// Lease id and what to do, for each lease whose token opened.
    pub instructions: Vec<(Uuid, LeaseCommand)>,
    /// Terminal events that nobody confirmed yet.
    pub announcements: Vec<Announcement>,
}

/// Counts a beat and answers it.
pub async fn run(
    fleet: &Fleet,
    session: &Session,
    now: DateTime<Utc>,
    beat: Heartbeat,
) -> Result<HeartbeatResponse, FleetError> {
    let listed: Vec<(LeaseToken, &str)> = beat
        .leases
        .iter()
        .filter_map(|(token, last)| {
            Some((LeaseToken::open(&fleet.sealer, token, session.id).ok()?, last.as_str()))
        })
        .collect();
    let ttl = fleet.ttl();
    let row = sessions::SessionUpdate {
        session_id: session.id,
        seq: beat.seq,
        answered_acquire_seq: beat.answered_acquire_seq,
        free_slots: beat.free_slots,
        draining: beat.draining,
        last_requests: last_requests(&listed),
        ttl,
    };
    if !sessions::beat(&fleet.databases, &row).await? {
        return Err(FleetError::SessionEnded);
    }
    let held = leases::find_held(&fleet.databases, session.id).await?;
    let instructions = instructions(&listed, &held);
    tend(fleet, now, &beat, &listed, held).await?;
    let announcements = exchange_announcements(fleet, session, now, beat.confirmed).await?;
    Ok(HeartbeatResponse { ttl, heartbeat_interval: heartbeat_interval(ttl), instructions, announcements })
}

/// By lease id; text that Postgres can hold, cut at a border between characters.
fn last_requests(listed: &[(LeaseToken, &str)]) -> Json {
    let entries = listed.iter().filter(|(_, last)| !last.is_empty()).map(|(token, last)| {
        let mut text = last.replace('\0', "");
        text.truncate(text.floor_char_boundary(MAX_LAST_REQUEST));
        (token.lease_id.to_string(), Json::String(text))
    });
    Json::Object(entries.collect())
}

fn instructions(listed: &[(LeaseToken, &str)], held: &[HeldLease]) -> Vec<(Uuid, LeaseCommand)> {
    let held: HashMap<Uuid, &HeldLease> = held.iter().map(|lease| (lease.lease_id, lease)).collect();
    let command = |lease_id: &Uuid| match held.get(lease_id) {
        Some(lease) if lease.cancel_requested => LeaseCommand::Cancel,
        Some(_) => LeaseCommand::Continue,
        None => LeaseCommand::Lost,
    };
    listed.iter().map(|(token, _)| (token.lease_id, command(&token.lease_id))).collect()
}

/// Confirms leases that are listed for the first time, and takes back those that their session does not know of.
async fn tend(
    fleet: &Fleet,
    now: DateTime<Utc>,
    beat: &Heartbeat,
    listed: &[(LeaseToken, &str)],
    held: Vec<HeldLease>,
) -> Result<(), FleetError> {
    let listed: HashSet<Uuid> = listed.iter().map(|(token, _)| token.lease_id).collect();
    let (known, unknown): (Vec<HeldLease>, Vec<HeldLease>) =
        held.into_iter().partition(|lease| listed.contains(&lease.lease_id));
    let new: Vec<HeldLease> = known.into_iter().filter(|lease| !lease.confirmed).collect();
    if !new.is_empty() {
        fleet.placement.run(&Confirm, new).await?;
    }
    let given_up: Vec<HeldLease> =
        unknown.into_iter().filter(|lease| lease.acquire_seq <= beat.answered_acquire_seq).collect();
    if !given_up.is_empty() {
        tracing::info!(leases = given_up.len(), "leases that their executor does not know of go back");
        let work_is_ready = fleet.placement.run(&TakeBack { now }, given_up).await?.contains(&true);
        if work_is_ready {
            fleet.wakeups.work_is_ready();
        }
    }
    Ok(())
}

struct Confirm;

impl GroupTransaction for Confirm {
    type Item = HeldLease;
    type Output = ();
    type Error = StoreError;

    fn tenant(item: &HeldLease) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[HeldLease]) -> Result<(), StoreError> {
        leases::confirm(tx, &items.iter().map(HeldLease::key).collect::<Vec<_>>()).await
    }
}

struct TakeBack {
    now: DateTime<Utc>,
}

impl GroupTransaction for TakeBack {
    type Item = HeldLease;
    /// Whether work is ready.
    type Output = bool;
    type Error = StoreError;

    fn tenant(item: &HeldLease) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[HeldLease]) -> Result<bool, StoreError> {
        let keys: Vec<_> = items.iter().map(HeldLease::key).collect();
        let mut settlements = Vec::new();
        for run in runs::lock(tx, &keys, LockWait::Wait).await? {
            let Some(lease) = items.iter().find(|lease| run.lease_id == Some(lease.lease_id)) else {
                continue;
            };
            // One that was listed before had begun: its executor lost it on the way, and that counts.
            let event = if lease.confirmed {
                ExecutionEvent::Lost
            } else {
                ExecutionEvent::Released(ReleaseReason::NeverStarted)
            };
            if let Ok(transition) = decide(run.snapshot(), event) {
                settlements.push(DecidedTransition { run, transition, facts: TransitionFacts::default() });
            }
        }
        Ok(settle(tx, self.now, &settlements, false).await?.work_is_ready)
    }
}

/// Forgets what Kafka has, and claims what somebody must send.
async fn exchange_announcements(
    fleet: &Fleet,
    session: &Session,
    now: DateTime<Utc>,
    confirmed: Vec<AnnouncementKey>,
) -> Result<Vec<Announcement>, FleetError> {
    if !confirmed.is_empty() {
        fleet.placement.run(&Forget, confirmed).await?;
    }
    let handed_before = now - HAND_OVER_AGAIN_AFTER;
    let waiting =
        announcements::find_unconfirmed(&fleet.databases, &session.pool, handed_before, MAX_ANNOUNCEMENTS)
            .await?;
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    let handed = fleet.placement.run(&HandOver { now, handed_before }, waiting).await?;
    Ok(handed.into_iter().flatten().collect())
}

struct Forget;

impl GroupTransaction for Forget {
    type Item = AnnouncementKey;
    type Output = ();
    type Error = StoreError;

    fn tenant(item: &AnnouncementKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[AnnouncementKey]) -> Result<(), StoreError> {
        announcements::confirm(tx, items).await
    }
}

struct HandOver {
    now: DateTime<Utc>,
    handed_before: DateTime<Utc>,
}

impl GroupTransaction for HandOver {
    type Item = AnnouncementKey;
    type Output = Vec<Announcement>;
    type Error = StoreError;

    fn tenant(item: &AnnouncementKey) -> Uuid {
        item.tenant_id
    }

    async fn run(&self, tx: &Tx, items: &[AnnouncementKey]) -> Result<Vec<Announcement>, StoreError> {
        announcements::hand_over(tx, self.now, self.handed_before, items).await
    }
}
