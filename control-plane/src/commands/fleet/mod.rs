//! The fleet protocol: what executors ask for, and what moves runs for whatever reason. One file per command; what all of them
//! share stands beside them: groups of tenants, tokens, judging claims, and settling a decided transition with all its rows.
//!
//! What comes in is decoded and belongs to an authenticated session; what goes out is a verdict per lease, or a typed error for the
//! whole call. Nothing here knows of gRPC, and nothing decides: decisions are `orchid_domain`'s.

pub mod acquire;
mod announce;
pub mod cancel;
pub mod checkpoint;
mod claims;
pub mod complete;
pub mod create;
mod cursors;
pub mod ending;
mod error;
pub mod fetch_context;
pub mod heartbeat;
mod lease_token;
pub mod park;
mod placement;
pub mod progress;
pub mod register;
pub mod release;
pub mod session;
pub mod settle;
pub mod turn;
mod wakeups;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use orchid_domain::expiry::stretched_ttl;

use crate::keys::{MasterKeys, TokenSealer};
use crate::store::db::Databases;

pub use checkpoint::{CheckpointUpdate, ContextChange};
pub use claims::{LeaseResult, LeaseVerdict};
pub use cursors::CursorChange;
pub use error::FleetError;
pub use lease_token::LeaseToken;
pub use placement::{GroupTransaction, Placement};
pub use session::Session;
pub use wakeups::Wakeups;

/// What the protocol's answers and bounds depend on.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    /// How long a session of a small fleet lives without a beat.
    pub lease_ttl: Duration,
    /// A wait longer than this parks a run.
    pub park_after: Duration,
    /// Most bytes of one response body that a plan may ask for.
    pub max_body_bytes: u64,
    /// What the deepest plan may nest.
    pub max_nesting_depth: u32,
    /// First part of every key in Redis.
    pub redis_prefix: String,
}

/// What all commands of the fleet work with; cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    /// The database.
    pub databases: Databases,
    /// Which tenants can be claimed together.
    pub placement: Placement,
    /// Seals session and lease tokens.
    pub sealer: Arc<TokenSealer>,
    /// Opens configs' secrets.
    pub master_keys: Arc<MasterKeys>,
    /// Tells this process' loops and long polls of work.
    pub wakeups: Wakeups,
    /// Bounds.
    pub settings: Arc<FleetSettings>,
    live_sessions: Arc<AtomicU64>,
}

impl Fleet {
    /// Puts together what commands need.
    pub fn new(
        databases: Databases,
        sealer: Arc<TokenSealer>,
        master_keys: Arc<MasterKeys>,
        wakeups: Wakeups,
        settings: FleetSettings,
    ) -> Self {
        Self {
            placement: Placement::new(databases.clone()),
            databases,
            sealer,
            master_keys,
            wakeups,
            settings: Arc::new(settings),
            live_sessions: Arc::new(AtomicU64::new(0)),
        }
    }

    /// The time to live that beats are promised now.
    pub fn ttl(&self) -> Duration {
        stretched_ttl(self.settings.lease_ttl, self.live_sessions.load(Ordering::Relaxed))
    }

    /// The reaper has counted the fleet.
    pub fn fleet_counted(&self, live_sessions: usize) {
        self.live_sessions.store(u64::try_from(live_sessions).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
