//! Sink: finished messages into Kafka.
//!
//! In: messages, complete to the byte. Out: an answer for each, once Kafka has it for good or nobody knows. It never drops
//! a message by itself and never waits for room: who sends too much is told so.

mod outbox;
mod producer;
mod topics;

pub use outbox::{MAX_IN_FLIGHT, Outbox};
pub use producer::{Delivery, DeliveryOutcome, SendError, Sink, Ticket, TopicNames};
pub use topics::create as create_topics;
