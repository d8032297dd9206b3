//! Messages, complete: topic, key, headers and payload bytes. A sink only sends them.

use bytes::Bytes;

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
    /// Bytes that count against the broker's limit.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.len() + headers + self.payload.len()
    }
}
