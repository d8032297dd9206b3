//! The settings of the stack's child processes. Pure: computes them from addresses and secrets.

use std::path::PathBuf;

use super::secrets::DevSecrets;
use super::service::ChildSettings;
use super::state::KafkaState;

/// The pool that the executors join.
pub(super) const POOL: &str = "default";

/// The addresses that plans of a development stack may always reach.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// The addresses of Postgres and Redis.
#[derive(Debug, Clone)]
pub(super) struct ServerAddresses {
    /// Postgres URLs of the roles app, fleet and owner.
    pub postgres: [String; 3],
    /// The Redis URL.
    pub redis: String,
}

/// Returns the settings of the control plane for `serve`, or for `migrate`, which ignores `listen`.
pub(super) fn control_plane(
    program: PathBuf,
    command: &'static str,
    addresses: &ServerAddresses,
    secrets: &DevSecrets,
    listen: &str,
) -> ChildSettings {
    let [app, fleet, owner] = addresses.postgres.clone();
    let name = if command == "serve" { "control-plane" } else { command };
    ChildSettings {
        name: name.to_owned(),
        program,
        arguments: vec![command],
        settings: vec![
            ("ORCHID_LISTEN", listen.to_owned()),
            ("ORCHID_POSTGRES_APP_URL", app),
            ("ORCHID_POSTGRES_FLEET_URL", fleet),
            ("ORCHID_POSTGRES_OWNER_URL", owner),
            ("ORCHID_REDIS_URL", addresses.redis.clone()),
            ("ORCHID_AUTH_MODE", "development".to_owned()),
            ("ORCHID_FLEET_POOL_TOKENS", format!("{POOL}={}", secrets.pool_token)),
            ("ORCHID_KEYS_MASTER", secrets.master_key.clone()),
            ("ORCHID_KEYS_MASTER_ID", "dev-1".to_owned()),
        ],
    }
}

/// The settings of executors besides addresses and secrets.
#[derive(Debug)]
pub(super) struct ExecutorOptions<'a> {
    /// The control plane's address, `host:port`.
    pub control_plane: &'a str,
    /// The broker and the topics.
    pub kafka: &'a KafkaState,
    /// Whether executors create missing topics; the built-in broker has them already.
    pub create_topics: bool,
    /// Private address ranges that plans may reach, besides loopback.
    pub allow_private: &'a [String],
}

/// Returns the settings of an executor.
pub(super) fn executor(
    program: PathBuf,
    number: usize,
    addresses: &ServerAddresses,
    secrets: &DevSecrets,
    options: &ExecutorOptions<'_>,
) -> ChildSettings {
    let ExecutorOptions { control_plane, kafka, create_topics, allow_private } = options;
    let reachable: Vec<&str> =
        LOOPBACK.iter().copied().chain(allow_private.iter().map(String::as_str)).collect();
    let name = format!("executor-{number}");
    ChildSettings {
        name: name.clone(),
        program,
        arguments: Vec::new(),
        settings: vec![
            ("ORCHID_CONTROL_PLANE_URLS", format!("http://{control_plane}")),
            ("ORCHID_POOL", POOL.to_owned()),
            ("ORCHID_POOL_TOKEN", secrets.pool_token.clone()),
            ("ORCHID_NAME", name),
            ("ORCHID_REDIS_URL", addresses.redis.clone()),
            ("ORCHID_KAFKA_BROKERS", kafka.brokers.clone()),
            ("ORCHID_KAFKA_TOPIC_RESPONSES", kafka.topic_responses.clone()),
            ("ORCHID_KAFKA_TOPIC_ERRORS", kafka.topic_errors.clone()),
            ("ORCHID_KAFKA_TOPIC_EVENTS", kafka.topic_events.clone()),
            ("ORCHID_KAFKA_CREATE_TOPICS", create_topics.to_string()),
            ("ORCHID_FETCH_ALLOW_PRIVATE", reachable.join(",")),
            ("ORCHID_LISTEN", "127.0.0.1:0".to_owned()),
            ("ORCHID_DRAIN_MS", "5000".to_owned()),
        ],
    }
}
