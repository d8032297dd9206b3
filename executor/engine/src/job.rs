//! What a run is made of: who it is for, the compiled plan, the config and context it reads, and where it goes on.
//!
//! In: what a grant says, converted by the caller. JSON stays the bytes that came; the engine parses it once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::progress::Progress;

/// One attempt of one execution, with everything the engine needs to run it.
pub struct Job {
    /// Who and what this run is.
    pub identity: Identity,
    /// The compiled plan revision; shared by all runs of it.
    pub definition: Arc<orchid_plan::Definition>,
    /// The config's values and rules.
    pub config: RunConfig,
    /// The persistent context as it stood at the grant: name to JSON text.
    pub context: BTreeMap<String, Bytes>,
    /// Cursors and validators as they stood at the grant: JSON text each.
    pub cursors: BTreeMap<CursorKey, Bytes>,
    /// The last accepted checkpoint; none at a run's beginning.
    pub resume: Option<SavedCheckpoint>,
    /// What the server allows.
    pub limits: RunLimits,
    /// W3C trace context that the messages carry.
    pub trace: TraceContext,
    /// Seed of the run's randomness (jitter, `uuid()`): the same job with the same inputs gives the same outputs.
    pub seed: u64,
    /// How long the run was going in earlier attempts; parked time does not count.
    pub ran: Duration,
}

/// Names a value that a step keeps from run to run, outside the context.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CursorKey {
    /// What it is.
    pub kind: CursorKind,
    /// Id of the step.
    pub step: String,
    /// A cursor: the item it is of as text, empty without `per_item`. A validator: 32 hex digits that name its url.
    pub item: String,
}

/// What a step keeps from run to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CursorKind {
    /// What was read up to (`cursor`).
    Cursor,
    /// `{"etag", "last_modified"}` of the last answer (`conditional`).
    Validator,
}

impl CursorKind {
    /// As the control plane spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            CursorKind::Cursor => "cursor",
            CursorKind::Validator => "validator",
        }
    }
}

/// Who and what a run is; the head of every message.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Key of the integration that is polled.
    pub integration: String,
    /// Key of the plan.
    pub plan_key: String,
    /// Revision of the plan.
    pub plan_revision: i32,
    /// The config.
    pub config_id: Uuid,
    /// Key of the config.
    pub config_key: String,
    /// The execution.
    pub execution_id: Uuid,
    /// Attempt of the execution, from 1.
    pub attempt: i32,
    /// Orders attempts; rises with each grant.
    pub fence: i64,
    /// When the run was due, or asked for.
    pub scheduled_at: DateTime<Utc>,
    /// When its first attempt began.
    pub started_at: DateTime<Utc>,
}

/// The config a run works with. Holds secrets in clear: it has no `Debug`.
#[derive(Clone)]
pub struct RunConfig {
    /// JSON object: the values, secrets in their places.
    pub values: Bytes,
    /// RFC 6901 pointers, from `values`, of what is secret in it.
    pub secret_pointers: Vec<String>,
    /// Secret texts that stand nowhere in the values, such as a proxy's password: no message and no error shows them.
    pub secrets: Vec<String>,
    /// Hosts that may be reached (`host`, `host:port`, `*.host`); empty: the host of each step's own url.
    pub allowed_hosts: Vec<String>,
}

/// A checkpoint as the control plane kept it.
#[derive(Debug, Clone)]
pub struct SavedCheckpoint {
    /// Where the run was, as [`crate::Checkpoint::place`] said.
    pub place: Bytes,
    /// Values of finished steps, as [`crate::Checkpoint::finished`] last said.
    pub finished: Option<Bytes>,
    /// What the run did until there.
    pub progress: Progress,
}

/// What the server allows a run.
#[derive(Debug, Clone)]
pub struct RunLimits {
    /// A longer wait hands the run back.
    pub park_after: Duration,
    /// Most bytes of one message: payload, key and headers together.
    pub message_max_bytes: usize,
    /// Most bytes of one decoded response body, whatever the plan says.
    pub body_max_bytes: u64,
}

/// W3C trace context. Both texts are passed on as they are.
#[derive(Debug, Clone, Default)]
pub struct TraceContext {
    /// `00-<trace id>-<span id>-<flags>`; empty: the run is not traced.
    pub traceparent: String,
    /// Vendor state; may be empty.
    pub tracestate: String,
}
