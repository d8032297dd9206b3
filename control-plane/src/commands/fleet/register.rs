//! Opens a session for an executor whose pool token was checked.

use std::time::Duration;

use orchid_domain::expiry::heartbeat_interval;
use uuid::Uuid;

use super::{Fleet, FleetError, Session};
use crate::doorbell::{GROUP, stream};
use crate::store::fleet::sessions::{self, NewSession};

/// Slots of one executor, at most.
const MAX_SLOTS: i32 = 100_000;

/// Who joins.
#[derive(Clone, Debug)]
pub struct RegisterRequest {
    /// Name of the process, for people.
    pub name: String,
    /// The pool, its token checked.
    pub pool: String,
    /// Runs at once.
    pub slots: i32,
    /// Its build.
    pub build: String,
}

/// The session, and what the server's settings are.
#[derive(Clone, Debug)]
pub struct RegisteredSession {
    /// uuid v7.
    pub session_id: Uuid,
    /// For the metadata of all other calls.
    pub session_token: String,
    /// How long it lives without a beat.
    pub ttl: Duration,
    /// How often to beat.
    pub heartbeat_interval: Duration,
    /// Redis streams that ring for the pool.
    pub doorbell_streams: Vec<String>,
    /// The consumer group on them.
    pub doorbell_group: &'static str,
    /// A wait longer than this parks a run.
    pub park_after: Duration,
    /// Most bytes of one response body that a plan may ask for.
    pub max_body_bytes: u64,
    /// What the deepest plan may nest.
    pub max_nesting_depth: u32,
}

/// Opens the session.
pub async fn run(fleet: &Fleet, joining: RegisterRequest) -> Result<RegisteredSession, FleetError> {
    if !(1..=MAX_SLOTS).contains(&joining.slots) {
        return Err(FleetError::Invalid(format!("slots is {}, not 1 to {MAX_SLOTS}", joining.slots)));
    }
    let session = Session { id: Uuid::now_v7(), pool: joining.pool };
    let ttl = fleet.ttl();
    let row = NewSession {
        id: session.id,
        name: joining.name,
        pool: session.pool.clone(),
        slots: joining.slots,
        build: joining.build,
        ttl,
    };
    sessions::insert(&fleet.databases, &row).await?;
    Ok(RegisteredSession {
        session_id: session.id,
        session_token: session.seal(&fleet.sealer)?,
        ttl,
        heartbeat_interval: heartbeat_interval(ttl),
        doorbell_streams: vec![stream(&fleet.settings.redis_prefix, &session.pool)],
        doorbell_group: GROUP,
        park_after: fleet.settings.park_after,
        max_body_bytes: fleet.settings.max_body_bytes,
        max_nesting_depth: fleet.settings.max_nesting_depth,
    })
}
