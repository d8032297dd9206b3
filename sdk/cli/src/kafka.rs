//! Reads messages from Kafka without a consumer group and without committing, so that reading
//! changes nothing.
//!
//! The consumer lives on its own thread and sends owned messages through a bounded channel. A
//! borrowed message never outlives one iteration of that thread's loop: dropping a consumer before
//! its message hangs.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use orchid_kit::clock;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::metadata::MetadataTopic;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::exit::UnreachableError;

/// The time that one call to the broker, or a new topic, may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const CHANNEL_CAPACITY: usize = 256;

/// The first message to read from each partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartOffset {
    /// The oldest message that the topic retains.
    Oldest,
    /// The next message to be produced.
    Next,
}

/// A message with owned contents.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// The headers; the last one of equal names.
    pub headers: BTreeMap<String, String>,
    /// The payload as JSON; null if it is not JSON.
    pub body: Value,
}

impl Message {
    /// Returns a header's value; empty if there is none of that name.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A reader of some topics; stops reading when dropped.
#[derive(Debug)]
pub(crate) struct MessageReader {
    messages: mpsc::Receiver<Message>,
}

impl MessageReader {
    /// Starts to read. Every message produced after this returns is read, wherever `from` starts.
    ///
    /// # Errors
    /// When the broker is unreachable or a topic cannot be read.
    pub(crate) async fn start(brokers: &str, topics: Vec<String>, from: StartOffset) -> anyhow::Result<Self> {
        let brokers = brokers.to_owned();
        let consumer = tokio::task::spawn_blocking(move || consumer(&brokers, &topics, from))
            .await
            .context("the Kafka reader panicked")??;
        let (sender, messages) = mpsc::channel(CHANNEL_CAPACITY);
        thread::Builder::new().name("reader".to_owned()).spawn(move || read(&consumer, &sender))?;
        Ok(Self { messages })
    }

    /// Returns the next message; `None` once reading has ended. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }
}

fn consumer(brokers: &str, topics: &[String], from: StartOffset) -> anyhow::Result<BaseConsumer> {
    let unreachable = |error| UnreachableError(format!("cannot read from Kafka at {brokers}: {error}"));
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "orchid-cli")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "50")
        .set("log_level", "0")
        .create()
        .map_err(unreachable)?;
    let mut assignment = TopicPartitionList::new();
    for topic in topics {
        let unreadable =
            |error| UnreachableError(format!("cannot read topic {topic} from Kafka at {brokers}: {error}"));
        for (partition, offset) in
            retry_while_settling(|| offsets(&consumer, topic, from)).map_err(unreadable)?
        {
            assignment.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(unreadable)?;
        }
    }
    consumer.assign(&assignment).map_err(unreachable)?;
    Ok(consumer)
}

/// Returns the partitions of a topic, each with its first offset to read.
fn offsets(consumer: &BaseConsumer, topic: &str, from: StartOffset) -> KafkaResult<Vec<(i32, i64)>> {
    let metadata = consumer.fetch_metadata(Some(topic), CALL_TIMEOUT)?;
    let found = metadata.topics().first();
    if let Some(error) = found.and_then(MetadataTopic::error) {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    let partitions = found.map(MetadataTopic::partitions).unwrap_or_default();
    partitions
        .iter()
        .map(|partition| {
            let (oldest, next) = consumer.fetch_watermarks(topic, partition.id(), CALL_TIMEOUT)?;
            Ok((partition.id(), if from == StartOffset::Oldest { oldest } else { next }))
        })
        .collect()
}

/// Repeats a request while its topic has just been created or its broker has just come back.
fn retry_while_settling<T>(mut request: impl FnMut() -> KafkaResult<T>) -> KafkaResult<T> {
    let deadline = clock::monotonic() + CALL_TIMEOUT;
    loop {
        match request() {
            Err(error) if is_settling(&error) && clock::monotonic() < deadline => {
                thread::park_timeout(POLL_INTERVAL)
            }
            result => return result,
        }
    }
}

fn is_settling(error: &KafkaError) -> bool {
    let settling = [
        RDKafkaErrorCode::UnknownTopicOrPartition,
        RDKafkaErrorCode::LeaderNotAvailable,
        RDKafkaErrorCode::NotLeaderForPartition,
    ];
    error.rdkafka_error_code().is_some_and(|code| settling.contains(&code))
}

fn read(consumer: &BaseConsumer, sender: &mpsc::Sender<Message>) {
    while !sender.is_closed() {
        // The client reconnects by itself; an error here needs no handling.
        if let Some(Ok(message)) = consumer.poll(POLL_INTERVAL)
            && sender.blocking_send(owned(&message)).is_err()
        {
            return;
        }
    }
}

fn owned(message: &BorrowedMessage<'_>) -> Message {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Message {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        headers: headers
            .map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default())))
            .collect(),
        body: serde_json::from_slice(message.payload().unwrap_or_default()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settling_errors_are_retried() {
        let mut results = vec![
            Ok(7),
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NotLeaderForPartition)),
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)),
        ];
        assert_eq!(retry_while_settling(|| results.pop().unwrap()).unwrap(), 7);
        let mut requests = 0;
        let refused = retry_while_settling(|| {
            requests += 1;
            Err::<(), _>(KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure))
        });
        assert!(refused.is_err());
        assert_eq!(requests, 1);
    }
}
