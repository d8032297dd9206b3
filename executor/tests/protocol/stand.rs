//! What the tests stand on: a control plane of their own, a real Redis, librdkafka's mock broker, an upstream, and the executor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orchid_executor::app::App;
use orchid_executor::settings::Settings;
use orchid_kit::servers::RedisServer;
use orchid_kit::settings::SettingsSources;
use orchid_proto::executor::v1 as wire;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::control_plane::{ControlPlane, POOL_TOKEN, STREAM};

pub(crate) const TENANT: &str = "0190163d-8694-739b-aea5-966c26f8ad91";
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything around an executor.
pub(crate) struct Stand {
    pub(crate) control_plane: ControlPlane,
    pub(crate) redis: Option<RedisServer>,
    pub(crate) kafka: Kafka,
    pub(crate) upstream: Upstream,
    _folder: tempfile::TempDir,
}

impl Stand {
    pub(crate) async fn start(ttl_ms: i64) -> Stand {
        let folder = tempfile::tempdir().unwrap();
        Stand {
            control_plane: ControlPlane::start(ttl_ms).await,
            redis: Some(RedisServer::start(&folder.path().join("redis")).await.unwrap()),
            kafka: Kafka::start(),
            upstream: Upstream::start().await,
            _folder: folder,
        }
    }

    /// Starts an executor; more settings as TOML lines.
    pub(crate) async fn executor(&self, more: &str) -> App {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let redis = self.redis.as_ref().map_or_else(|| "redis://127.0.0.1:1".to_owned(), |redis| redis.url());
        let toml = format!(
            "control_plane.urls = ['http://{}']\npool_token = '{POOL_TOKEN}'\nredis.url = '{redis}'\n\
             kafka.brokers = ['{}']\nfetch.allow_private = ['127.0.0.0/8']\n{more}",
            self.control_plane.address, self.kafka.brokers
        );
        let sources = SettingsSources::from_text(&toml, Vec::<(String, String)>::new()).unwrap();
        let settings = sources.read(|reader| Settings::read(reader, "test", 1)).unwrap();
        App::start(settings).await.unwrap()
    }

    /// A run of a plan that reads pages `0..pages` of the upstream.
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

    /// A run of a definition.
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

    /// Rings for a grant.
    pub(crate) async fn ring(&self, grant: &wire::LeaseGrant) {
        let client = redis::Client::open(self.redis.as_ref().unwrap().url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let _: String = redis::cmd("XADD")
            .arg(STREAM)
            .arg("*")
            .arg(&[("execution_id", &grant.execution_id), ("tenant_id", &grant.tenant_id)])
            .query_async(&mut connection)
            .await
            .unwrap();
    }

    /// Forgets everything that Redis knows.
    pub(crate) async fn wipe(&self) {
        let client = redis::Client::open(self.redis.as_ref().unwrap().url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    }

    /// Length of the doorbell's stream.
    pub(crate) async fn rung(&self) -> u64 {
        let client = redis::Client::open(self.redis.as_ref().unwrap().url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("XLEN").arg(STREAM).query_async(&mut connection).await.unwrap()
    }
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Pages of two rows: `{"page": n, "items": [...]}`; what is read comes after a delay that can be set.
pub(crate) struct Upstream {
    pub(crate) url: String,
    pub(crate) delay_ms: Arc<AtomicU64>,
    pub(crate) requests: Arc<AtomicU64>,
    /// Method and path of each, in order.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

impl Upstream {
    async fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (delay_ms, requests) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (delay, count, log) = (Arc::clone(&delay_ms), Arc::clone(&requests), Arc::clone(&asked));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let (delay, count, log) = (Arc::clone(&delay), Arc::clone(&count), Arc::clone(&log));
                connections.spawn(async move {
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
                        let body = json!({"page": page, "items": [{"id": page * 2}, {"id": page * 2 + 1}]});
                        let body = body.to_string();
                        if text.starts_with("GET ") {
                            tokio::time::sleep(Duration::from_millis(delay.load(Ordering::Relaxed))).await;
                        }
                        let answer = format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                            body.len()
                        );
                        if socket.write_all(answer.as_bytes()).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Upstream { url, delay_ms, requests, asked, _server: server }
    }
}

/// librdkafka's mock broker, on a thread of its own, since it may not change threads.
pub(crate) struct Kafka {
    pub(crate) brokers: String,
    orders: SyncSender<bool>,
}

/// A message as it stands in Kafka.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) payload: Value,
}

impl Record {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str()).unwrap()
    }
}

impl Kafka {
    fn start() -> Kafka {
        let (orders, inbox) = sync_channel(1);
        let (started, address) = sync_channel(1);
        std::thread::spawn(move || {
            let cluster = MockCluster::new(1).unwrap();
            started.send(cluster.bootstrap_servers()).unwrap();
            while let Ok(up) = inbox.recv() {
                if up { cluster.broker_up(1).unwrap() } else { cluster.broker_down(1).unwrap() }
            }
        });
        Kafka { brokers: address.recv().unwrap(), orders }
    }

    /// Takes the broker down, or up again.
    pub(crate) fn up(&self, up: bool) {
        self.orders.send(up).unwrap();
    }

    /// All of a topic, partition by partition.
    pub(crate) fn read(&self, topic: &str) -> Vec<Record> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "test")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).unwrap();
        let partitions = metadata.topics()[0].partitions().len();
        let mut records = Vec::new();
        for partition in 0..i32::try_from(partitions).unwrap() {
            let (_, end) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(5)).unwrap();
            if end == 0 {
                continue;
            }
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
            consumer.assign(&list).unwrap();
            let mut next = 0;
            while next < end {
                let message = match consumer.poll(Duration::from_secs(5)).expect("a message in time") {
                    Ok(message) => message,
                    // What the client says once after a broker was away; it connects again by itself.
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
                records.push(Record {
                    headers: headers.unwrap_or_default(),
                    payload: serde_json::from_slice(message.payload().unwrap()).unwrap(),
                });
            }
        }
        records
    }
}
