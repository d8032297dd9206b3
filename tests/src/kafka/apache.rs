//! A real Apache Kafka: one process as broker and controller, on free loopback ports, with its log
//! in the folder of the test run.
//!
//! `.ci/install test` installs its jars. If they or Java are missing, the test fails instead of
//! being skipped.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orchid_kit::servers::{ChildCommand, ChildProcess};
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigSource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::sync::Mutex;

use super::topics::PARTITIONS;
use crate::eventually::{eventually, holds, log_length};
use crate::tools;

/// The file that pins the version; the hash of its content names the folder of the jars.
const POM: &str = include_str!("../../servers/kafka/pom.xml");
/// Any 16 bytes in base64.
const CLUSTER_ID: &str = "b3JjaGlkLXRlc3RzLTEyMw";
/// The time that one call of the admin client may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// The time that the broker has to describe itself while it starts.
const METADATA_TIMEOUT: Duration = Duration::from_secs(2);

/// A running broker; killed when dropped.
pub(super) struct ApacheKafka {
    brokers: String,
    launch: JavaLauncher,
    process: Mutex<Option<ChildProcess>>,
}

struct JavaLauncher {
    java: PathBuf,
    class_path: String,
    folder: PathBuf,
}

impl ApacheKafka {
    /// Starts a broker that keeps all its files in `folder`.
    pub(super) async fn start(folder: &Path) -> ApacheKafka {
        let java = tools::find("java").expect("java is not installed: run `.ci/install test`");
        let libs = tools::server_folder("kafka", POM).join("libs");
        assert!(libs.is_dir(), "{} is missing: run `.ci/install test`", libs.display());
        fs::create_dir_all(folder).expect("a folder for kafka");
        let [port, controller_port] = free_ports();
        fs::write(folder.join("server.properties"), properties(folder, port, controller_port))
            .expect("settings");
        let launch =
            JavaLauncher { java, class_path: format!("{}/*", libs.display()), folder: folder.to_owned() };
        let mut formatter = launch.spawn(
            "format.log",
            &["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config"],
        );
        let log = launch.folder.join("format.log");
        let formatted = eventually("kafka formats its log", async || {
            formatter.exit_status().ok_or_else(|| log_length(&log))
        })
        .await;
        assert!(
            formatted.success(),
            "kafka's log was not formatted ({formatted:?}):\n{}",
            launch.log_text("format.log")
        );
        let apache = ApacheKafka { brokers: format!("127.0.0.1:{port}"), launch, process: Mutex::new(None) };
        apache.restart().await;
        apache
    }

    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.brokers).create().expect("an admin client")
    }

    pub(super) async fn create(&self, topics: &[&str], max_bytes: Option<usize>) {
        let max_bytes = max_bytes.map(|bytes| bytes.to_string());
        let topics: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|name| {
                let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
                match &max_bytes {
                    Some(bytes) => topic.set("max.message.bytes", bytes),
                    None => topic,
                }
            })
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(CALL_TIMEOUT));
        for made in self.admin().create_topics(&topics, &options).await.expect("the broker answers") {
            made.expect("a topic");
        }
    }

    pub(super) async fn topic_setting(&self, topics: &[&str], name: &str) -> Vec<String> {
        let resources: Vec<ResourceSpecifier<'_>> =
            topics.iter().copied().map(ResourceSpecifier::Topic).collect();
        let options = AdminOptions::new().request_timeout(Some(CALL_TIMEOUT));
        let described =
            self.admin().describe_configs(&resources, &options).await.expect("the broker answers");
        let mut found: HashMap<String, String> = HashMap::new();
        for resource in described {
            let resource = resource.expect("a topic");
            let OwnedResourceSpecifier::Topic(topic) = &resource.specifier else { continue };
            let entry = resource.get(name).filter(|entry| entry.source == ConfigSource::DynamicTopic);
            let value = entry.and_then(|entry| entry.value.clone()).unwrap_or_default();
            found.insert(topic.clone(), value);
        }
        topics.iter().map(|topic| found.remove(*topic).expect("the topic was described")).collect()
    }

    /// Kills the process with SIGKILL.
    pub(super) async fn kill(&self) {
        self.process.lock().await.take().expect("kafka runs").kill();
    }

    /// Starts the process and waits until it serves.
    pub(super) async fn restart(&self) {
        let mut running = self.process.lock().await;
        assert!(running.is_none(), "kafka runs already");
        let mut process = self.launch.spawn("kafka.log", &["kafka.Kafka"]);
        let log = self.launch.folder.join("kafka.log");
        eventually("kafka serves", async || {
            if let Some(status) = process.exit_status() {
                panic!("kafka ended ({status}) before it served:\n{}", self.launch.log_text("kafka.log"));
            }
            let brokers = self.brokers.clone();
            let serves = tokio::task::spawn_blocking(move || serves(&brokers)).await;
            holds(serves.expect("it was asked"), log_length(&log))
        })
        .await;
        *running = Some(process);
    }
}

impl JavaLauncher {
    /// Runs a class with its arguments followed by the settings file.
    fn spawn(&self, log: &str, class: &[&str]) -> ChildProcess {
        let log = File::options().create(true).append(true).open(self.folder.join(log)).expect("a log");
        ChildCommand::new(&self.java)
            // Little memory, and a quick start rather than fast code.
            .args(["-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args(["-Dorg.apache.logging.log4j.level=WARN", "-cp", &self.class_path])
            .args(class.iter().copied())
            .args([self.folder.join("server.properties")])
            .current_dir(&self.folder)
            .log(log)
            .spawn()
            .expect("java starts")
    }

    fn log_text(&self, log: &str) -> String {
        fs::read_to_string(self.folder.join(log)).unwrap_or_default()
    }
}

/// Returns whether the broker lists itself in its metadata. It does not until the session of a
/// killed predecessor has expired.
fn serves(brokers: &str) -> bool {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).create().expect("a consumer");
    let metadata = consumer.fetch_metadata(None, METADATA_TIMEOUT);
    metadata.is_ok_and(|metadata| !metadata.brokers().is_empty())
}

/// Returns two ports that were free a moment ago.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

fn properties(folder: &Path, port: u16, controller_port: u16) -> String {
    let log = folder.join("log");
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=PLAINTEXT\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         log.dirs={}\n\
         auto.create.topics.enable=false\n\
         offsets.topic.num.partitions=1\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.num.partitions=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         broker.session.timeout.ms=2000\n\
         broker.heartbeat.interval.ms=500\n\
         log.cleaner.threads=1\n\
         log.cleaner.dedupe.buffer.size=2097152\n\
         log.cleaner.io.buffer.size=65536\n",
        log.display()
    )
}
