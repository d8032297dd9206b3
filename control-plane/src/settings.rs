//! Settings of the operator. They are read once, at the start; each part of the process gets its
//! own section.

use std::net::SocketAddr;
use std::time::Duration;

use orchid_kit::settings::{Secret, SettingDoc, SettingsReader, describe_settings};
use orchid_kit::telemetry::TelemetrySettings;

/// Settings of `serve`.
pub struct Settings {
    /// Address of the gRPC port.
    pub listen: SocketAddr,
    /// Connections to Postgres.
    pub postgres: PostgresSettings,
    /// Connection to the doorbell's Redis.
    pub redis: RedisSettings,
    /// Authentication of tenants and operators.
    pub auth: AuthMode,
    /// Pools with the token that an executor needs to join each.
    pub pool_tokens: Vec<(String, Secret)>,
    /// Master keys that encrypt secrets and sign tokens.
    pub keys: KeySettings,
    /// Time after which a session without heartbeat expires.
    pub lease_ttl: Duration,
    /// Intervals of the background loops.
    pub loops: LoopSettings,
    /// Time limits of executions.
    pub executions: ExecutionSettings,
    /// Rate limits of one client.
    pub requests: RequestSettings,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
}

/// Connections to Postgres. The URLs contain passwords.
pub struct PostgresSettings {
    /// URL with the role `orchid_app`, for requests of users.
    pub app_url: Secret,
    /// URL with the role `orchid_fleet`, for background loops and executors.
    pub fleet_url: Secret,
    /// Maximum number of connections per role.
    pub pool_size: u32,
}

/// Connection to Redis.
pub struct RedisSettings {
    /// URL; contains a password.
    pub url: Secret,
    /// Prefix of every key.
    pub prefix: String,
}

/// Authentication of tenants and operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// No authentication: the server trusts the tenant id in `x-tenant-id`.
    Development,
}

/// The master keys.
pub struct KeySettings {
    /// Id and base64 of the key that seals new secrets and tokens.
    pub current: (String, Secret),
    /// Id and base64 of keys that only open: older ones, and the next one before it is current.
    pub others: Vec<(String, Secret)>,
}

/// Intervals of the background loops.
#[derive(Debug, Clone)]
pub struct LoopSettings {
    /// Time between two scans for due schedules.
    pub scheduler_interval: Duration,
    /// Time between two scans for ready executions to announce.
    pub relay_interval: Duration,
    /// Time after which an announcement without reaction is repeated.
    pub relay_rering_after: Duration,
    /// Time between two scans for expired sessions.
    pub reaper_interval: Duration,
    /// Time added to `lease_ttl` before the reaper takes back the leases of a session.
    pub reaper_grace: Duration,
}

/// Time limits of executions.
#[derive(Debug, Clone)]
pub struct ExecutionSettings {
    /// Longest wait of an execution that keeps its executor; a longer one parks it.
    pub park_after: Duration,
    /// Longest wait that an upstream may ask for; a longer one fails the execution.
    pub max_wait: Duration,
    /// Age at which an execution fails.
    pub max_age: Duration,
    /// Time that an executor has to cancel an execution; doubled if an upstream job must be
    /// cancelled too.
    pub cancel_after: Duration,
    /// Time for which ended executions and their history are kept.
    pub history_retention: Duration,
}

/// Rate limits of one client of the gRPC port. A client is a tenant, a session or a peer address.
#[derive(Debug, Clone)]
pub struct RequestSettings {
    /// Sustained requests per second.
    pub per_second: u32,
    /// Requests allowed in one burst.
    pub burst: u32,
}

/// Settings of `migrate`.
pub struct MigrateSettings {
    /// URL with the owner of the schema, who must be allowed to create roles.
    pub owner_url: Secret,
    /// URL that contains the password for `orchid_app`.
    pub app_url: Option<Secret>,
    /// URL that contains the password for `orchid_fleet`.
    pub fleet_url: Option<Secret>,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
}

impl Settings {
    /// Reads every setting of `serve`.
    pub fn read(reader: &mut SettingsReader) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 7400));
        Self {
            listen: reader.parsed("listen", listen, "address of the gRPC port; port 0 picks a free port"),
            postgres: PostgresSettings::read(reader),
            redis: RedisSettings {
                url: reader.required_secret("redis.url", "URL of the Redis that carries the doorbell"),
                prefix: reader.text("redis.prefix", "orchid", "prefix of every key in Redis"),
            },
            auth: reader
                .required_choice(
                    "auth.mode",
                    &[("development", AuthMode::Development)],
                    "authentication of callers; development trusts the x-tenant-id metadata without any check",
                )
                .unwrap_or(AuthMode::Development),
            pool_tokens: reader.required_secrets_by_name(
                "fleet.pool_tokens",
                "list of pool=token: the pools of executors, and the token that an executor needs to join each",
            ),
            keys: KeySettings::read(reader),
            lease_ttl: Duration::from_millis(reader.number(
                "lease.ttl_ms",
                30_000,
                500..=600_000,
                "time after which an executor without heartbeat loses its session and its leases",
            )),
            loops: LoopSettings::read(reader),
            executions: ExecutionSettings::read(reader),
            requests: RequestSettings::read(reader),
            telemetry: TelemetrySettings::read(reader),
        }
    }
}

impl PostgresSettings {
    fn read(reader: &mut SettingsReader) -> Self {
        // Only `migrate` uses it, but both commands read the same file, and unknown settings are
        // errors.
        reader.optional_secret(
            "postgres.owner_url",
            "Postgres URL of the schema's owner, who can create roles; required by migrate, ignored by serve",
        );
        Self {
            app_url: reader.required_secret(
                "postgres.app_url",
                "Postgres URL with role orchid_app, for requests of users",
            ),
            fleet_url: reader.required_secret(
                "postgres.fleet_url",
                "Postgres URL with role orchid_fleet, for background loops and executors",
            ),
            pool_size: u32::try_from(reader.number(
                "postgres.pool_size",
                16,
                2..=1000,
                "maximum number of Postgres connections per role",
            ))
            .unwrap_or(16),
        }
    }
}

impl KeySettings {
    fn read(reader: &mut SettingsReader) -> Self {
        let master = reader.required_secret("keys.master", "master key: base64 of 32 random bytes");
        let master_id = reader
            .required_text("keys.master_id", "id of the master key; stored with everything that it seals");
        let previous =
            reader.optional_secret("keys.previous", "previous master key: still opens what it sealed");
        let previous_id = reader.optional_text("keys.previous_id", "id of the previous master key");
        let mut others = reader.optional_secrets_by_name(
            "keys.others",
            "list of id=key: master keys that open what they sealed, and the next one before it becomes keys.master",
        );
        match (previous_id, previous) {
            (Some(id), Some(key)) => others.push((id, key)),
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => {
                reader.invalid("keys.previous", "set both keys.previous and keys.previous_id, or neither");
            }
        }
        Self { current: (master_id, master), others }
    }
}

impl LoopSettings {
    fn read(reader: &mut SettingsReader) -> Self {
        Self {
            scheduler_interval: interval(
                reader,
                "scheduler.interval_ms",
                500,
                "time between two scans for due schedules",
            ),
            relay_interval: interval(
                reader,
                "relay.interval_ms",
                50,
                "time between two scans for ready executions to announce to executors, while some wait",
            ),
            relay_rering_after: interval(
                reader,
                "relay.rering_after_ms",
                5000,
                "time after which an announced execution that no executor has acquired is announced again",
            ),
            reaper_interval: interval(
                reader,
                "reaper.interval_ms",
                1000,
                "time between two scans for expired executor sessions",
            ),
            reaper_grace: interval(
                reader,
                "reaper.grace_ms",
                5000,
                "time added to lease.ttl_ms before the leases of a silent executor are taken back",
            ),
        }
    }
}

impl ExecutionSettings {
    fn read(reader: &mut SettingsReader) -> Self {
        let day = 24 * 60 * 60;
        let settings = Self {
            park_after: reader.seconds(
                "runs.park_after_seconds",
                30,
                "an execution that has to wait longer than this is parked and frees its executor",
            ),
            max_wait: reader.seconds(
                "runs.max_wait_seconds",
                day,
                "an execution that an upstream tells to wait longer than this fails with WAIT_TOO_LONG",
            ),
            max_age: reader.seconds(
                "runs.max_run_age_seconds",
                7 * day,
                "an execution older than this fails",
            ),
            cancel_after: interval(
                reader,
                "runs.cancel_after_ms",
                30_000,
                "time that an executor has to cancel an execution before the server ends it; doubled if an upstream job must be cancelled too",
            ),
            history_retention: Duration::from_secs(
                day * reader.number(
                    "history.retention_days",
                    30,
                    8..=3650,
                    "days for which ended executions and their history are kept",
                ),
            ),
        };
        if settings.max_age >= settings.history_retention {
            reader.invalid(
                "runs.max_run_age_seconds",
                "must be shorter than history.retention_days, so that no execution outlives its history",
            );
        }
        settings
    }
}

impl RequestSettings {
    fn read(reader: &mut SettingsReader) -> Self {
        let mut count = |key, default, doc| {
            u32::try_from(reader.number(key, default, 1..=1_000_000, doc)).unwrap_or(u32::MAX)
        };
        Self {
            per_second: count("requests.per_second", 1000, "sustained requests per second of one tenant"),
            burst: count("requests.burst", 5000, "requests that one tenant may send in a burst"),
        }
    }
}

impl MigrateSettings {
    /// Reads the settings of `migrate`. The file is shared with `serve`, so the settings of `serve`
    /// are accepted and ignored.
    pub fn read(reader: &mut SettingsReader) -> Self {
        let settings = Self {
            owner_url: reader.required_secret(
                "postgres.owner_url",
                "Postgres URL of the schema's owner, who can create roles",
            ),
            app_url: reader.optional_secret(
                "postgres.app_url",
                "Postgres URL with role orchid_app; its password is set in the database",
            ),
            fleet_url: reader.optional_secret(
                "postgres.fleet_url",
                "Postgres URL with role orchid_fleet; its password is set in the database",
            ),
            telemetry: TelemetrySettings::read(reader),
        };
        let own = ["postgres.owner_url", "postgres.app_url", "postgres.fleet_url"];
        for SettingDoc { key, .. } in describe_settings(Settings::read) {
            let ours = own.contains(&key.as_str()) || key.starts_with("log.") || key.starts_with("otlp.");
            if !ours {
                reader.list(&key, &[], "used by serve only");
            }
        }
        settings
    }
}

fn interval(reader: &mut SettingsReader, key: &str, default_ms: u64, doc: &'static str) -> Duration {
    Duration::from_millis(reader.number(key, default_ms, 1..=86_400_000, doc))
}

#[cfg(test)]
mod tests {
    use orchid_kit::settings::SettingsSources;

    use super::*;

    const FILE: &str = "
        auth.mode = 'development'
        fleet.pool_tokens = ['default=t']
        [postgres]
        owner_url = 'postgres://o@h/d'
        app_url = 'postgres://a@h/d'
        fleet_url = 'postgres://f@h/d'
        [redis]
        url = 'redis://h'
        [keys]
        master = 'k'
        master_id = 'm'
    ";

    #[test]
    fn one_file_configures_both_commands() {
        let serve = SettingsSources::from_text::<&str, &str>(FILE, []).unwrap().read(Settings::read).unwrap();
        assert_eq!(serve.lease_ttl, Duration::from_secs(30));
        let migrate =
            SettingsSources::from_text::<&str, &str>(FILE, []).unwrap().read(MigrateSettings::read).unwrap();
        assert_eq!(migrate.owner_url.expose(), "postgres://o@h/d");
    }

    #[test]
    fn previous_key_without_id_is_refused() {
        let file = format!("{FILE}previous = 'k'");
        let faults =
            SettingsSources::from_text::<&str, &str>(&file, []).unwrap().read(Settings::read).err().unwrap();
        assert_eq!(faults.0[0].key, "keys.previous");
    }

    #[test]
    fn execution_age_beyond_history_is_refused() {
        let file = format!("history.retention_days = 8\nruns.max_run_age_seconds = 864000\n{FILE}");
        let faults =
            SettingsSources::from_text::<&str, &str>(&file, []).unwrap().read(Settings::read).err().unwrap();
        assert_eq!(faults.0[0].key, "runs.max_run_age_seconds");
    }
}
