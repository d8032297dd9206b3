//! Records a heartbeat and answers what to do with each lease.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_domain::expiry::heartbeat_interval;
use serde_json::Value as Json;
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

/// Maximum bytes that are kept of a last request.
const MAX_LAST_REQUEST: usize = 512;

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
    /// Time that the session lives from now without a heartbeat.
    pub ttl: Duration,
    /// Time until the next heartbeat.
    pub heartbeat_interval: Duration,
    /// The command for each lease whose token opened, by lease id.
    pub instructions: Vec<(Uuid, LeaseCommand)>,
    /// Terminal announcements that the executor has to produce.
    pub announcements: Vec<Announcement>,
}

/// Records a heartbeat and answers it.
///
/// # Errors
/// The session has ended, or the database fails.
pub async fn run(
    fleet: &Fleet,
    session: &Session,
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
    let update = SessionUpdate {
        session_id: session.id,
        seq: heartbeat.seq,
        resolved_acquire_seq: heartbeat.resolved_acquire_seq,
        free_slots: heartbeat.free_slots,
        draining: heartbeat.draining,
        last_requests: last_requests(&listed),
        ttl,
    };
    // The session's row is all that a heartbeat changes as a rule: leases hold no expiry of their
    // own, so a thousand of them cost one update.
    if !sessions::record_heartbeat(&fleet.databases, &update).await? {
        return Err(FleetError::SessionEnded);
    }
    // Read after the heartbeat is recorded: from here on the reaper cannot take these leases away
    // for one TTL.
    let held = leases::find_held(&fleet.databases, session.id).await?;
    let instructions = instructions(&listed, &held);
    reconcile(fleet, now, heartbeat.resolved_acquire_seq, &listed, held).await?;
    let announcements = exchange(fleet, session, now, heartbeat.confirmed).await?;
    Ok(HeartbeatResponse { ttl, heartbeat_interval: heartbeat_interval(ttl), instructions, announcements })
}

/// Returns the last requests by lease id.
fn last_requests(listed: &[(LeaseToken, &str)]) -> Json {
    let entries = listed.iter().filter(|(_, last)| !last.is_empty()).map(|(token, last)| {
        // jsonb refuses NUL, and a cut inside a character would not be text.
        let mut text = last.replace('\0', "");
        text.truncate(text.floor_char_boundary(MAX_LAST_REQUEST));
        (token.lease_id.to_string(), Json::String(text))
    });
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
