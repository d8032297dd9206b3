//! The settings that the stack's children run with. Pure: addresses and secrets in, recipes out.

use std::path::PathBuf;

use super::{secrets::Secrets, service::Recipe, state::KafkaState};

/// The pool that the executors join.
pub(super) const POOL: &str = "default";

/// Addresses that all children need.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    /// Postgres urls of the roles app, fleet, owner.
    pub postgres: [String; 3],
    /// Redis.
    pub redis: String,
}

/// The control plane, to migrate (`listen` is not used then) or to serve.
pub(super) fn control_plane(
    program: PathBuf,
    command: &'static str,
    addresses: &Addresses,
    secrets: &Secrets,
    listen: &str,
) -> Recipe {
    let [app, fleet, owner] = addresses.postgres.clone();
    let name = if command == "serve" { "control-plane" } else { command };
    Recipe {
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

/// An executor. Topics are made by itself only where the broker is not the stack's own.
pub(super) fn executor(
    program: PathBuf,
    number: usize,
    control_plane: &str,
    addresses: &Addresses,
    secrets: &Secrets,
    kafka: &KafkaState,
    create_topics: bool,
) -> Recipe {
    let name = format!("executor-{number}");
    Recipe {
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
            ("ORCHID_FETCH_ALLOW_PRIVATE", "127.0.0.0/8,::1/128".to_owned()),
            ("ORCHID_LISTEN", "127.0.0.1:0".to_owned()),
            ("ORCHID_DRAIN_MS", "5000".to_owned()),
        ],
    }
}
