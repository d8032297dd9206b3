//! What the operator sets. Read once, at the start; each part of the process is given its own section.

use std::{net::SocketAddr, time::Duration};

use orchid_kit::{
    settings::{Secret, SettingDoc, SettingsReader, describe_settings},
    telemetry::TelemetrySettings,
};

/// Everything that `serve` needs.
pub struct Settings {
    /// Address of the gRPC port.
    pub listen: SocketAddr,
    /// The database.
    pub postgres: PostgresSettings,
    /// The doorbell's Redis.
    pub redis: RedisSettings,
    /// How callers say who they are.
    pub auth: AuthMode,
    /// Pools, and what an executor must present to join each.
    pub pool_tokens: Vec<(String, Secret)>,
    /// Master keys.
    pub keys: KeySettings,
    /// How long a session lives without a beat.
    pub lease_ttl: Duration,
    /// How often the loops go round.
    pub loops: LoopSettings,
    /// Limits of time for runs.
    pub runs: ExecutionSettings,
    /// How much one client may ask.
    pub requests: RequestSettings,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
}

/// How to reach Postgres. Urls hold passwords.
pub struct PostgresSettings {
    /// As `orchid_app`: requests of users.
    pub app_url: Secret,
    /// As `orchid_fleet`: loops and executors.
    pub fleet_url: Secret,
    /// Connections of each of the two, at most.
    pub pool_size: u32,
}

/// How to reach Redis.
pub struct RedisSettings {
    /// Its url; holds a password.
    pub url: Secret,
    /// First part of every key.
    pub prefix: String,
}

/// How callers say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// They are believed: the tenant is what `x-tenant-id` says.
    Development,
}

/// The master key in force, and the one before it.
pub struct KeySettings {
    /// Id and base64 of the key that seals.
    pub current: (String, Secret),
    /// Id and base64 of the key that still opens.
    pub previous: Option<(String, Secret)>,
}

/// How often the loops go round.
#[derive(Debug, Clone)]
pub struct LoopSettings {
    /// Between two looks for schedules that are due.
    pub scheduler_interval: Duration,
    /// Between two looks for work to ring for.
    pub relay_interval: Duration,
    /// After which a bell that nobody answered rings again.
    pub relay_rering_after: Duration,
    /// Between two looks for sessions that are gone.
    pub reaper_interval: Duration,
    /// How long a session may be late beyond its life.
    pub reaper_grace: Duration,
}

/// Limits of time for runs.
#[derive(Debug, Clone)]
pub struct ExecutionSettings {
    /// A wait longer than this parks a run.
    pub park_after: Duration,
    /// A run older than this ends as failed.
    pub max_age: Duration,
    /// How long an executor has to cancel a run; twice as long where an upstream has to be told.
    pub cancel_after: Duration,
    /// How long history is kept.
    pub history_retention: Duration,
}

/// How much one client may ask of the gRPC port; keyed by tenant, then by peer.
#[derive(Debug, Clone)]
pub struct RequestSettings {
    /// Requests a second, in the long run.
    pub per_second: u32,
    /// Requests at once.
    pub burst: u32,
}

/// What `migrate` needs.
pub struct MigrateSettings {
    /// As the owner of the schema, who may also make roles.
    pub owner_url: Secret,
    /// Where the password of `orchid_app` stands, if it has one.
    pub app_url: Option<Secret>,
    /// Where the password of `orchid_fleet` stands, if it has one.
    pub fleet_url: Option<Secret>,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
}

impl Settings {
    /// Asks for every setting of `serve`.
    pub fn read(reader: &mut SettingsReader) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 7400));
        Self {
            listen: reader.parsed("listen", listen, "address of the gRPC port; port 0 takes a free one"),
            postgres: PostgresSettings::read(reader),
            redis: RedisSettings {
                url: reader.required_secret("redis.url", "url of the Redis that holds the doorbell"),
                prefix: reader.text("redis.prefix", "orchid", "first part of every key in Redis"),
            },
            auth: reader
                .required_choice(
                    "auth.mode",
                    &[("development", AuthMode::Development)],
                    "how callers say who they are; development believes the x-tenant-id metadata",
                )
                .unwrap_or(AuthMode::Development),
            pool_tokens: reader.required_secrets_by_name(
                "fleet.pool_tokens",
                "list of pool=token: the pools, and what an executor presents to join each",
            ),
            keys: KeySettings::read(reader),
            lease_ttl: Duration::from_millis(reader.number(
                "lease.ttl_ms",
                30_000,
                500..=600_000,
                "how long an executor's session lives without a beat",
            )),
            loops: LoopSettings::read(reader),
            runs: ExecutionSettings::read(reader),
            requests: RequestSettings::read(reader),
            telemetry: TelemetrySettings::read(reader),
        }
    }
}

impl PostgresSettings {
    fn read(reader: &mut SettingsReader) -> Self {
        // For `migrate` alone: the server has no business with it, but shares the file.
        reader.optional_secret(
            "postgres.owner_url",
            "Postgres url of the schema's owner, who may make roles; migrate needs it, serve does not",
        );
        Self {
            app_url: reader
                .required_secret("postgres.app_url", "Postgres url as orchid_app, for users' requests"),
            fleet_url: reader.required_secret(
                "postgres.fleet_url",
                "Postgres url as orchid_fleet, for loops and executors",
            ),
            pool_size: u32::try_from(reader.number(
                "postgres.pool_size",
                16,
                2..=1000,
                "connections of each of the two roles, at most",
            ))
            .unwrap_or(16),
        }
    }
}

impl KeySettings {
    fn read(reader: &mut SettingsReader) -> Self {
        let master = reader.required_secret("keys.master", "master key: base64 of 32 random bytes");
        let master_id =
            reader.required_text("keys.master_id", "name of the master key; stored with what it seals");
        let previous =
            reader.optional_secret("keys.previous", "the master key before: what it sealed still opens");
        let previous_id = reader.optional_text("keys.previous_id", "name of the master key before");
        let previous = match (previous_id, previous) {
            (Some(id), Some(key)) => Some((id, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                reader.invalid("keys.previous", "keys.previous and keys.previous_id come together");
                None
            }
        };
        Self { current: (master_id, master), previous }
    }
}

impl LoopSettings {
    fn read(reader: &mut SettingsReader) -> Self {
        Self {
            scheduler_interval: every(
                reader,
                "scheduler.interval_ms",
                500,
                "between two looks for due schedules",
            ),
            relay_interval: every(reader, "relay.interval_ms", 50, "between two looks for work to ring for"),
            relay_rering_after: every(
                reader,
                "relay.rering_after_ms",
                5000,
                "after which a bell that nobody answered rings again",
            ),
            reaper_interval: every(
                reader,
                "reaper.interval_ms",
                1000,
                "between two looks for dead executors",
            ),
            reaper_grace: every(
                reader,
                "reaper.grace_ms",
                5000,
                "how long a session may be late beyond lease.ttl_ms",
            ),
        }
    }
}

impl ExecutionSettings {
    fn read(reader: &mut SettingsReader) -> Self {
        let day = 24 * 60 * 60;
        let settings = Self {
            park_after: reader.seconds("runs.park_after_seconds", 30, "a wait longer than this parks a run"),
            max_age: reader.seconds(
                "runs.max_run_age_seconds",
                7 * day,
                "a run older than this ends as failed",
            ),
            cancel_after: every(
                reader,
                "runs.cancel_after_ms",
                30_000,
                "how long an executor has to cancel a run before the server ends it; twice as long where an upstream has to be told",
            ),
            history_retention: Duration::from_secs(
                day * reader.number("history.retention_days", 30, 8..=3650, "how long executions are kept"),
            ),
        };
        if settings.max_age >= settings.history_retention {
            reader.invalid("runs.max_run_age_seconds", "must be shorter than history.retention_days");
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
            per_second: count(
                "requests.per_second",
                1000,
                "requests a second of one tenant, in the long run",
            ),
            burst: count("requests.burst", 5000, "requests of one tenant at once"),
        }
    }
}

impl MigrateSettings {
    /// Asks for what `migrate` needs. It reads the file of `serve`, so the names in it that are not its own are no faults.
    pub fn read(reader: &mut SettingsReader) -> Self {
        let settings = Self {
            owner_url: reader.required_secret("postgres.owner_url", "Postgres url of the schema's owner"),
            app_url: reader.optional_secret("postgres.app_url", "where the password of orchid_app stands"),
            fleet_url: reader
                .optional_secret("postgres.fleet_url", "where the password of orchid_fleet stands"),
            telemetry: TelemetrySettings::read(reader),
        };
        let own = ["postgres.owner_url", "postgres.app_url", "postgres.fleet_url"];
        for SettingDoc { key, .. } in describe_settings(Settings::read) {
            let ours = own.contains(&key.as_str()) || key.starts_with("log.") || key.starts_with("otlp.");
            if !ours {
                reader.list(&key, &[], "for serve");
            }
        }
        settings
    }
}

fn every(reader: &mut SettingsReader, key: &str, default_ms: u64, doc: &'static str) -> Duration {
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
    fn one_file_serves_both_commands() {
        let serve = SettingsSources::from_text::<&str, &str>(FILE, []).unwrap().read(Settings::read).unwrap();
        assert_eq!(serve.lease_ttl, Duration::from_secs(30));
        let migrate =
            SettingsSources::from_text::<&str, &str>(FILE, []).unwrap().read(MigrateSettings::read).unwrap();
        assert_eq!(migrate.owner_url.expose(), "postgres://o@h/d");
    }

    #[test]
    fn a_previous_key_without_its_name_is_a_fault() {
        let file = format!("{FILE}previous = 'k'");
        let faults =
            SettingsSources::from_text::<&str, &str>(&file, []).unwrap().read(Settings::read).err().unwrap();
        assert_eq!(faults.0[0].key, "keys.previous");
    }

    #[test]
    fn runs_may_not_outlive_their_history() {
        let file = format!("history.retention_days = 8\nruns.max_run_age_seconds = 864000\n{FILE}");
        let faults =
            SettingsSources::from_text::<&str, &str>(&file, []).unwrap().read(Settings::read).err().unwrap();
        assert_eq!(faults.0[0].key, "runs.max_run_age_seconds");
    }
}
