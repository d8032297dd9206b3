//! The Kafka producer: idempotent, acknowledged by all in-sync replicas, bounded in memory and in time.
//!
//! In: a message and a ticket. Out: the ticket comes back with what became of the message, from the producer's own
//! thread. It sends nothing again by itself once a message has timed out: whether that is still right is the run's to say.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orchid_engine::{Message, Topic};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::settings::KafkaSettings;

/// A run that lost its lease goes on producing no longer than this.
const MESSAGE_TIMEOUT_MS: u32 = 5_000;
const QUEUE_MESSAGES: u32 = 100_000;
const QUEUE_KIB: u32 = 64 * 1024;
/// Room that the protocol's own framing takes in a batch.
const BATCH_OVERHEAD_BYTES: usize = 8 * 1024;
const LINGER_MS: u32 = 5;
/// Warnings of the client are written at most so often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Hands messages to Kafka. Clones share one producer.
#[derive(Clone)]
pub struct Sink {
    producer: Arc<ThreadedProducer<Deliveries>>,
    room: Arc<Notify>,
    broken: CancellationToken,
    topics: Arc<TopicNames>,
}

/// What the topics are called here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicNames {
    /// Pages.
    pub responses: String,
    /// What went wrong.
    pub errors: String,
    /// Starts and ends.
    pub events: String,
}

/// Comes back with what became of a message.
#[derive(Debug)]
pub struct Ticket {
    /// The sender's own name for the message.
    pub id: u64,
    /// Where to answer. Holds room for every ticket that is out: an answer that finds none is dropped.
    pub to: mpsc::Sender<Delivery>,
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// From the ticket.
    pub id: u64,
    /// What became of it.
    pub outcome: DeliveryOutcome,
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// Kafka has it for good.
    Acked,
    /// Not acknowledged in time, purged, or refused for now: it may be in Kafka or not.
    Unknown(String),
    /// The broker never takes a message of this size.
    TooLarge,
}

/// Why a message could not be queued.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The queue is full; [`Sink::room`] tells when to try again.
    #[error("the producer's queue is full")]
    Full,
    /// Larger than `kafka.message_max_bytes`.
    #[error("the message is larger than kafka.message_max_bytes")]
    TooLarge,
    /// Anything else.
    #[error("the producer took no message: {0}")]
    Refused(#[source] KafkaError),
}

impl Sink {
    /// A producer for these brokers. Connects in the background.
    pub fn new(settings: &KafkaSettings) -> Result<Sink, KafkaError> {
        let room = Arc::new(Notify::new());
        let broken = CancellationToken::new();
        let batch_bytes = settings.message_max_bytes.saturating_sub(BATCH_OVERHEAD_BYTES).max(1);
        let producer = ClientConfig::new()
            .set("bootstrap.servers", settings.brokers.join(","))
            .set("client.id", "orchid-executor")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", LINGER_MS.to_string())
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MS.to_string())
            .set("message.max.bytes", settings.message_max_bytes.to_string())
            .set("batch.size", batch_bytes.to_string())
            .set("queue.buffering.max.messages", QUEUE_MESSAGES.to_string())
            .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string())
            .create_with_context(Deliveries {
                room: Arc::clone(&room),
                broken: broken.clone(),
                last_complaint: Mutex::new(None),
            })?;
        Ok(Sink { producer: Arc::new(producer), room, broken, topics: Arc::new(settings.topics.clone()) })
    }

    /// Queues a message of a run. Its ticket answers later, unless this answers an error.
    pub fn send(&self, message: &Message, ticket: Ticket) -> Result<(), SendError> {
        let headers = message.headers.iter().map(|(name, value)| (*name, value.as_str()));
        self.send_raw(message.topic, &message.key, headers, &message.payload, ticket)
    }

    /// Queues a message whose parts somebody else made.
    pub fn send_raw<'a>(
        &self,
        topic: Topic,
        key: &str,
        headers: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
        payload: &[u8],
        ticket: Ticket,
    ) -> Result<(), SendError> {
        let mut owned = OwnedHeaders::new_with_capacity(headers.len());
        for (name, value) in headers {
            owned = owned.insert(Header { key: name, value: Some(value) });
        }
        let record = BaseRecord::with_opaque_to(self.topics.name(topic), Box::new(ticket))
            .key(key)
            .payload(payload)
            .headers(owned);
        self.producer.send(record).map_err(|(error, _)| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => SendError::Full,
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => SendError::TooLarge,
            _ => SendError::Refused(error),
        })
    }

    /// Signals each time that messages have left the queue.
    pub fn room(&self) -> &Notify {
        &self.room
    }

    /// Returns once the producer has failed for good; it takes nothing any more.
    pub async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// Drops everything that is queued or in flight: the tickets answer `Unknown`.
    pub fn purge(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }

    /// Waits until the queue is empty; blocks its thread.
    pub fn flush(&self, deadline: Duration) -> Result<(), KafkaError> {
        self.producer.flush(deadline)
    }
}

impl TopicNames {
    fn name(&self, topic: Topic) -> &str {
        match topic {
            Topic::Responses => &self.responses,
            Topic::Errors => &self.errors,
            Topic::Events => &self.events,
        }
    }
}

/// Runs on the producer's thread.
struct Deliveries {
    room: Arc<Notify>,
    broken: CancellationToken,
    last_complaint: Mutex<Option<Instant>>,
}

impl ClientContext for Deliveries {
    /// The client repeats itself several times a second while brokers are away: what matters of it comes by `error`.
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(facility, text, "kafka client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            tracing::error!(%error, reason, "kafka client error");
            self.broken.cancel();
            return;
        }
        let mut last = self.last_complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
            *last = Some(Instant::now());
            tracing::warn!(%error, reason, "kafka client error");
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let outcome = match result {
            Ok(_) => DeliveryOutcome::Acked,
            Err((error, _)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => DeliveryOutcome::TooLarge,
                _ => DeliveryOutcome::Unknown(error.to_string()),
            },
        };
        // Nobody listens any more where the run has ended without waiting.
        let _ = ticket.to.try_send(Delivery { id: ticket.id, outcome });
        self.room.notify_waiters();
    }
}
