//! A Kafka broker without Kafka: librdkafka's mock cluster, real protocol over TCP on loopback, in this process. It keeps some megabytes
//! a partition in memory, and nothing on disk.

use std::{sync::mpsc, thread};

use anyhow::Context as _;
use rdkafka::mocking::MockCluster;

use super::state::KafkaState;

const PARTITIONS: i32 = 4;

/// The broker; gone when dropped.
#[derive(Debug)]
pub(super) struct Broker {
    brokers: String,
    /// Dropping it ends the thread that the cluster lives on.
    _alive: mpsc::SyncSender<()>,
}

impl Broker {
    /// Starts one with these topics. The cluster may not change threads, so it gets one of its own.
    pub(super) fn start(topics: &KafkaState) -> anyhow::Result<Self> {
        let names = topics.topics();
        let (alive, until_dropped) = mpsc::sync_channel::<()>(0);
        let (started, answer) = mpsc::sync_channel(1);
        thread::Builder::new().name("broker".to_owned()).spawn(move || {
            let cluster = match cluster(&names) {
                Ok(cluster) => cluster,
                Err(error) => return started.send(Err(error)).unwrap_or_default(),
            };
            if started.send(Ok(cluster.bootstrap_servers())).is_ok() {
                // Nothing is ever sent: this ends when the other side is dropped.
                let _ = until_dropped.recv();
            }
        })?;
        let brokers =
            answer.recv().context("the broker's thread ended")?.context("the broker did not start")?;
        Ok(Self { brokers, _alive: alive })
    }

    /// `host:port`.
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
