//! The sink: finished messages into Kafka.
//!
//! Every message that the producer accepts gets a delivery report: acknowledged, too large, or
//! unknown. The sink never drops a message silently and never waits for room; a caller that sends
//! too much gets [`SendError::Full`].

mod delivery;
mod outbox;
mod producer;
mod topics;

pub use delivery::{DeliveryOutcome, DeliveryReport, DeliveryTicket};
pub use outbox::{MAX_IN_FLIGHT, Outbox};
pub use producer::{MessageSink, SendError};
pub use topics::create_topics;
