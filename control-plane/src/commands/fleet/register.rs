//! Opens a session for an executor whose pool token was checked.

use std::time::Duration;

use orchid_domain::expiry::heartbeat_interval;
use uuid::Uuid;

use super::error::FleetError;
use super::resources::Fleet;
use super::session::Session;
use crate::doorbell::{GROUP, stream};
use crate::store::fleet::sessions::{self, NewSession};

/// Maximum slots of one executor.
const MAX_SLOTS: i32 = 100_000;

/// An executor that registers.
#[derive(Clone, Debug)]
pub struct RegisterRequest {
    /// Name of the process, for people.
    pub name: String,
    /// Pool to join, its token checked.
    pub pool: String,
    /// Executions that it runs at once.
    pub slots: i32,
    /// Build of the executor.
    pub build: String,
}

/// The new session, with the server's settings for it.
#[derive(Clone, Debug)]
pub struct RegisteredSession {
    /// Id of the session, a UUID v7.
    pub session_id: Uuid,
    /// Token for the metadata of all other calls.
    pub session_token: String,
    /// Time that the session lives without a heartbeat.
    pub ttl: Duration,
    /// Time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// Redis streams that announce work of the pool.
    pub doorbell_streams: Vec<String>,
    /// Consumer group on these streams.
    pub doorbell_group: &'static str,
    /// The executor parks an execution that has to wait longer than this.
    pub park_after: Duration,
    /// Maximum bytes of one response body that a plan may ask for.
    pub max_body_bytes: u64,
    /// Maximum nesting depth of a plan.
    pub max_nesting_depth: u32,
    /// The executor fails an execution that an upstream tells to wait longer than this.
    pub max_wait: Duration,
}

/// Opens the session.
///
/// # Errors
/// The number of slots is out of range, or the database fails.
pub async fn run(fleet: &Fleet, request: RegisterRequest) -> Result<RegisteredSession, FleetError> {
    if !(1..=MAX_SLOTS).contains(&request.slots) {
        return Err(FleetError::Invalid(format!("slots is {}, not 1 to {MAX_SLOTS}", request.slots)));
    }
    let session = Session { id: Uuid::now_v7(), pool: request.pool };
    let ttl = fleet.session_ttl();
    let row = NewSession {
        id: session.id,
        name: request.name,
        pool: session.pool.clone(),
        slots: request.slots,
        build: request.build,
        ttl,
    };
    // Stored before the token is handed out: a token without a row would look like an ended
    // session.
    sessions::insert(&fleet.databases, &row).await?;
    // Its slots may be what executions wait for.
    fleet.wakeups.work_is_ready();
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
        max_wait: fleet.settings.max_wait,
    })
}
