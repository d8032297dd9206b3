//! Reads messages from Kafka, as they come, without a group and without committing: looking on changes nothing.
//!
//! The consumer lives on a thread of its own and hands out owned messages through a bounded channel. A borrowed message never outlives one
//! turn of that thread's loop, because a consumer that is dropped before its message hangs.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::Context as _;
use orchid_kit::clock;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{BorrowedMessage, Headers as _},
    metadata::MetadataTopic,
};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::exit::UnreachableError;

const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
const QUEUE: usize = 256;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// At the oldest message that is kept.
    Beginning,
    /// At what comes from now on.
    Now,
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its headers; of equal names, the last.
    pub headers: BTreeMap<String, String>,
    /// Its payload: JSON, or null where it is none.
    pub body: Value,
}

impl Message {
    /// A header's value; empty where it has none of that name.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Messages of some topics; stops reading when dropped.
#[derive(Debug)]
pub(crate) struct Reader {
    messages: mpsc::Receiver<Message>,
}

impl Reader {
    /// Begins to read. What is produced after this returns will be read, whatever `from` says.
    pub(crate) async fn start(brokers: &str, topics: Vec<String>, from: From) -> anyhow::Result<Self> {
        let brokers = brokers.to_owned();
        let consumer = tokio::task::spawn_blocking(move || consumer(&brokers, &topics, from))
            .await
            .context("reader")??;
        let (sender, messages) = mpsc::channel(QUEUE);
        thread::Builder::new().name("reader".to_owned()).spawn(move || read(&consumer, &sender))?;
        Ok(Self { messages })
    }

    /// The next message; `None` when reading ended. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }
}

fn consumer(brokers: &str, topics: &[String], from: From) -> anyhow::Result<BaseConsumer> {
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
        for (partition, offset) in settled(|| offsets(&consumer, topic, from)).map_err(unreadable)? {
            assignment.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(unreadable)?;
        }
    }
    consumer.assign(&assignment).map_err(unreachable)?;
    Ok(consumer)
}

/// The partitions of a topic, and where to begin in each.
fn offsets(consumer: &BaseConsumer, topic: &str, from: From) -> KafkaResult<Vec<(i32, i64)>> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWERS_WITHIN)?;
    let found = metadata.topics().first();
    if let Some(error) = found.and_then(MetadataTopic::error) {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    let partitions = found.map(MetadataTopic::partitions).unwrap_or_default();
    partitions
        .iter()
        .map(|partition| {
            let (oldest, next) = consumer.fetch_watermarks(topic, partition.id(), ANSWERS_WITHIN)?;
            Ok((partition.id(), if from == From::Beginning { oldest } else { next }))
        })
        .collect()
}

/// Asks until a topic that was made a moment ago, or whose broker has just come back, is there to be read.
fn settled<T>(mut ask: impl FnMut() -> KafkaResult<T>) -> KafkaResult<T> {
    let deadline = clock::monotonic() + ANSWERS_WITHIN;
    loop {
        match ask() {
            Err(error) if is_settling(&error) && clock::monotonic() < deadline => thread::park_timeout(POLL),
            answer => return answer,
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
        // Errors of the connection heal by themselves; the next poll tells.
        if let Some(Ok(message)) = consumer.poll(POLL)
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
    fn a_topic_that_comes_is_waited_for_and_other_errors_are_not() {
        let mut answers = vec![
            Ok(7),
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NotLeaderForPartition)),
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)),
        ];
        assert_eq!(settled(|| answers.pop().unwrap()).unwrap(), 7);
        let mut asked = 0;
        let refused = settled(|| {
            asked += 1;
            Err::<(), _>(KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure))
        });
        assert!(refused.is_err());
        assert_eq!(asked, 1);
    }
}
