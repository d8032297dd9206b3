//! The brokers that tests produce to: librdkafka's mock cluster and a real Apache Kafka.

mod apache;
mod mock;
mod reader;
mod topics;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::OnceCell;

use self::apache::ApacheKafka;
use self::mock::MockBroker;
use crate::environment::run_folder;

pub use reader::{Message, MessageReader};
pub use topics::TestTopics;

/// The kind of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BrokerKind {
    /// librdkafka's mock cluster, in this process.
    #[default]
    Mock,
    /// Apache Kafka, in its own process.
    Apache,
}

/// A running broker.
pub struct Kafka {
    server: RunningBroker,
}

enum RunningBroker {
    Mock(MockBroker),
    Apache(ApacheKafka),
}

impl Kafka {
    /// Returns the broker of a kind that tests share.
    pub async fn shared(broker: BrokerKind) -> Arc<Kafka> {
        static MOCK: OnceCell<Arc<Kafka>> = OnceCell::const_new();
        static APACHE: OnceCell<Arc<Kafka>> = OnceCell::const_new();
        let shared = match broker {
            BrokerKind::Mock => &MOCK,
            BrokerKind::Apache => &APACHE,
        };
        Arc::clone(shared.get_or_init(|| async { Arc::new(Kafka::start(broker).await) }).await)
    }

    /// Starts a broker that the test may take down.
    pub async fn start(broker: BrokerKind) -> Kafka {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = match broker {
            BrokerKind::Mock => RunningBroker::Mock(MockBroker::start()),
            BrokerKind::Apache => {
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                RunningBroker::Apache(ApacheKafka::start(&run_folder().join(format!("kafka-{number}"))).await)
            }
        };
        Kafka { server }
    }

    /// Returns the bootstrap address, `127.0.0.1:…`.
    pub fn brokers(&self) -> &str {
        match &self.server {
            RunningBroker::Mock(mock) => mock.brokers(),
            RunningBroker::Apache(apache) => apache.brokers(),
        }
    }

    /// Creates the topics of a test. With `max_bytes`, Apache Kafka accepts no larger batch of
    /// messages; the mock ignores that bound.
    pub async fn create_topics(&self, topics: &TestTopics, max_bytes: Option<usize>) {
        match &self.server {
            RunningBroker::Mock(mock) => topics.names().into_iter().for_each(|topic| mock.create(topic)),
            RunningBroker::Apache(apache) => apache.create(&topics.names(), max_bytes).await,
        }
    }

    /// Returns the value of a setting that each topic was created with, in the order of
    /// `TestTopics::names`; empty if the broker's default applies. Only Apache Kafka supports this.
    pub async fn topic_setting(&self, topics: &TestTopics, name: &str) -> Vec<String> {
        match &self.server {
            RunningBroker::Mock(_) => panic!("the mock has no topic settings"),
            RunningBroker::Apache(apache) => apache.topic_setting(&topics.names(), name).await,
        }
    }

    /// Takes the broker down at once: the mock closes all connections and refuses new ones, Apache
    /// Kafka is killed.
    pub async fn down(&self) {
        match &self.server {
            RunningBroker::Mock(mock) => mock.down(),
            RunningBroker::Apache(apache) => apache.kill().await,
        }
    }

    /// Brings the broker back with the messages that it kept.
    pub async fn up(&self) {
        match &self.server {
            RunningBroker::Mock(mock) => mock.up(),
            RunningBroker::Apache(apache) => apache.restart().await,
        }
    }
}
