//! A complete Orchid for one test: control planes and executors as child processes, so that a test
//! can kill them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use orchid_kit::servers::{ChildCommand, ChildProcess, ProcessSignal, RedisServer, orchid_variables};
use orchid_proto::executor::v1 as fleet;
use tokio::sync::OnceCell;
use tonic::transport::{Channel, Endpoint};

use crate::client::{ScriptedExecutor, Tenant};
use crate::database::{self, TestDatabase};
use crate::environment::{POOL, POOL_TOKEN, binary, run_folder, server_settings};
use crate::eventually::{eventually, holds, log_length};
use crate::kafka::{BrokerKind, Kafka, MessageReader, TestTopics};

static REDIS: OnceCell<RedisServer> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Id and base64 of the master key that replaces the one of the test run.
const NEXT_MASTER_KEY: (&str, &str) = ("tests-next", "bmV4dC1vcmNoaWQtdGVzdHMtbmV4dC1vcmNoaWQtdGU=");

/// The options of a test's stack.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// The number of control planes.
    pub control_planes: usize,
    /// The number of executors.
    pub executors: usize,
    /// The number of placement groups, 1 or more.
    pub placement_groups: u32,
    /// The time to live of a session, in ms.
    pub lease_ttl_ms: u32,
    /// The kind of broker that executors produce to.
    pub broker: BrokerKind,
    /// Whether the test has its own broker, which it may take down.
    pub own_kafka: bool,
    /// Whether the topics are created before anything starts.
    pub make_topics: bool,
    /// The `max.message.bytes` of the created topics.
    pub topic_max_bytes: Option<usize>,
    /// Whether the test has its own Redis, which it may wipe.
    pub own_redis: bool,
    /// Additional settings of the control planes, as environment variables.
    pub control_plane_settings: Vec<(&'static str, String)>,
    /// Additional settings of the executors, as environment variables.
    pub executor_settings: Vec<(&'static str, String)>,
}

impl Default for StackOptions {
    fn default() -> Self {
        StackOptions {
            control_planes: 1,
            executors: 1,
            placement_groups: 1,
            lease_ttl_ms: 10_000,
            broker: BrokerKind::Mock,
            own_kafka: false,
            make_topics: true,
            topic_max_bytes: None,
            own_redis: false,
            control_plane_settings: Vec::new(),
            executor_settings: Vec::new(),
        }
    }
}

struct StackNode {
    name: String,
    address: String,
    settings: Vec<(String, String)>,
    binary: PathBuf,
    arguments: Vec<String>,
    process: Option<ChildProcess>,
}

/// A running Orchid.
pub struct TestStack {
    /// The database.
    pub database: TestDatabase,
    /// The topics.
    pub topics: TestTopics,
    options: StackOptions,
    kafka: Arc<Kafka>,
    own_redis: Option<RedisServer>,
    folder: PathBuf,
    control_planes: Vec<StackNode>,
    executors: Vec<StackNode>,
}

impl TestStack {
    /// Starts a stack and waits until every process serves.
    pub async fn start(options: StackOptions) -> TestStack {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = run_folder().join(format!("stack-{number}"));
        fs::create_dir_all(&folder).expect("a folder for this test");
        let kafka = match options.own_kafka {
            true => Arc::new(Kafka::start(options.broker).await),
            false => Kafka::shared(options.broker).await,
        };
        let topics = TestTopics::named(&format!("t{number}"));
        if options.make_topics {
            kafka.create_topics(&topics, options.topic_max_bytes).await;
        }
        let own_redis = match options.own_redis {
            true => Some(RedisServer::start(&folder.join("redis")).await.expect("redis starts")),
            false => None,
        };
        let mut stack = TestStack {
            database: database::migrated(options.placement_groups).await,
            topics,
            kafka,
            own_redis,
            folder,
            control_planes: Vec::new(),
            executors: Vec::new(),
            options,
        };
        for _ in 0..stack.options.control_planes {
            stack.add_control_plane(number).await;
        }
        for _ in 0..stack.options.executors {
            stack.add_executor(number).await;
        }
        stack
    }

    async fn redis_settings(&self, number: u32) -> Vec<(String, String)> {
        let url = match &self.own_redis {
            Some(own) => own.url(),
            None => shared_redis().await.url(),
        };
        vec![
            ("ORCHID_REDIS_URL".to_owned(), url),
            ("ORCHID_REDIS_PREFIX".to_owned(), format!("orchid-test-{}-{number}", std::process::id())),
        ]
    }

    async fn add_control_plane(&mut self, number: u32) {
        let mut settings = server_settings();
        settings.extend(self.database.settings());
        settings.extend(self.redis_settings(number).await);
        settings.push(("ORCHID_LEASE_TTL_MS".to_owned(), self.options.lease_ttl_ms.to_string()));
        settings.extend(owned(&self.options.control_plane_settings));
        let mut node = StackNode {
            name: format!("control-plane-{}", self.control_planes.len()),
            address: String::new(),
            settings,
            binary: binary("orchid-control-plane"),
            arguments: vec!["serve".to_owned()],
            process: None,
        };
        node.start(&self.folder).await;
        // A restart uses the same address, so that executors find it again.
        node.settings.push(("ORCHID_LISTEN".to_owned(), node.address.clone()));
        self.control_planes.push(node);
    }

    async fn add_executor(&mut self, number: u32) {
        let name = format!("executor-{}", self.executors.len());
        let urls: Vec<String> =
            self.control_planes.iter().map(|node| format!("http://{}", node.address)).collect();
        let mut settings = self.redis_settings(number).await;
        settings.retain(|(name, _)| name != "ORCHID_REDIS_PREFIX");
        settings.extend(owned(&[
            ("ORCHID_CONTROL_PLANE_URLS", urls.join(",")),
            ("ORCHID_POOL", POOL.to_owned()),
            ("ORCHID_POOL_TOKEN", POOL_TOKEN.to_owned()),
            ("ORCHID_NAME", name.clone()),
            ("ORCHID_KAFKA_BROKERS", self.kafka().brokers().to_owned()),
            ("ORCHID_KAFKA_TOPIC_RESPONSES", self.topics.responses.clone()),
            ("ORCHID_KAFKA_TOPIC_ERRORS", self.topics.errors.clone()),
            ("ORCHID_KAFKA_TOPIC_EVENTS", self.topics.events.clone()),
            ("ORCHID_FETCH_ALLOW_PRIVATE", "127.0.0.0/8".to_owned()),
            ("ORCHID_LISTEN", "127.0.0.1:0".to_owned()),
            ("ORCHID_LOG_FILTER", "info".to_owned()),
        ]));
        settings.extend(owned(&self.options.executor_settings));
        let mut node = StackNode {
            name,
            address: String::new(),
            settings,
            binary: binary("orchid-executor"),
            arguments: Vec::new(),
            process: None,
        };
        node.start(&self.folder).await;
        self.executors.push(node);
    }

    /// Returns the broker.
    pub fn kafka(&self) -> &Kafka {
        &self.kafka
    }

    /// Returns a reader of the test's topics.
    pub fn reader(&self) -> MessageReader {
        MessageReader::new(self.kafka().brokers(), &self.topics)
    }

    /// Returns the `host:port` of a control plane.
    pub fn address(&self, control_plane: usize) -> &str {
        &self.control_planes[control_plane].address
    }

    /// Returns a connection to a control plane, opened at its first use.
    pub fn channel(&self, control_plane: usize) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address(control_plane)))
            .expect("an address")
            .connect_timeout(Duration::from_secs(5))
            .connect_lazy()
    }

    /// Creates a tenant.
    pub async fn tenant(&self) -> Tenant {
        Tenant::create(self.channel(0), POOL).await
    }

    /// Registers a scripted executor.
    pub async fn scripted_executor(&self) -> ScriptedExecutor {
        ScriptedExecutor::register(self.channel(0), POOL, POOL_TOKEN).await
    }

    /// Registers a scripted executor with this many slots, on a connection of its own.
    pub async fn scripted_executor_with(&self, slots: i32) -> ScriptedExecutor {
        ScriptedExecutor::register_with(self.channel(0), POOL, POOL_TOKEN, slots).await
    }

    /// Returns a connection to the test's own Redis.
    pub async fn redis(&self) -> redis::aio::MultiplexedConnection {
        self.own_redis_connection().await
    }

    /// Wipes the test's own Redis.
    pub async fn flush_redis(&self) {
        let mut connection = self.own_redis_connection().await;
        redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.expect("redis obeys");
    }

    /// Returns every key of the test's own Redis with its content, as text.
    pub async fn redis_content(&self) -> String {
        let mut connection = self.own_redis_connection().await;
        let keys: Vec<String> =
            redis::cmd("KEYS").arg("*").query_async(&mut connection).await.expect("redis obeys");
        let mut content = String::new();
        for key in keys {
            let kind: String =
                redis::cmd("TYPE").arg(&key).query_async(&mut connection).await.expect("a type");
            let (command, arguments): (&str, &[&str]) = match kind.as_str() {
                "stream" => ("XRANGE", &["-", "+"]),
                "string" => ("GET", &[]),
                "hash" => ("HGETALL", &[]),
                other => panic!("{key} is a {other}: read it here, too"),
            };
            let read = redis::cmd(command).arg(&key).arg(arguments).to_owned();
            let value: redis::Value = read.query_async(&mut connection).await.expect("a value");
            content.push_str(&format!("{key} {value:?}\n"));
        }
        content
    }

    /// Takes all entries of a doorbell's stream out of the test's own Redis, in their order.
    pub async fn take_rung(&self, stream: &str) -> Vec<fleet::ExecutionRef> {
        let mut connection = self.own_redis_connection().await;
        let found: redis::streams::StreamRangeReply = redis::cmd("XRANGE")
            .arg(&[stream, "-", "+"])
            .query_async(&mut connection)
            .await
            .expect("redis obeys");
        let mut rung = Vec::with_capacity(found.ids.len());
        for entry in found.ids {
            redis::cmd("XDEL")
                .arg(&[stream, &entry.id])
                .query_async::<()>(&mut connection)
                .await
                .expect("redis obeys");
            let field = |name| entry.get(name).expect("a field");
            rung.push(fleet::ExecutionRef {
                tenant_id: field("tenant_id"),
                execution_id: field("execution_id"),
            });
        }
        rung
    }

    async fn own_redis_connection(&self) -> redis::aio::MultiplexedConnection {
        let url = self.own_redis.as_ref().expect("a Redis of its own").url();
        let client = redis::Client::open(url).expect("a url");
        client.get_multiplexed_async_connection().await.expect("redis answers")
    }

    /// Returns the logs of all processes so far.
    pub fn logs(&self) -> String {
        let nodes = self.control_planes.iter().chain(&self.executors);
        let log = |node: &StackNode| self.folder.join(format!("{}.log", node.name));
        nodes.map(|node| fs::read_to_string(log(node)).expect("a log")).collect()
    }

    /// Gives a control plane a new master key at its next start, and keeps the old one as its
    /// predecessor.
    pub fn rotate_master_key(&mut self, number: usize) {
        let (id, key) = NEXT_MASTER_KEY;
        for (name, value) in server_settings() {
            match name.as_str() {
                "ORCHID_KEYS_MASTER" => self.set_control_plane(number, "ORCHID_KEYS_PREVIOUS", &value),
                "ORCHID_KEYS_MASTER_ID" => self.set_control_plane(number, "ORCHID_KEYS_PREVIOUS_ID", &value),
                _ => {}
            }
        }
        self.set_control_plane(number, "ORCHID_KEYS_MASTER", key);
        self.set_control_plane(number, "ORCHID_KEYS_MASTER_ID", id);
    }

    /// Kills the executor of this name with SIGKILL.
    pub fn kill_executor(&mut self, name: &str) {
        let node =
            self.executors.iter_mut().find(|node| node.name == name).expect("an executor of that name");
        node.process.take().expect("it runs").kill();
    }

    /// Sends a signal to the executor of this name.
    pub fn signal_executor(&mut self, name: &str, signal: ProcessSignal) {
        let node =
            self.executors.iter_mut().find(|node| node.name == name).expect("an executor of that name");
        assert!(node.process.as_mut().expect("it runs").signal(signal), "{name} takes no signal");
    }

    /// Waits until the executor of this name has ended by itself; returns whether it succeeded.
    pub async fn executor_succeeded(&mut self, name: &str) -> bool {
        let node =
            self.executors.iter_mut().find(|node| node.name == name).expect("an executor of that name");
        node.end(&self.folder).await.success()
    }

    /// Kills a control plane with SIGKILL.
    pub fn kill_control_plane(&mut self, number: usize) {
        self.control_planes[number].process.take().expect("it runs").kill();
    }

    /// Stops a control plane with SIGTERM, and waits until it has ended.
    pub async fn stop_control_plane(&mut self, number: usize) {
        let folder = self.folder.clone();
        let node = &mut self.control_planes[number];
        assert!(node.process.as_mut().expect("it runs").signal(ProcessSignal::Term), "it takes the signal");
        assert!(node.end(&folder).await.success(), "a clean end");
    }

    /// Changes a setting of a control plane for its next start.
    pub fn set_control_plane(&mut self, number: usize, name: &str, value: &str) {
        self.control_planes[number].settings.push((name.to_owned(), value.to_owned()));
    }

    /// Restarts a control plane at its address.
    pub async fn restart_control_plane(&mut self, number: usize) {
        let folder = self.folder.clone();
        self.control_planes[number].start(&folder).await;
    }

    /// Ends the test: every process must stop without an error, and no lease or announcement may be
    /// left.
    pub async fn end(mut self) {
        eventually("every announcement is confirmed", async || {
            let left = self.database.number("SELECT count(*) FROM announcements");
            holds(left == 0, left)
        })
        .await;
        for node in self.executors.iter_mut().chain(&mut self.control_planes) {
            let Some(process) = &mut node.process else { continue };
            process.signal(ProcessSignal::Term);
            let status = node.end(&self.folder).await;
            assert!(status.success(), "{} ended with {status}", node.name);
        }
        assert_eq!(self.database.number("SELECT count(*) FROM leases"), 0, "leases are left over");
    }
}

impl Drop for TestStack {
    fn drop(&mut self) {
        for node in self.executors.iter_mut().chain(&mut self.control_planes) {
            node.process = None;
        }
        if std::thread::panicking() {
            self.print_logs();
        }
        self.database.remove();
    }
}

impl TestStack {
    /// Prints the last log lines of all processes.
    fn print_logs(&self) {
        for node in self.control_planes.iter().chain(&self.executors) {
            let log = fs::read_to_string(self.folder.join(format!("{}.log", node.name))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("──── {} ({} lines)", node.name, lines.len());
            for line in &lines[lines.len().saturating_sub(60)..] {
                eprintln!("{line}");
            }
        }
    }
}

impl StackNode {
    async fn start(&mut self, folder: &Path) {
        let announce = folder.join(format!("{}.address", self.name));
        // The file does not exist before the first start.
        let _ = fs::remove_file(&announce);
        let log_file = folder.join(format!("{}.log", self.name));
        let log = File::options().create(true).append(true).open(&log_file).expect("a log");
        let mut program = ChildCommand::new(&self.binary)
            .without_env(orchid_variables())
            .args(&self.arguments)
            .args(["--announce".as_ref(), announce.as_os_str()])
            .log(log);
        for (name, value) in &self.settings {
            program = program.env(name, value);
        }
        let mut process = program.spawn().expect("the binary runs");
        self.address = eventually(&format!("{} serves", self.name), async || {
            if let Some(status) = process.exit_status() {
                let said = fs::read_to_string(&log_file).unwrap_or_default();
                panic!("{} ended ({status}) before it served:\n{said}", self.name);
            }
            let address = fs::read_to_string(&announce).ok();
            address.map(|address| address.trim().to_owned()).ok_or_else(|| log_length(&log_file))
        })
        .await;
        self.process = Some(process);
    }

    /// Waits until the process has ended.
    async fn end(&mut self, folder: &Path) -> ExitStatus {
        let log_file = folder.join(format!("{}.log", self.name));
        let mut process = self.process.take().expect("it runs");
        let what = format!("{} ends", self.name);
        eventually(&what, async || process.exit_status().ok_or_else(|| log_length(&log_file))).await
    }
}

async fn shared_redis() -> &'static RedisServer {
    REDIS
        .get_or_init(|| async {
            RedisServer::start(&run_folder().join("redis")).await.expect("redis starts")
        })
        .await
}

fn owned(settings: &[(&'static str, String)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}
