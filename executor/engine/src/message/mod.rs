//! Messages, complete: topic, key, headers and payload bytes. A sink only sends them.
//!
//! In: what a pass yielded, as bytes wherever they came from an upstream, and who the run is. Out: messages with their
//! ids and positions, none larger than the broker takes, secrets of the request side redacted. Nothing here parses or
//! prints a response body that an expression did not compute.

use bytes::Bytes;

pub(crate) mod body;
pub(crate) mod chunk;
pub(crate) mod envelope;
mod event;
pub(crate) mod exchange;
mod forms;
mod id;
mod json;
mod origin;
pub(crate) mod redact;

pub use event::started;
pub(crate) use origin::MessageOrigin;

/// Kafka's record batch with one record: 61 bytes for the batch, at most 35 for lengths and deltas.
const RECORD_FRAMING: usize = 96;
/// Two lengths.
const HEADER_FRAMING: usize = 6;

/// Which topic; the names are the sink's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// `api-responses`.
    Responses,
    /// `api-errors`.
    Errors,
    /// `execution-events`.
    Events,
}

/// One message, ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub topic: Topic,
    /// `{tenant_id}:{plan_key}:{config_id}`: keeps all runs of a plan for a config in order on one partition.
    pub key: String,
    /// Name and value, in this order.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub payload: Bytes,
}

impl Message {
    /// Bytes that count against the broker's limit, the record's own framing included.
    pub fn size(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| HEADER_FRAMING + name.len() + value.len()).sum();
        RECORD_FRAMING + self.key.len() + headers + self.payload.len()
    }
}
