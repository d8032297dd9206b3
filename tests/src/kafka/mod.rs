//! The brokers that tests produce to: librdkafka's mock cluster, and a real Apache Kafka.

mod apache;
mod mock;
mod reader;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::OnceCell;

pub use reader::{Message, MessageReader};

use self::{apache::ApacheKafka, mock::MockBroker};
use crate::stack::run_folder;

const PARTITIONS: i32 = 4;

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BrokerKind {
    /// librdkafka's mock cluster: there at once, and in this process.
    #[default]
    Mock,
    /// Apache Kafka, in a process of its own.
    Apache,
}

/// A broker that runs.
pub struct Kafka {
    server: RunningBroker,
}

enum RunningBroker {
    Mock(MockBroker),
    Apache(ApacheKafka),
}

/// The topics of one test.
#[derive(Debug, Clone)]
pub struct TestTopics {
    /// Where pages go.
    pub responses: String,
    /// Where errors go.
    pub errors: String,
    /// Where starts and ends go.
    pub events: String,
}

impl TestTopics {
    /// The names of a test's topics; makes none.
    pub fn named(prefix: &str) -> TestTopics {
        let topic = |name: &str| format!("{prefix}-{name}");
        TestTopics {
            responses: topic("api-responses"),
            errors: topic("api-errors"),
            events: topic("execution-events"),
        }
    }

    /// All of them.
    pub fn names(&self) -> [&str; 3] {
        [&self.responses, &self.errors, &self.events]
    }
}

impl Kafka {
    /// The broker of this kind that tests share.
    pub async fn shared(broker: BrokerKind) -> Arc<Kafka> {
        static MOCK: OnceCell<Arc<Kafka>> = OnceCell::const_new();
        static APACHE: OnceCell<Arc<Kafka>> = OnceCell::const_new();
        let shared = match broker {
            BrokerKind::Mock => &MOCK,
            BrokerKind::Apache => &APACHE,
        };
        Arc::clone(shared.get_or_init(|| async { Arc::new(Kafka::start(broker).await) }).await)
    }

    /// A broker of a test's own, which may be taken down.
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

    /// `127.0.0.1:…`
    pub fn brokers(&self) -> &str {
        match &self.server {
            RunningBroker::Mock(mock) => mock.brokers(),
            RunningBroker::Apache(apache) => apache.brokers(),
        }
    }

    /// Makes the topics of a test. With `max_bytes`, Apache Kafka takes no larger batch of messages into them; the mock does not
    /// know that bound.
    pub async fn make(&self, topics: &TestTopics, max_bytes: Option<usize>) {
        match &self.server {
            RunningBroker::Mock(mock) => topics.names().into_iter().for_each(|topic| mock.create(topic)),
            RunningBroker::Apache(apache) => apache.create(&topics.names(), max_bytes).await,
        }
    }

    /// What was said for this setting when each topic was made, in the order of `TestTopics::names`; empty where nothing was, and the
    /// broker's default holds. Only Apache Kafka can tell.
    pub async fn set_at(&self, topics: &TestTopics, name: &str) -> Vec<String> {
        match &self.server {
            RunningBroker::Mock(_) => panic!("the mock knows no settings of topics"),
            RunningBroker::Apache(apache) => apache.set_at(&topics.names(), name).await,
        }
    }

    /// Takes it away from one moment to the next: the mock closes all connections and takes none, Apache Kafka is killed.
    pub async fn down(&self) {
        match &self.server {
            RunningBroker::Mock(mock) => mock.down(),
            RunningBroker::Apache(apache) => apache.kill().await,
        }
    }

    /// Brings it back, with what it has kept.
    pub async fn up(&self) {
        match &self.server {
            RunningBroker::Mock(mock) => mock.up(),
            RunningBroker::Apache(apache) => apache.restart().await,
        }
    }
}
