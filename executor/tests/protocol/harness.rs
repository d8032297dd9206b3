//! The environment of an executor under test: a scripted control plane, a real Redis, librdkafka's
//! mock broker, and an HTTP upstream.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use orchid_executor::app::App;
use orchid_executor::settings::Settings;
use orchid_kit::servers::RedisServer;
use orchid_kit::settings::SettingsSources;
use orchid_kit::stall::StallDetector;
use orchid_proto::executor::v1 as wire;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::control_plane::{ControlPlane, POOL_TOKEN, STREAM};

pub(crate) const TENANT: &str = "0190163d-8694-739b-aea5-966c26f8ad91";
/// Time without progress after which a wait fails.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Everything around an executor.
pub(crate) struct Harness {
    pub(crate) control_plane: ControlPlane,
    pub(crate) redis: Option<RedisServer>,
    pub(crate) kafka: KafkaBroker,
    pub(crate) upstream: Upstream,
    _folder: tempfile::TempDir,
}

impl Harness {
    pub(crate) async fn start(ttl_ms: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            control_plane: ControlPlane::start(ttl_ms).await,
            redis: Some(RedisServer::start(&folder.path().join("redis")).await.unwrap()),
            kafka: KafkaBroker::start(),
            upstream: Upstream::start().await,
            _folder: folder,
        }
    }

    /// Starts an executor. `settings` are further lines of TOML.
    pub(crate) async fn executor(&self, settings: &str) -> App {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let redis = self.redis.as_ref().map_or_else(|| "redis://127.0.0.1:1".to_owned(), |redis| redis.url());
        let toml = format!(
            "control_plane.urls = ['http://{}']\npool_token = '{POOL_TOKEN}'\nredis.url = '{redis}'\n\
             kafka.brokers = ['{}']\nfetch.allow_private = ['127.0.0.0/8']\n{settings}",
            self.control_plane.address, self.kafka.brokers
        );
        let sources = SettingsSources::from_text(&toml, Vec::<(String, String)>::new()).unwrap();
        let settings = sources.read(|reader| Settings::read(reader, "test", 1)).unwrap();
        App::start(settings).await.unwrap()
    }

    /// Creates a grant for a plan that reads pages `0..pages` of the upstream.
    pub(crate) fn grant(&self, pages: u32) -> wire::LeaseGrant {
        self.grant_of(&json!({
            "step": {
                "id": "orders",
                "url": format!("{}/orders?page={{{{ page.number }}}}", self.upstream.url),
                "iterate_over": "response.body.items",
                "while": format!("response.body.page < `{}`", pages - 1),
                "retry": {"max_retries": 0},
            }
        }))
    }

    /// Creates a grant for a definition.
    pub(crate) fn grant_of(&self, definition: &Value) -> wire::LeaseGrant {
        let lease_id = Uuid::now_v7().to_string();
        let now = prost_types::Timestamp { seconds: 1_760_000_000, nanos: 0 };
        wire::LeaseGrant {
            lease_token: lease_id.clone().into(),
            lease_id,
            tenant_id: TENANT.to_owned(),
            execution_id: Uuid::now_v7().to_string(),
            attempt: 1,
            fence: 5,
            kind: "run".to_owned(),
            plan_key: "orders-sync".to_owned(),
            plan_revision: 1,
            definition_hash: definition.to_string().into(),
            definition_json: definition.to_string().into(),
            integration: "shop".to_owned(),
            config: Some(wire::GrantedConfig {
                id: Uuid::from_u128(3).to_string(),
                key: "acme".to_owned(),
                values_json: "{}".into(),
                ..wire::GrantedConfig::default()
            }),
            schedule_time: Some(now),
            start_time: Some(now),
            persist_state: true,
            ..wire::LeaseGrant::default()
        }
    }

    /// Waits until `count` executions have completed. Fails when no further one completes for a
    /// while.
    pub(crate) async fn completed(&self, count: usize) {
        let mut detector = StallDetector::new(STALL_TIMEOUT, Instant::now());
        loop {
            let completed = self.control_plane.state().completes.len();
            if completed >= count {
                return;
            }
            assert!(
                !detector.stalled(Instant::now(), completed),
                "{completed} of {count} executions completed, and no further one within {} s",
                STALL_TIMEOUT.as_secs()
            );
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    /// Rings the doorbell for a grant.
    pub(crate) async fn ring(&self, grant: &wire::LeaseGrant) {
        let mut connection = self.redis_connection().await;
        let _: String = redis::cmd("XADD")
            .arg(STREAM)
            .arg("*")
            .arg(&[("execution_id", &grant.execution_id), ("tenant_id", &grant.tenant_id)])
            .query_async(&mut connection)
            .await
            .unwrap();
    }

    /// Deletes everything in Redis.
    pub(crate) async fn wipe_redis(&self) {
        let mut connection = self.redis_connection().await;
        let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    }

    /// Returns the number of entries in the doorbell's stream.
    pub(crate) async fn doorbell_entries(&self) -> u64 {
        let mut connection = self.redis_connection().await;
        redis::cmd("XLEN").arg(STREAM).query_async(&mut connection).await.unwrap()
    }

    /// Waits until the doorbell's stream is empty: its entries are acknowledged and deleted.
    pub(crate) async fn doorbell_emptied(&self) {
        let mut detector = StallDetector::new(STALL_TIMEOUT, Instant::now());
        loop {
            let left = self.doorbell_entries().await;
            if left == 0 {
                return;
            }
            assert!(!detector.stalled(Instant::now(), left), "{left} doorbell entries are left");
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    async fn redis_connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.redis.as_ref().unwrap().url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }
}

/// Repeats `check` until it returns a value. `what` names the expected event in the failure.
pub(crate) async fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let mut detector = StallDetector::new(STALL_TIMEOUT, Instant::now());
    loop {
        if let Some(value) = check() {
            return value;
        }
        // The detector also counts checks, so that a machine that checks slowly waits longer.
        assert!(!detector.stalled(Instant::now(), ()), "{what}: not within {} s", STALL_TIMEOUT.as_secs());
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}

/// An upstream that serves pages of two rows, `{"page": n, "items": [...]}`. GET responses are
/// delayed by `delay_ms`, and paths that begin with `/never` get no response.
pub(crate) struct Upstream {
    pub(crate) url: String,
    pub(crate) delay_ms: Arc<AtomicU64>,
    pub(crate) request_count: Arc<AtomicU64>,
    /// Method and path of each request, in order.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

impl Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (delay_ms, request_count) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (delay, count, log) = (Arc::clone(&delay_ms), Arc::clone(&request_count), Arc::clone(&requests));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                connections.spawn(serve(socket, Arc::clone(&delay), Arc::clone(&count), Arc::clone(&log)));
            }
        });
        Self { url, delay_ms, request_count, requests, _server: server }
    }
}

async fn serve(
    mut socket: TcpStream,
    delay_ms: Arc<AtomicU64>,
    count: Arc<AtomicU64>,
    log: Arc<Mutex<Vec<String>>>,
) {
    let mut request = vec![0; 4096];
    while let Ok(length) = socket.read(&mut request).await
        && length > 0
    {
        count.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(&request[..length]);
        let line: Vec<&str> = text.split(' ').take(2).collect();
        log.lock().unwrap().push(line.join(" "));
        let page = text.split("page=").nth(1).and_then(|rest| rest.split(' ').next());
        let page: u32 = page.unwrap_or_default().parse().unwrap_or(0);
        let body = json!({"page": page, "items": [{"id": page * 2}, {"id": page * 2 + 1}]}).to_string();
        if text.starts_with("GET ") {
            tokio::time::sleep(Duration::from_millis(delay_ms.load(Ordering::Relaxed))).await;
        }
        if line.get(1).is_some_and(|path| path.starts_with("/never")) {
            std::future::pending::<()>().await;
        }
        let response = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if socket.write_all(response.as_bytes()).await.is_err() {
            break;
        }
    }
}

/// librdkafka's mock broker, on its own thread, because it must not move between threads.
pub(crate) struct KafkaBroker {
    pub(crate) brokers: String,
    up: SyncSender<bool>,
}

/// A message in Kafka.
#[derive(Debug, Clone)]
pub(crate) struct KafkaRecord {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) payload: Value,
}

impl KafkaRecord {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str()).unwrap()
    }
}

impl KafkaBroker {
    fn start() -> Self {
        let (up, changes) = sync_channel(1);
        let (started, address) = sync_channel(1);
        std::thread::spawn(move || {
            let cluster = MockCluster::new(1).unwrap();
            started.send(cluster.bootstrap_servers()).unwrap();
            while let Ok(up) = changes.recv() {
                if up { cluster.broker_up(1).unwrap() } else { cluster.broker_down(1).unwrap() }
            }
        });
        Self { brokers: address.recv().unwrap(), up }
    }

    /// Takes the broker down, or up again.
    pub(crate) fn set_up(&self, up: bool) {
        self.up.send(up).unwrap();
    }

    /// Reads all messages of a topic, partition by partition.
    pub(crate) fn read(&self, topic: &str) -> Vec<KafkaRecord> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "test")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), STALL_TIMEOUT).unwrap();
        let partitions = metadata.topics()[0].partitions().len();
        let mut records = Vec::new();
        for partition in 0..i32::try_from(partitions).unwrap() {
            let (_, end) = consumer.fetch_watermarks(topic, partition, STALL_TIMEOUT).unwrap();
            if end == 0 {
                continue;
            }
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
            consumer.assign(&list).unwrap();
            let mut next = 0;
            while next < end {
                let message = match consumer.poll(STALL_TIMEOUT).expect("a message in time") {
                    Ok(message) => message,
                    // The client reports this once after the broker was down, and reconnects by
                    // itself.
                    Err(error)
                        if matches!(
                            error.rdkafka_error_code(),
                            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown)
                        ) =>
                    {
                        continue;
                    }
                    Err(error) => panic!("{error}"),
                };
                next = message.offset() + 1;
                let headers = message.headers().map(|headers| {
                    let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
                    headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
                });
                records.push(KafkaRecord {
                    headers: headers.unwrap_or_default(),
                    payload: serde_json::from_slice(message.payload().unwrap()).unwrap(),
                });
            }
        }
        records
    }
}
