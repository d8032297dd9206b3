//! Delivery reports: what became of a message that was handed to the producer.

use tokio::sync::mpsc;

/// The return address of one message. It comes back as a [`DeliveryReport`].
#[derive(Debug)]
pub struct DeliveryTicket {
    /// The sender's own number for the message.
    pub id: u64,
    /// The channel for the report. It needs room for every ticket that is out: a report that finds
    /// the channel full is dropped.
    pub to: mpsc::Sender<DeliveryReport>,
}

/// The fate of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryReport {
    /// The number from the ticket.
    pub id: u64,
    /// The outcome.
    pub outcome: DeliveryOutcome,
}

/// The outcome of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// All in-sync replicas have the message.
    Acked,
    /// The message timed out, was purged, or was rejected for now. It may or may not be in Kafka.
    Unknown(String),
    /// The broker rejects messages of this size permanently.
    TooLarge,
}
