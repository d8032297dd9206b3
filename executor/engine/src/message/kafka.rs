//! A Kafka message, ready to send, and its size for the broker.

use bytes::Bytes;

/// Size of a Kafka record batch with one record, in bytes: 61 for the batch, and at most 35 for the
/// record's lengths and deltas.
const RECORD_FRAMING: usize = 96;
/// Size of the two lengths of a record header, in bytes.
const HEADER_FRAMING: usize = 6;

/// The topic of a message. The sink maps it to the configured name; these are the defaults.
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
    /// The topic.
    pub topic: Topic,
    /// `{tenant_id}:{plan_key}:{config_id}`, which keeps all executions of a plan for a config in
    /// order on one partition.
    pub key: String,
    /// Names and values, in the order in which they are sent.
    pub headers: Vec<(&'static str, String)>,
    /// A JSON object.
    pub payload: Bytes,
}

impl Message {
    /// Returns the bytes that count towards the broker's limit, including the record's framing.
    pub fn size(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| HEADER_FRAMING + name.len() + value.len()).sum();
        // The broker rejects by encoded size, so an estimate must never be too small.
        RECORD_FRAMING + self.key.len() + headers + self.payload.len()
    }
}
