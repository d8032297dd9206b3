//! librdkafka's mock cluster in this process: real protocol over TCP. It lives on a thread of its own, since it may not change
//! threads.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use rdkafka::mocking::MockCluster;

use super::PARTITIONS;

enum BrokerCommand {
    Create(String),
    Down,
    Up,
}

/// A broker that keeps some megabytes a partition in memory, and knows no admin calls.
pub(super) struct MockBroker {
    brokers: String,
    orders: SyncSender<(BrokerCommand, SyncSender<()>)>,
}

impl MockBroker {
    pub(super) fn start() -> MockBroker {
        let (orders, inbox) = sync_channel(1);
        let (started, address) = sync_channel(1);
        thread::spawn(move || run(&started, &inbox));
        MockBroker { brokers: address.recv().expect("the broker starts"), orders }
    }

    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    pub(super) fn create(&self, topic: &str) {
        self.order(BrokerCommand::Create(topic.to_owned()));
    }

    /// Closes all connections, and takes none.
    pub(super) fn down(&self) {
        self.order(BrokerCommand::Down);
    }

    /// Takes connections again.
    pub(super) fn up(&self) {
        self.order(BrokerCommand::Up);
    }

    fn order(&self, order: BrokerCommand) {
        let (done, wait) = sync_channel(1);
        self.orders.send((order, done)).expect("the broker runs");
        wait.recv().expect("the broker obeys");
    }
}

fn run(started: &SyncSender<String>, inbox: &Receiver<(BrokerCommand, SyncSender<()>)>) {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    started.send(cluster.bootstrap_servers()).expect("somebody waits for the broker");
    for (order, done) in inbox {
        match order {
            BrokerCommand::Create(topic) => cluster.create_topic(&topic, PARTITIONS, 1),
            BrokerCommand::Down => cluster.broker_down(1),
            BrokerCommand::Up => cluster.broker_up(1),
        }
        .expect("the mock cluster obeys");
        done.send(()).expect("somebody waits for the order");
    }
}
