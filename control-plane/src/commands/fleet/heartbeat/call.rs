//! Records a heartbeat and answers what to do with each lease.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_domain::expiry::heartbeat_interval;
use serde_json::Value as Json;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::announcements::exchange;
use super::leases::reconcile;
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::lease_token::LeaseToken;
use crate::commands::fleet::resources::Fleet;
use crate::commands::fleet::session::Session;
use crate::store::fleet::announcements::{Announcement, AnnouncementKey};
use crate::store::fleet::leases::{self, HeldLease};
use crate::store::fleet::sessions::{self, SessionUpdate};

/// Maximum time of the work that comes with a heartbeat. Executors wait a few seconds for a
/// response.
const MAX_SIDE_WORK: Duration = Duration::from_millis(1500);

/// Age of a consume loop from which it is stuck; longer than its longest wait for work.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// A heartbeat.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// Number of the session's heartbeat.
    pub seq: i64,
    /// Every acquire call up to this number is answered or given up.
    pub resolved_acquire_seq: i64,
    /// Lease token and last request of everything that runs.
    pub leases: Vec<(Vec<u8>, String)>,
    /// Free slots.
    pub free_slots: i32,
    /// True if the executor takes no more work.
    pub draining: bool,
    /// Time since the executor's loop that takes work last turned.
    pub consume_loop_age: Duration,
    /// Announcements that Kafka acknowledged.
    pub confirmed: Vec<AnnouncementKey>,
}

/// The command for one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseCommand {
    /// Go on.
    Continue,
    /// Stop, and complete as cancelled.
    Cancel,
    /// Stop at once and report nothing: the lease is lost.
    Lost,
}

/// The response to a heartbeat.
#[derive(Clone, Debug)]
pub struct HeartbeatResponse {
    /// Time between the arrival of the heartbeat and its recording.
    pub held: Duration,
    /// Time that the session lives from now without a heartbeat.
    pub ttl: Duration,
    /// Time until the next heartbeat.
    pub heartbeat_interval: Duration,
    /// The command for each lease whose token opened, by lease id.
    pub instructions: Vec<(Uuid, LeaseCommand)>,
    /// Terminal announcements that the executor has to produce.
    pub announcements: Vec<Announcement>,
}

/// Records a heartbeat, which arrived at `arrived`, and answers it.
///
/// # Errors
/// The session has ended, or the heartbeat cannot be recorded. Whatever fails afterwards is left to
/// the next heartbeat.
pub async fn run(
    fleet: &Fleet,
    session: &Session,
    arrived: std::time::Instant,
    now: DateTime<Utc>,
    heartbeat: Heartbeat,
) -> Result<HeartbeatResponse, FleetError> {
    let listed: Vec<(LeaseToken, &str)> = heartbeat
        .leases
        .iter()
        .filter_map(|(token, last)| {
            Some((LeaseToken::open(&fleet.sealer, token, session.id).ok()?, last.as_str()))
        })
        .collect();
    let ttl = fleet.session_ttl();
    let interval = heartbeat_interval(ttl);
    let update = SessionUpdate {
        session_id: session.id,
        seq: heartbeat.seq,
        resolved_acquire_seq: heartbeat.resolved_acquire_seq,
        free_slots: heartbeat.free_slots,
        draining: heartbeat.draining || is_stuck(session, &heartbeat),
        last_requests: last_requests(&listed),
        ttl,
    };
    // The executor works until this long after it sent the heartbeat, plus a share of the TTL. So
    // the time must end before the heartbeat counts, whatever follows.
    let held = arrived.elapsed();
    // The session's row is all that a heartbeat changes as a rule: leases hold no expiry of their
    // own, so a thousand of them cost one update.
    if !sessions::record_heartbeat(&fleet.databases, &update).await? {
        return Err(FleetError::SessionEnded);
    }
    // The heartbeat counts now, and the executor must learn that. The rest is left to the next
    // heartbeat if it fails or takes long: a lease without a command goes on.
    let side_work = SideWork { until: Instant::now() + (interval / 3).min(MAX_SIDE_WORK), session };
    let mut response = HeartbeatResponse {
        held,
        ttl,
        heartbeat_interval: interval,
        instructions: vec![],
        announcements: vec![],
    };
    // Read after the heartbeat is recorded: from here on the reaper cannot take these leases away
    // for one TTL.
    let find_held = async { Ok(leases::find_held(&fleet.databases, session.id).await?) };
    if let Some(held) = side_work.attempt("reading leases", find_held).await {
        response.instructions = instructions(&listed, &held);
        let reconcile = reconcile(fleet, now, heartbeat.resolved_acquire_seq, &listed, held);
        side_work.attempt("confirming and taking back leases", reconcile).await;
    }
    let exchange = exchange(fleet, session, now, heartbeat.confirmed);
    let announcements = side_work.attempt("exchanging announcements", exchange).await;
    response.announcements = announcements.unwrap_or_default();
    Ok(response)
}

/// Returns whether the executor takes no work although it does not drain. Work that is rung for it
/// would wait until it is rung again, so its slots do not count.
fn is_stuck(session: &Session, heartbeat: &Heartbeat) -> bool {
    let is_stuck = heartbeat.consume_loop_age > STUCK_AFTER;
    if is_stuck {
        tracing::warn!(
            session_id = %session.id,
            consume_loop_age_ms = heartbeat.consume_loop_age.as_millis(),
            "the executor takes no work: its consume loop is stuck"
        );
    }
    is_stuck
}

/// Work that comes with a heartbeat and must not fail it.
struct SideWork<'a> {
    /// Time at which the response is due.
    until: Instant,
    session: &'a Session,
}

impl SideWork<'_> {
    /// Does the work; returns none if it failed or did not end in time.
    async fn attempt<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, FleetError>>,
    ) -> Option<T> {
        let session_id = self.session.id;
        match timeout_at(self.until, work).await {
            Ok(Ok(done)) => Some(done),
            Ok(Err(error)) => {
                tracing::warn!(%error, %session_id, what, "left to the next heartbeat: it failed");
                None
            }
            Err(_) => {
                tracing::warn!(%session_id, what, "left to the next heartbeat: it took too long");
                None
            }
        }
    }
}

/// Returns the last requests by lease id.
fn last_requests(listed: &[(LeaseToken, &str)]) -> Json {
    let entries = listed
        .iter()
        .filter(|(_, last)| !last.is_empty())
        .map(|(token, last)| (token.lease_id.to_string(), Json::String((*last).to_owned())));
    Json::Object(entries.collect())
}

fn instructions(listed: &[(LeaseToken, &str)], held: &[HeldLease]) -> Vec<(Uuid, LeaseCommand)> {
    let held: HashMap<Uuid, &HeldLease> = held.iter().map(|lease| (lease.lease_id, lease)).collect();
    // A lease that the database does not know is over: its attempt was ended here, or another one
    // has begun. Its executor must not report anything for it.
    let command = |lease_id: &Uuid| match held.get(lease_id) {
        Some(lease) if lease.cancel_requested => LeaseCommand::Cancel,
        Some(_) => LeaseCommand::Continue,
        None => LeaseCommand::Lost,
    };
    listed.iter().map(|(token, _)| (token.lease_id, command(&token.lease_id))).collect()
}
