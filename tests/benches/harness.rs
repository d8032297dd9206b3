//! Everything around one executor: a control plane, a Redis, a broker, an upstream, and the real executor binary on a core of its own.

use std::{
    fs::{self, File},
    path::PathBuf,
    time::Duration,
};

use orchid_kit::servers::{ChildCommand, ChildProcess, ProcessSignal, RedisServer, orchid_variables};
use orchid_proto::executor::v1 as wire;
use orchid_tests::{
    BrokerKind, Kafka, TestTopics,
    eventually::{eventually, holds},
    stack,
};
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    control_plane::{ControlPlane, STREAM},
    machine,
    upstream::BenchUpstream,
};

const TENANT: &str = "0190163d-8694-739b-aea5-966c26f8ad91";
/// Room for a page of 1 MiB as one message.
pub(crate) const MESSAGE_MAX_BYTES: usize = 2 << 20;
const STOP_TIMEOUT: Duration = Duration::from_secs(35);
/// Longer than the longest run here takes on a slow machine.
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
    /// `child_delay`: how long the upstream's children take. `max_body_bytes`: the largest body that a plan may ask for.
    pub(crate) async fn start(child_delay: Duration, max_body_bytes: u64) -> BenchHarness {
        let folder = stack::run_folder().join(format!("bench-{}", Uuid::now_v7()));
        fs::create_dir_all(&folder).expect("a folder");
        let upstream = BenchUpstream::start(child_delay).await;
        let control_plane = ControlPlane::start(max_body_bytes).await;
        let kafka = Kafka::start(BrokerKind::Mock).await;
        let topics = TestTopics::named("bench");
        kafka.make(&topics, None).await;
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
            panic!("the executor did not come:\n{}", fs::read_to_string(&log).unwrap_or_default())
        });
        BenchHarness { upstream, kafka, topics, control_plane, redis, executor }
    }

    /// Process id of the executor.
    pub(crate) fn executor(&self) -> u32 {
        self.executor.id()
    }

    /// Runs a definition so often at once, each with a config of its own, until all have succeeded.
    pub(crate) async fn run(&self, definition: &Value, runs: usize) {
        self.offer(definition, runs).await;
        self.ended_well(runs).await;
    }

    /// Begins runs and does not wait.
    pub(crate) async fn offer(&self, definition: &Value, runs: usize) {
        let grants: Vec<wire::LeaseGrant> = (0..runs).map(|_| self.grant(definition)).collect();
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

    /// Waits until so many runs have succeeded.
    pub(crate) async fn ended_well(&self, runs: usize) {
        self.ended(runs).await.unwrap_or_else(|why| panic!("{why}"));
    }

    /// One run to see whether a definition runs here: with so many requests, besides those for lists. If not, why.
    pub(crate) async fn probe(&self, definition: &Value, requests: u64) -> Result<(), String> {
        self.upstream.reset();
        self.offer(definition, 1).await;
        self.ended(1).await?;
        match self.upstream.seen().requests {
            found if found == requests => Ok(()),
            found => Err(format!("it sent {found} requests instead of {requests}")),
        }
    }

    async fn ended(&self, runs: usize) -> Result<(), String> {
        let ends = timeout(RUN_TIMEOUT, self.control_plane.ends(runs)).await.expect("the runs end in time");
        match ends.iter().find(|end| end.outcome() != wire::ExecutionOutcome::Succeeded) {
            None => Ok(()),
            Some(end) => Err(end.error.as_ref().map_or_else(
                || format!("a run ended {:?}", end.outcome()),
                |fault| format!("{} {}", fault.code, fault.message),
            )),
        }
    }

    /// Waits for something of the upstream.
    pub(crate) async fn until(&self, what: &str, mut there: impl FnMut(&BenchUpstream) -> bool) {
        eventually(what, async || holds(there(&self.upstream), self.upstream.seen().requests)).await;
    }

    pub(crate) async fn stop(mut self) {
        let ended = self.executor.stop(ProcessSignal::Term, STOP_TIMEOUT).await;
        assert!(ended.is_some_and(|status| status.success()), "the executor ended with {ended:?}");
        self.redis.stop().await;
    }

    fn grant(&self, definition: &Value) -> wire::LeaseGrant {
        let lease_id = Uuid::now_v7().to_string();
        let now = prost_types::Timestamp { seconds: 1_760_000_000, nanos: 0 };
        let text = definition.to_string();
        wire::LeaseGrant {
            lease_token: lease_id.clone().into(),
            lease_id,
            tenant_id: TENANT.to_owned(),
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
    let mut command = machine::pinned(machine::MEASURED);
    command.push(stack::binary("orchid-executor").display().to_string());
    let mut program = ChildCommand::new(command.remove(0))
        .args(command)
        .without_env(orchid_variables())
        .log(File::create(log).expect("a log"));
    for (name, value) in settings {
        program = program.env(*name, value);
    }
    program.spawn().expect("the executor starts")
}
