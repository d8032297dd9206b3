//! The resources that all commands of the fleet and all loops share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use orchid_domain::expiry::stretched_ttl;

use super::fair_queue::FairQueues;
use super::placement::Placement;
use super::wakeups::Wakeups;
use crate::keys::{MasterKeys, TokenSealer};
use crate::store::db::Databases;

/// The settings that the protocol's responses and bounds depend on.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    /// Time that a session of a small fleet lives without a heartbeat.
    pub lease_ttl: Duration,
    /// Executors park an execution that has to wait longer than this.
    pub park_after: Duration,
    /// Executors fail an execution that an upstream tells to wait longer than this.
    pub max_wait: Duration,
    /// Maximum bytes of one response body that a plan may ask for.
    pub max_body_bytes: u64,
    /// Maximum nesting depth of a plan.
    pub max_nesting_depth: u32,
    /// Prefix of every key in Redis.
    pub redis_prefix: String,
}

/// The shared resources. Cloning is cheap.
#[derive(Clone)]
pub struct Fleet {
    /// The database.
    pub databases: Databases,
    /// Splits work into placement groups.
    pub placement: Placement,
    /// Chooses the next executions of each pool.
    pub(crate) queues: FairQueues,
    /// Seals session and lease tokens.
    pub sealer: Arc<TokenSealer>,
    /// Opens the secrets of configs.
    pub master_keys: Arc<MasterKeys>,
    /// Wakes the loops and long polls of this process.
    pub wakeups: Wakeups,
    /// Settings of the protocol.
    pub settings: Arc<FleetSettings>,
    live_sessions: Arc<AtomicU64>,
}

impl Fleet {
    /// Creates the resources of a server that has not counted its fleet yet.
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
            queues: FairQueues::default(),
            sealer,
            master_keys,
            wakeups,
            settings: Arc::new(settings),
            live_sessions: Arc::new(AtomicU64::new(0)),
        }
    }

    /// Returns the time to live that a heartbeat is promised now. It grows with the fleet.
    pub fn session_ttl(&self) -> Duration {
        // A stale count costs nothing: each session expires by the TTL that it was promised.
        stretched_ttl(self.settings.lease_ttl, self.live_sessions.load(Ordering::Relaxed))
    }

    /// Records how many sessions the reaper counted.
    pub fn set_live_sessions(&self, live_sessions: usize) {
        self.live_sessions.store(u64::try_from(live_sessions).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
