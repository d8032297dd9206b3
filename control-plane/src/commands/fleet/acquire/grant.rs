//! A grant: the right to run one attempt, with everything that the attempt needs.

use std::fmt;

use chrono::{DateTime, Utc};
use orchid_domain::execution::Kind;
use uuid::Uuid;

use crate::commands::configs::TransportSettings;
use crate::commands::executions::progress::ExecutionProgress;
use crate::commands::fleet::lease_token::LeaseToken;
use crate::store::fleet::cursors::CursorValues;
use crate::store::fleet::grants::ContextFields;

/// A lease with everything that its attempt needs. It holds opened secrets, so its `Debug` shows no
/// values.
#[derive(Clone)]
pub struct Grant {
    /// Contents of the lease token.
    pub lease: LeaseToken,
    /// The sealed lease token.
    pub lease_token: Vec<u8>,
    /// Purpose of the execution.
    pub kind: Kind,
    /// Key of the plan.
    pub plan_key: String,
    /// Revision of the plan to run.
    pub plan_revision: i32,
    /// SHA-256 of the definition's canonical JSON.
    pub definition_hash: Vec<u8>,
    /// The definition; none when the executor knows its hash.
    pub definition_json: Option<String>,
    /// Key of the integration.
    pub integration_key: String,
    /// The config.
    pub config: GrantedConfig,
    /// Context and cursors; none when they are too large and have to be fetched.
    pub persistent_state: Option<PersistentState>,
    /// The last accepted checkpoint.
    pub checkpoint: Option<GrantedCheckpoint>,
    /// The reason why it does not continue an execution that ended at a limit, for people; empty
    /// if there is none to continue, or it does.
    pub fresh_start_reason: String,
    /// Time at which the execution was due or requested.
    pub scheduled_at: DateTime<Utc>,
    /// Time at which its first attempt began.
    pub started_at: DateTime<Utc>,
    /// Running time of earlier attempts, in milliseconds.
    pub ran_ms: i64,
    /// W3C trace context of the trigger or the schedule.
    pub traceparent: Option<String>,
    /// True if a cancel was requested before the grant.
    pub cancel_requested: bool,
    /// True if the execution saves context and cursors.
    pub persists: bool,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("lease", &self.lease)
            .field("plan_key", &self.plan_key)
            .finish_non_exhaustive()
    }
}

/// The state of a plan and config that outlives executions.
#[derive(Clone, Debug, Default)]
pub struct PersistentState {
    /// The context, with the overrides and own writes of this execution.
    pub context: ContextFields,
    /// Cursors and validators.
    pub cursors: CursorValues,
}

/// A config, opened for one execution.
#[derive(Clone)]
pub struct GrantedConfig {
    /// Id of the config.
    pub id: Uuid,
    /// Key of the config.
    pub key: String,
    /// Values as a JSON object, secrets included.
    pub values_json: Vec<u8>,
    /// RFC 6901 pointers to the secrets among the values.
    pub secret_pointers: Vec<String>,
    /// Proxy, trusted CAs, client certificate and allowed hosts, secrets included.
    pub transport: TransportSettings,
}

/// The checkpoint that an attempt continues from.
#[derive(Clone, Debug)]
pub struct GrantedCheckpoint {
    /// Number of the checkpoint, rising across the attempts of an execution.
    pub seq: i64,
    /// Resume state, opaque to the server.
    pub resume_state: Vec<u8>,
    /// Values of finished steps, opaque to the server.
    pub finished_steps: Option<Vec<u8>>,
    /// Progress up to this checkpoint.
    pub progress: ExecutionProgress,
}
