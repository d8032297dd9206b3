//! The environment of one executor: a control plane, Redis, a broker, an upstream, and the real
//! executor binary on its own core.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use orchid_kit::servers::{ChildCommand, ChildProcess, ProcessSignal, RedisServer, orchid_variables};
use orchid_proto::executor::v1 as wire;
use orchid_tests::eventually::{eventually, holds};
use orchid_tests::{BrokerKind, Kafka, TestTopics, environment};
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use crate::control_plane::{ControlPlane, STREAM};
use crate::machine;
use crate::upstream::BenchUpstream;

const TENANT: &str = "0190163d-8694-739b-aea5-966c26f8ad91";
/// The largest message: room for a page of 1 MiB.
pub(crate) const MESSAGE_MAX_BYTES: usize = 2 << 20;
const STOP_TIMEOUT: Duration = Duration::from_secs(35);
/// Longer than the longest execution on a slow machine.
const RUN_TIMEOUT: Duration = Duration::from_secs(1800);

pub(crate) struct BenchHarness {
    pub(crate) upstream: BenchUpstream,
    pub(crate) kafka: Kafka,
    pub(crate) topics: TestTopics,
    control_plane: ControlPlane,
    redis: RedisServer,
    executor: ChildProcess,
}

impl BenchHarness {
    /// Starts everything. The upstream delays responses for children by `child_delay`;
    /// `max_body_bytes` bounds the body size that a plan may ask for.
    pub(crate) async fn start(child_delay: Duration, max_body_bytes: u64) -> BenchHarness {
        let folder = environment::run_folder().join(format!("bench-{}", Uuid::now_v7()));
        fs::create_dir_all(&folder).expect("a folder");
        let upstream = BenchUpstream::start(child_delay).await;
        let control_plane = ControlPlane::start(max_body_bytes).await;
        let kafka = Kafka::start(BrokerKind::Mock).await;
        let topics = TestTopics::named("bench");
        kafka.create_topics(&topics, None).await;
        let redis = RedisServer::start(&folder.join("redis")).await.expect("redis starts");
        let log = folder.join("executor.log");
        let settings = [
            ("ORCHID_CONTROL_PLANE_URLS", format!("http://{}", control_plane.address)),
            ("ORCHID_POOL_TOKEN", "pool-token-of-the-benches".to_owned()),
            ("ORCHID_REDIS_URL", redis.url()),
            ("ORCHID_KAFKA_BROKERS", kafka.brokers().to_owned()),
            ("ORCHID_KAFKA_TOPIC_RESPONSES", topics.responses.clone()),
            ("ORCHID_KAFKA_TOPIC_ERRORS", topics.errors.clone()),
            ("ORCHID_KAFKA_TOPIC_EVENTS", topics.events.clone()),
            ("ORCHID_KAFKA_MESSAGE_MAX_BYTES", MESSAGE_MAX_BYTES.to_string()),
            ("ORCHID_FETCH_ALLOW_PRIVATE", "127.0.0.0/8".to_owned()),
        ];
        let executor = start_executor(&settings, &log);
        timeout(Duration::from_secs(30), control_plane.registered()).await.unwrap_or_else(|_| {
            panic!("the executor did not register:\n{}", fs::read_to_string(&log).unwrap_or_default())
        });
        BenchHarness { upstream, kafka, topics, control_plane, redis, executor }
    }

    /// Returns the process id of the executor.
    pub(crate) fn executor(&self) -> u32 {
        self.executor.id()
    }

    /// Runs `runs` executions of a definition at once, each with its own config, until all have
    /// succeeded.
    pub(crate) async fn run(&self, definition: &Value, runs: usize) {
        self.offer(definition, runs).await;
        self.all_succeeded(runs).await;
    }

    /// Starts executions without waiting for them.
    pub(crate) async fn offer(&self, definition: &Value, runs: usize) {
        self.offer_as(TENANT, definition, runs).await;
    }

    /// Does the same for a tenant of this id.
    pub(crate) async fn offer_as(&self, tenant: &str, definition: &Value, runs: usize) {
        let grants: Vec<wire::LeaseGrant> = (0..runs).map(|_| self.grant(tenant, definition)).collect();
        self.control_plane.offer(&grants);
        let client = redis::Client::open(self.redis.url()).expect("a url");
        let mut connection = client.get_multiplexed_async_connection().await.expect("redis answers");
        for grant in &grants {
            redis::cmd("XADD")
                .arg(STREAM)
                .arg("*")
                .arg(&[("execution_id", &grant.execution_id), ("tenant_id", &grant.tenant_id)])
                .query_async::<String>(&mut connection)
                .await
                .expect("redis obeys");
        }
    }

    /// Waits until `runs` executions have succeeded.
    pub(crate) async fn all_succeeded(&self, runs: usize) {
        self.ended(runs).await.unwrap_or_else(|why| panic!("{why}"));
    }

    /// Runs a definition once and checks the number of its requests, not counting those for lists.
    ///
    /// # Errors
    /// When the execution fails or sends another number of requests.
    pub(crate) async fn probe(&self, definition: &Value, requests: u64) -> Result<(), String> {
        self.upstream.reset();
        self.offer(definition, 1).await;
        self.ended(1).await?;
        match self.upstream.stats().requests {
            found if found == requests => Ok(()),
            found => Err(format!("it sent {found} requests instead of {requests}")),
        }
    }

    async fn ended(&self, runs: usize) -> Result<(), String> {
        let ends =
            timeout(RUN_TIMEOUT, self.control_plane.ends(runs)).await.expect("the executions end in time");
        match ends.iter().find(|end| end.outcome() != wire::ExecutionOutcome::Succeeded) {
            None => Ok(()),
            Some(end) => Err(end.error.as_ref().map_or_else(
                || format!("an execution ended as {:?}", end.outcome()),
                |fault| format!("{} {}", fault.code, fault.message),
            )),
        }
    }

    /// Waits until a condition of the upstream holds.
    pub(crate) async fn until(&self, what: &str, mut there: impl FnMut(&BenchUpstream) -> bool) {
        eventually(what, async || holds(there(&self.upstream), self.upstream.stats().requests)).await;
    }

    pub(crate) async fn stop(mut self) {
        let ended = self.executor.stop(ProcessSignal::Term, STOP_TIMEOUT).await;
        assert!(ended.is_some_and(|status| status.success()), "the executor ended with {ended:?}");
        self.redis.stop().await;
    }

    fn grant(&self, tenant: &str, definition: &Value) -> wire::LeaseGrant {
        let lease_id = Uuid::now_v7().to_string();
        let now = prost_types::Timestamp { seconds: 1_760_000_000, nanos: 0 };
        let text = definition.to_string();
        wire::LeaseGrant {
            lease_token: lease_id.clone().into(),
            lease_id,
            tenant_id: tenant.to_owned(),
            execution_id: Uuid::now_v7().to_string(),
            attempt: 1,
            fence: 5,
            kind: "run".to_owned(),
            plan_key: "bench".to_owned(),
            plan_revision: 1,
            definition_hash: text.clone().into(),
            definition_json: text.into(),
            integration: "bench".to_owned(),
            config: Some(wire::GrantedConfig {
                id: Uuid::now_v7().to_string(),
                key: "main".to_owned(),
                values_json: serde_json::json!({"base_url": self.upstream.url()}).to_string().into(),
                ..wire::GrantedConfig::default()
            }),
            schedule_time: Some(now),
            start_time: Some(now),
            persist_state: true,
            ..wire::LeaseGrant::default()
        }
    }
}

fn start_executor(settings: &[(&str, String)], log: &PathBuf) -> ChildProcess {
    let mut command = machine::pinned(machine::MEASURED_CORE);
    command.push(environment::binary("orchid-executor").display().to_string());
    let mut program = ChildCommand::new(command.remove(0))
        .args(command)
        .without_env(orchid_variables())
        .log(File::create(log).expect("a log"));
    for (name, value) in settings {
        program = program.env(*name, value);
    }
    program.spawn().expect("the executor starts")
}
