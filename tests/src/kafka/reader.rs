//! Reads the messages of a test's topics, as a consumer sees them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use orchid_kit::stall::StallDetector;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use super::topics::TestTopics;
use crate::eventually::{STALL_LIMIT, eventually};

/// The time that one call to the broker may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A consumed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    /// The names and values of the headers, in order.
    pub headers: Vec<(String, String)>,
    pub payload: Vec<u8>,
}

impl Message {
    /// Returns a header; empty if there is none of that name.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    /// Returns the payload as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).expect("a payload is JSON")
    }

    /// Returns the header `type`.
    pub fn kind(&self) -> &str {
        self.header("type")
    }
}

/// A reader of the topics of one test, from their beginning.
pub struct MessageReader {
    consumer: BaseConsumer,
    next: HashMap<(String, i32), i64>,
    messages: Vec<Message>,
}

impl MessageReader {
    /// Creates a reader. The topics must exist.
    pub fn new(brokers: &str, topics: &TestTopics) -> MessageReader {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "orchid-tests")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "20")
            .set("reconnect.backoff.max.ms", "500")
            .create()
            .expect("a consumer");
        let mut partitions = TopicPartitionList::new();
        let mut next = HashMap::new();
        for topic in [&topics.responses, &topics.errors, &topics.events] {
            let metadata = consumer.fetch_metadata(Some(topic), CALL_TIMEOUT).expect("the broker responds");
            let found = metadata.topics()[0].partitions().len();
            assert!(found > 0, "there is no topic {topic}");
            for partition in 0..i32::try_from(found).expect("a number") {
                partitions.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
                next.insert((topic.clone(), partition), 0);
            }
        }
        consumer.assign(&partitions).expect("partitions can be read");
        MessageReader { consumer, next, messages: Vec::new() }
    }

    /// Returns all messages so far, in the order of each partition. The broker must be up.
    pub fn all(&mut self) -> &[Message] {
        let mut detector = StallDetector::new(STALL_LIMIT, Instant::now());
        let mut ends = HashMap::new();
        for (topic, partition) in self.next.keys() {
            let (_, end) = self.consumer.fetch_watermarks(topic, *partition, CALL_TIMEOUT).expect("an end");
            ends.insert((topic.clone(), *partition), end);
        }
        while ends.iter().any(|(partition, end)| self.next.get(partition).is_some_and(|next| next < end)) {
            assert!(
                !detector.stalled(Instant::now(), self.messages.len()),
                "messages up to {ends:?} did not arrive: {} read",
                self.messages.len()
            );
            self.poll();
        }
        &self.messages
    }

    fn poll(&mut self) {
        // The client reconnects by itself after an error; the stall detector bounds it.
        let Some(Ok(message)) = self.consumer.poll(Duration::from_millis(50)) else { return };
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
        });
        let read = Message {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: text(message.key()),
            headers,
            payload: message.payload().unwrap_or_default().to_vec(),
        };
        self.next.insert((read.topic.clone(), read.partition), read.offset + 1);
        self.messages.push(read);
    }

    /// Waits until the messages satisfy a condition, and returns them.
    pub async fn until(&mut self, what: &str, mut enough: impl FnMut(&[Message]) -> bool) -> Vec<Message> {
        eventually(what, async || {
            let all = tokio::task::block_in_place(|| self.all());
            if enough(all) { Ok(all.to_vec()) } else { Err(all.len()) }
        })
        .await
    }
}
