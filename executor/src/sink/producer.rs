//! The Kafka producer: idempotent, acknowledged by all in-sync replicas, bounded in memory and
//! time.
//!
//! Each message comes with a ticket. A delivery report returns through the ticket, from the
//! producer's own thread. The producer does not repeat a message once it has timed out: whether the
//! message is still wanted is for the attempt to decide.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use orchid_engine::{Message, Topic};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::settings::{KafkaSettings, TopicNames};
use crate::sink::delivery::{DeliveryOutcome, DeliveryReport, DeliveryTicket};

/// An attempt that lost its lease may keep producing for this long at most.
const MESSAGE_TIMEOUT_MS: u32 = 5_000;
const QUEUE_MESSAGES: u32 = 100_000;
const QUEUE_KIB: u32 = 64 * 1024;
/// Room in a batch for the protocol's own framing. A batch larger than the broker's limit is
/// rejected as a whole, together with its small messages.
const BATCH_OVERHEAD_BYTES: usize = 8 * 1024;
const LINGER_MS: u32 = 5;
/// Least time between two logged warnings of the Kafka client.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

/// Hands messages to Kafka. Clones share one producer.
#[derive(Clone)]
pub struct MessageSink {
    producer: Arc<ThreadedProducer<ProducerCallbacks>>,
    /// The producer of messages that share no batch; created when the broker first refuses one.
    unbatched: Arc<OnceLock<ThreadedProducer<ProducerCallbacks>>>,
    config: Arc<ClientConfig>,
    room: Arc<Notify>,
    broken: CancellationToken,
    topics: Arc<TopicNames>,
}

/// The reason why a message was not queued.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The queue is full. Wait for [`MessageSink::room`] and try again.
    #[error("the producer's queue is full")]
    Full,
    /// The message is larger than `kafka.message_max_bytes`.
    #[error("the message is larger than kafka.message_max_bytes")]
    TooLarge,
    /// The producer refused the message for another reason.
    #[error("the producer refused the message: {0}")]
    Refused(#[source] KafkaError),
}

impl MessageSink {
    /// Creates a producer, which connects in the background.
    ///
    /// # Errors
    ///
    /// Fails when librdkafka rejects the settings.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        let room = Arc::new(Notify::new());
        let broken = CancellationToken::new();
        let batch_bytes = settings.message_max_bytes.saturating_sub(BATCH_OVERHEAD_BYTES).max(1);
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", settings.brokers.join(","))
            .set("client.id", "orchid-executor")
            // Retries inside the client neither duplicate nor reorder messages.
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", LINGER_MS.to_string())
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MS.to_string())
            .set("message.max.bytes", settings.message_max_bytes.to_string())
            .set("batch.size", batch_bytes.to_string())
            .set("queue.buffering.max.messages", QUEUE_MESSAGES.to_string())
            .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string());
        let producer = config.create_with_context(ProducerCallbacks::new(&room, &broken))?;
        Ok(Self {
            producer: Arc::new(producer),
            unbatched: Arc::default(),
            config: Arc::new(config),
            room,
            broken,
            topics: Arc::new(settings.topics.clone()),
        })
    }

    /// Queues a message of an attempt. Unless this fails, its delivery report follows.
    ///
    /// # Errors
    ///
    /// Fails when the queue is full, the message is too large, or the producer has failed.
    pub fn send(&self, message: &Message, ticket: DeliveryTicket) -> Result<(), SendError> {
        let headers = message.headers.iter().map(|(name, value)| (*name, value.as_str()));
        self.send_raw(message.topic, &message.key, headers, &message.payload, ticket)
    }

    /// Queues a message of an attempt in a batch of its own: the broker then refuses this message
    /// alone if it is too large.
    ///
    /// # Errors
    ///
    /// See [`send`](Self::send).
    pub fn send_alone(&self, message: &Message, ticket: DeliveryTicket) -> Result<(), SendError> {
        let producer = self.unbatched().map_err(SendError::Refused)?;
        let headers = message.headers.iter().map(|(name, value)| (*name, value.as_str()));
        self.send_by(producer, message.topic, &message.key, headers, &message.payload, ticket)
    }

    fn unbatched(&self) -> Result<&ThreadedProducer<ProducerCallbacks>, KafkaError> {
        if let Some(producer) = self.unbatched.get() {
            return Ok(producer);
        }
        let mut config = (*self.config).clone();
        config.set("batch.num.messages", "1").set("client.id", "orchid-executor-unbatched");
        let created = config.create_with_context(ProducerCallbacks::new(&self.room, &self.broken))?;
        // Another attempt may have been faster: its producer is used then.
        Ok(self.unbatched.get_or_init(|| created))
    }

    /// Queues a message from its parts.
    ///
    /// # Errors
    ///
    /// See [`send`](Self::send).
    pub fn send_raw<'a>(
        &self,
        topic: Topic,
        key: &str,
        headers: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
        payload: &[u8],
        ticket: DeliveryTicket,
    ) -> Result<(), SendError> {
        self.send_by(&self.producer, topic, key, headers, payload, ticket)
    }

    fn send_by<'a>(
        &self,
        producer: &ThreadedProducer<ProducerCallbacks>,
        topic: Topic,
        key: &str,
        headers: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
        payload: &[u8],
        ticket: DeliveryTicket,
    ) -> Result<(), SendError> {
        let mut owned = OwnedHeaders::new_with_capacity(headers.len());
        for (name, value) in headers {
            owned = owned.insert(Header { key: name, value: Some(value) });
        }
        let record = BaseRecord::with_opaque_to(topic_name(&self.topics, topic), Box::new(ticket))
            .key(key)
            .payload(payload)
            .headers(owned);
        producer.send(record).map_err(|(error, _)| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => SendError::Full,
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => SendError::TooLarge,
            _ => SendError::Refused(error),
        })
    }

    /// Returns a signal that fires each time messages have left the queue.
    pub fn room(&self) -> &Notify {
        &self.room
    }

    /// Waits until the producer has failed permanently. It takes no messages from then on.
    pub async fn wait_broken(&self) {
        self.broken.cancelled().await;
    }

    /// Drops all messages that are queued or in flight. Their delivery reports are `Unknown`.
    pub fn purge(&self) {
        self.producers().for_each(|producer| producer.purge(PurgeConfig::default().queue().inflight()));
    }

    /// Waits until the queue is empty. Blocks the calling thread.
    ///
    /// # Errors
    ///
    /// Fails when messages are left after `timeout`.
    pub fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.producers().try_for_each(|producer| producer.flush(timeout))
    }

    fn producers(&self) -> impl Iterator<Item = &ThreadedProducer<ProducerCallbacks>> {
        [&*self.producer].into_iter().chain(self.unbatched.get())
    }
}

fn topic_name(names: &TopicNames, topic: Topic) -> &str {
    match topic {
        Topic::Responses => &names.responses,
        Topic::Errors => &names.errors,
        Topic::Events => &names.events,
    }
}

/// Callbacks of the Kafka client. They run on the producer's thread, so they must not block.
struct ProducerCallbacks {
    room: Arc<Notify>,
    broken: CancellationToken,
    last_warning: Mutex<Option<Instant>>,
}

impl ProducerCallbacks {
    fn new(room: &Arc<Notify>, broken: &CancellationToken) -> Self {
        Self { room: Arc::clone(room), broken: broken.clone(), last_warning: Mutex::new(None) }
    }
}

impl ClientContext for ProducerCallbacks {
    // The client repeats its log lines several times a second while brokers are away. Everything
    // that matters also arrives in `error`.
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(facility, text, "kafka client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            tracing::error!(%error, reason, "fatal kafka client error");
            self.broken.cancel();
            return;
        }
        let mut last = self.last_warning.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= WARN_INTERVAL) {
            *last = Some(Instant::now());
            tracing::warn!(%error, reason, "kafka client error");
        }
    }
}

impl ProducerContext for ProducerCallbacks {
    type DeliveryOpaque = Box<DeliveryTicket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<DeliveryTicket>) {
        let outcome = match result {
            Ok(_) => DeliveryOutcome::Acked,
            Err((error, _)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => DeliveryOutcome::TooLarge,
                _ => DeliveryOutcome::Unknown(error.to_string()),
            },
        };
        // Fails when the attempt has ended without waiting for its reports.
        let _ = ticket.to.try_send(DeliveryReport { id: ticket.id, outcome });
        self.room.notify_waiters();
    }
}
