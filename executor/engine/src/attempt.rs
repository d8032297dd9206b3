//! Everything the engine needs for one attempt: identity, compiled plan, config, context, and the
//! checkpoint to resume from.
//!
//! The caller fills it from a grant. JSON values are passed as the bytes that were granted; the
//! engine parses them once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::progress::Progress;

/// One attempt of one execution.
pub struct AttemptSpec {
    /// Identity of the execution.
    pub identity: ExecutionIdentity,
    /// The compiled plan revision, shared by all executions of it.
    pub definition: Arc<orchid_plan::Definition>,
    /// The config's values and rules.
    pub config: ExecutionConfig,
    /// The persistent context at the time of the grant: field name to JSON text.
    pub context: BTreeMap<String, Bytes>,
    /// Cursors and validators at the time of the grant, as JSON text.
    pub cursors: BTreeMap<CursorKey, Bytes>,
    /// The last accepted checkpoint; `None` if the execution starts from the beginning.
    pub resume: Option<SavedCheckpoint>,
    /// The reason why the execution does not continue one that ended at a limit; empty if there is
    /// none to continue, or it does.
    pub fresh_start_reason: String,
    /// Limits set by the server.
    pub limits: ExecutionLimits,
    /// W3C trace context for the messages.
    pub trace: TraceContext,
    /// Seed of the randomness (jitter, `uuid()`): the same attempt with the same inputs gives the
    /// same outputs.
    pub seed: u64,
    /// Execution time used by earlier attempts; parked time does not count.
    pub time_used: Duration,
}

/// Key of a value that a step keeps between executions, outside the context.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CursorKey {
    /// Kind of the value.
    pub kind: CursorKind,
    /// Id of the step.
    pub step: String,
    /// For a cursor: the item it belongs to as text, empty without `per_item`. For a validator: 32
    /// hex digits that identify its URL.
    pub item: String,
}

/// Kind of value that a step keeps between executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CursorKind {
    /// The value up to which the step has read (`cursor`).
    Cursor,
    /// `{"etag", "last_modified"}` of the last response (`conditional`).
    Validator,
}

impl CursorKind {
    /// Returns the name used by the control plane.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cursor => "cursor",
            Self::Validator => "validator",
        }
    }
}

/// Identity of an execution; the head of every message.
#[derive(Debug, Clone)]
pub struct ExecutionIdentity {
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
    /// Number that orders attempts; rises with each grant.
    pub fence: i64,
    /// When the execution was due or triggered.
    pub scheduled_at: DateTime<Utc>,
    /// When its first attempt started.
    pub started_at: DateTime<Utc>,
}

/// The config of an execution. Holds secrets in plain text, so it has no `Debug`.
#[derive(Clone)]
pub struct ExecutionConfig {
    /// JSON object of the values, secrets included.
    pub values: Bytes,
    /// RFC 6901 pointers into `values` that select the secrets.
    pub secret_pointers: Vec<String>,
    /// Secrets that are not part of the values, such as a proxy's password. No message and no error
    /// shows them.
    pub secrets: Vec<String>,
    /// Hosts that may be reached (`host`, `host:port`, `*.host`); empty: the host of each step's
    /// own URL.
    pub allowed_hosts: Vec<String>,
}

/// A checkpoint as the control plane stored it.
#[derive(Debug, Clone)]
pub struct SavedCheckpoint {
    /// The stored [`crate::Checkpoint::resume_state`].
    pub resume_state: Bytes,
    /// The last stored [`crate::Checkpoint::finished_steps`].
    pub finished_steps: Option<Bytes>,
    /// Counts, positions and warnings up to this state.
    pub progress: Progress,
}

/// Limits that the server sets for an execution.
#[derive(Debug, Clone)]
pub struct ExecutionLimits {
    /// Longest wait inside an attempt; a longer one parks the execution.
    pub park_after: Duration,
    /// Longest wait that an upstream may ask for; a longer one fails the execution.
    pub max_wait: Duration,
    /// Maximum size of one message in bytes: payload, key and headers together.
    pub message_max_bytes: usize,
    /// Maximum size of one decoded response body in bytes; the plan cannot raise it.
    pub body_max_bytes: u64,
    /// Most memory, in bytes, that the values which expressions read of one body or row may take.
    pub value_max_bytes: usize,
}

/// W3C trace context; both values are passed on unchanged.
#[derive(Debug, Clone, Default)]
pub struct TraceContext {
    /// `00-<trace id>-<span id>-<flags>`; empty if the execution is not traced.
    pub traceparent: String,
    /// Vendor state; may be empty.
    pub tracestate: String,
}
