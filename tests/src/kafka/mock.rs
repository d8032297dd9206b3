//! librdkafka's mock cluster in this process; it speaks the real protocol over TCP. It has its own
//! thread, since it must not change threads.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use rdkafka::mocking::MockCluster;

use super::topics::PARTITIONS;

enum BrokerCommand {
    Create(String),
    Down,
    Up,
}

/// A broker that keeps some megabytes per partition in memory and supports no admin calls.
pub(super) struct MockBroker {
    brokers: String,
    commands: SyncSender<(BrokerCommand, SyncSender<()>)>,
}

impl MockBroker {
    pub(super) fn start() -> MockBroker {
        let (commands, inbox) = sync_channel(1);
        let (started, address) = sync_channel(1);
        thread::spawn(move || run(&started, &inbox));
        MockBroker { brokers: address.recv().expect("the broker starts"), commands }
    }

    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    pub(super) fn create(&self, topic: &str) {
        self.execute(BrokerCommand::Create(topic.to_owned()));
    }

    /// Closes all connections and refuses new ones.
    pub(super) fn down(&self) {
        self.execute(BrokerCommand::Down);
    }

    /// Accepts connections again.
    pub(super) fn up(&self) {
        self.execute(BrokerCommand::Up);
    }

    fn execute(&self, command: BrokerCommand) {
        let (done, wait) = sync_channel(1);
        self.commands.send((command, done)).expect("the broker runs");
        wait.recv().expect("the broker executes the command");
    }
}

fn run(started: &SyncSender<String>, inbox: &Receiver<(BrokerCommand, SyncSender<()>)>) {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    started.send(cluster.bootstrap_servers()).expect("the starter waits");
    for (command, done) in inbox {
        match command {
            BrokerCommand::Create(topic) => cluster.create_topic(&topic, PARTITIONS, 1),
            BrokerCommand::Down => cluster.broker_down(1),
            BrokerCommand::Up => cluster.broker_up(1),
        }
        .expect("the mock cluster executes the command");
        done.send(()).expect("the caller waits");
    }
}
