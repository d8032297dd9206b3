//! The right to run one attempt, and all that is needed for it.

use chrono::{DateTime, Utc};
use orchid_domain::execution::Kind;
use uuid::Uuid;

use crate::commands::configs::TransportSettings;
use crate::commands::fleet::LeaseToken;
use crate::commands::fleet::progress::ExecutionProgress;
use crate::store::fleet::cursors::CursorValues;
use crate::store::fleet::grants::ContextFields;

/// A lease with what its attempt needs. Holds opened secrets, so it has no `Debug` of its values.
#[derive(Clone)]
pub struct Grant {
    /// The lease.
    pub lease: LeaseToken,
    /// The lease, sealed.
    pub lease_token: Vec<u8>,
    /// What it is for.
    pub kind: Kind,
    /// The plan's key.
    pub plan_key: String,
    /// The revision to run.
    pub plan_revision: i32,
    /// SHA-256 of the definition's canonical JSON.
    pub definition_hash: Vec<u8>,
    /// The definition; none where the executor knows the hash.
    pub definition_json: Option<String>,
    /// The integration's key.
    pub integration_key: String,
    /// The config.
    pub config: GrantedConfig,
    /// What outlives runs; none: it is too large, and fetched apart.
    pub kept: Option<PersistentState>,
    /// The last accepted checkpoint.
    pub checkpoint: Option<GrantedCheckpoint>,
    /// When the run was due or asked for.
    pub scheduled_at: DateTime<Utc>,
    /// When its first attempt began.
    pub started_at: DateTime<Utc>,
    /// How long it ran in earlier attempts.
    pub ran_ms: i64,
    /// W3C trace context of what made it.
    pub traceparent: Option<String>,
    /// A cancel was asked for before the grant.
    pub cancel_requested: bool,
    /// Whether the run saves context and cursors.
    pub persists: bool,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant")
            .field("lease", &self.lease)
            .field("plan_key", &self.plan_key)
            .finish_non_exhaustive()
    }
}

/// What outlives runs of a plan for a config.
#[derive(Clone, Debug, Default)]
pub struct PersistentState {
    /// The context, overlaid for this run.
    pub context: ContextFields,
    /// Cursors and validators.
    pub cursors: CursorValues,
}

/// A config, opened for one run.
#[derive(Clone)]
pub struct GrantedConfig {
    /// Its id.
    pub id: Uuid,
    /// Its key.
    pub key: String,
    /// JSON object: the values, secrets in their places.
    pub values_json: Vec<u8>,
    /// RFC 6901 pointers, from the values, of what is secret.
    pub secret_pointers: Vec<String>,
    /// How its requests leave and where they may go, secrets in their places.
    pub transport: TransportSettings,
}

/// Where a run goes on.
#[derive(Clone, Debug)]
pub struct GrantedCheckpoint {
    /// Orders the checkpoints of a run, across attempts.
    pub seq: i64,
    /// The engine's.
    pub place: Vec<u8>,
    /// The engine's.
    pub finished: Option<Vec<u8>>,
    /// What the run did until there.
    pub progress: ExecutionProgress,
}
