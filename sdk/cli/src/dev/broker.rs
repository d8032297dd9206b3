//! A Kafka broker in this process: librdkafka's mock cluster, which speaks the real protocol over
//! TCP on loopback. It keeps some megabytes per partition in memory and nothing on disk.

use std::sync::mpsc;
use std::thread;

use anyhow::Context as _;
use rdkafka::mocking::MockCluster;

use super::state::KafkaState;

const PARTITIONS: i32 = 4;

/// A running mock broker; ends when dropped.
#[derive(Debug)]
pub(super) struct MockBroker {
    brokers: String,
    /// Dropping it ends the thread that owns the cluster.
    _alive: mpsc::SyncSender<()>,
}

impl MockBroker {
    /// Starts a broker with these topics.
    ///
    /// # Errors
    /// When the thread or the cluster cannot be started.
    pub(super) fn start(topics: &KafkaState) -> anyhow::Result<Self> {
        let names = topics.topics();
        // The cluster must stay on the thread that created it, so it gets its own.
        let (alive, until_dropped) = mpsc::sync_channel::<()>(0);
        let (started, address) = mpsc::sync_channel(1);
        thread::Builder::new().name("broker".to_owned()).spawn(move || {
            let cluster = match cluster(&names) {
                Ok(cluster) => cluster,
                Err(error) => return started.send(Err(error)).unwrap_or_default(),
            };
            if started.send(Ok(cluster.bootstrap_servers())).is_ok() {
                // Nothing is ever sent: `recv` returns when the other side is dropped.
                let _ = until_dropped.recv();
            }
        })?;
        let brokers = address
            .recv()
            .context("the broker's thread ended")?
            .context("the built-in broker did not start")?;
        Ok(Self { brokers, _alive: alive })
    }

    /// Returns the bootstrap address, `host:port`.
    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }
}

fn cluster(
    topics: &[String],
) -> rdkafka::error::KafkaResult<MockCluster<'static, rdkafka::producer::DefaultProducerContext>> {
    let cluster = MockCluster::new(1)?;
    for topic in topics {
        cluster.create_topic(topic, PARTITIONS, 1)?;
    }
    Ok(cluster)
}
