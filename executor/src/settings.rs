//! Settings of the executor, one section per part.

use std::net::SocketAddr;
use std::time::Duration;

use orchid_kit::settings::{Secret, SettingsReader};
use orchid_kit::telemetry::TelemetrySettings;

use crate::fetch::{AddressGuard, AddressRange};

/// All settings of an executor.
pub struct Settings {
    /// Addresses of the control plane.
    pub control_plane: ControlPlaneSettings,
    /// Identity and capacity of this executor.
    pub executor: ExecutorSettings,
    /// URL of the Redis that holds the doorbell; may contain a password.
    pub redis_url: Secret,
    /// Brokers, topics and limits of Kafka.
    pub kafka: KafkaSettings,
    /// Restrictions on HTTP requests.
    pub fetch: FetchSettings,
    /// Bound on the memory of attempts.
    pub memory: MemorySettings,
    /// Address of the health port.
    pub listen: SocketAddr,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
}

/// Addresses of the control plane.
#[derive(Debug, Clone)]
pub struct ControlPlaneSettings {
    /// URLs of its replicas.
    pub urls: Vec<http::Uri>,
}

/// Identity and capacity of this executor.
pub struct ExecutorSettings {
    /// Pool to join.
    pub pool: String,
    /// Token that authorizes joining the pool.
    pub pool_token: Secret,
    /// Name shown in logs and by the API.
    pub name: String,
    /// Number of executions to run at once, 1 to 10,000.
    pub slots: usize,
    /// Time limit of a drain.
    pub drain: Duration,
}

/// Brokers, topics and limits of Kafka.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// Bootstrap brokers, `host:port`.
    pub brokers: Vec<String>,
    /// Names of the topics.
    pub topics: TopicNames,
    /// Largest message, headers included, in bytes.
    pub message_max_bytes: usize,
    /// Time without any acknowledgement after which an execution parks.
    pub sink_timeout: Duration,
    /// True to create missing topics.
    pub create_topics: bool,
}

/// Names of the topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicNames {
    /// Topic of response pages.
    pub responses: String,
    /// Topic of errors.
    pub errors: String,
    /// Topic of execution starts and ends.
    pub events: String,
}

/// Bound on the memory of attempts.
#[derive(Debug, Clone)]
pub struct MemorySettings {
    /// Bytes of bodies, buffers and messages from which on new requests wait.
    pub max_bytes: u64,
}

/// Restrictions on HTTP requests.
#[derive(Debug, Clone)]
pub struct FetchSettings {
    /// Private address ranges that plans may reach.
    pub allow_private: Vec<AddressRange>,
}

impl Settings {
    /// Reads all sections. `host` and `pid` form the default name.
    pub fn read(reader: &mut SettingsReader, host: &str, pid: u32) -> Self {
        Self {
            control_plane: ControlPlaneSettings::read(reader),
            executor: ExecutorSettings::read(reader, host, pid),
            redis_url: reader.required_secret(
                "redis.url",
                "URL of the Redis that holds the doorbell, redis://[user:password@]host:port",
            ),
            kafka: KafkaSettings::read(reader),
            fetch: FetchSettings::read(reader),
            memory: MemorySettings::read(reader),
            listen: reader.parsed(
                "listen",
                SocketAddr::from(([127, 0, 0, 1], 0)),
                "address of the health port; port 0 picks a free one",
            ),
            telemetry: TelemetrySettings::read(reader),
        }
    }
}

impl ControlPlaneSettings {
    fn read(reader: &mut SettingsReader) -> Self {
        let texts = reader
            .required_list("control_plane.urls", "URLs of the control plane's replicas, http(s)://host:port");
        // Invalid URLs are recorded, not returned: the reader reports all invalid settings
        // together.
        let mut urls = Vec::with_capacity(texts.len());
        for text in texts {
            match text.parse::<http::Uri>() {
                Ok(url)
                    if url.authority().is_some() && matches!(url.scheme_str(), Some("http" | "https")) =>
                {
                    urls.push(url);
                }
                Ok(_) | Err(_) => {
                    reader.invalid(
                        "control_plane.urls",
                        format!("`{text}` is not a URL of the form http(s)://host:port"),
                    );
                }
            }
        }
        Self { urls }
    }
}

impl ExecutorSettings {
    fn read(reader: &mut SettingsReader, host: &str, pid: u32) -> Self {
        let slots = reader.number("slots", 64, 1..=10_000, "number of executions to run at once");
        Self {
            pool: reader.text("pool", "default", "pool to join"),
            pool_token: reader.required_secret("pool_token", "token that authorizes joining the pool"),
            name: reader.text(
                "name",
                &format!("{host}-{pid}"),
                "name of this executor, shown in logs and by the API",
            ),
            slots: usize::try_from(slots).unwrap_or(usize::MAX),
            drain: reader.milliseconds("drain_ms", 30_000, "time limit for draining after SIGTERM"),
        }
    }
}

impl KafkaSettings {
    fn read(reader: &mut SettingsReader) -> Self {
        let max = reader.number(
            "kafka.message_max_bytes",
            1 << 20,
            (64 << 10)..=(1 << 30),
            "largest message, headers included; must not exceed the topics' max.message.bytes",
        );
        Self {
            brokers: reader.required_list("kafka.brokers", "Kafka bootstrap brokers, host:port"),
            topics: TopicNames {
                responses: reader.text("kafka.topic_responses", "api-responses", "topic of response pages"),
                errors: reader.text("kafka.topic_errors", "api-errors", "topic of errors"),
                events: reader.text(
                    "kafka.topic_events",
                    "execution-events",
                    "topic of execution starts and ends",
                ),
            },
            message_max_bytes: usize::try_from(max).unwrap_or(usize::MAX),
            sink_timeout: reader.milliseconds(
                "kafka.sink_timeout_ms",
                30_000,
                "time without any acknowledgement from Kafka after which an execution parks",
            ),
            create_topics: reader.flag(
                "kafka.create_topics",
                false,
                "create missing topics; for development only",
            ),
        }
    }
}

impl MemorySettings {
    fn read(reader: &mut SettingsReader) -> Self {
        let max_bytes = reader.number(
            "memory.max_bytes",
            512 << 20,
            (32 << 20)..=(1 << 40),
            "bytes of bodies, buffers and unacknowledged messages that all executions together may hold",
        );
        Self { max_bytes }
    }
}

impl FetchSettings {
    fn read(reader: &mut SettingsReader) -> Self {
        let texts = reader.list(
            "fetch.allow_private",
            &[],
            "private address ranges that plans may reach, such as 10.0.0.0/8",
        );
        let mut allow_private = Vec::with_capacity(texts.len());
        for text in texts {
            match text.parse::<AddressRange>() {
                Ok(range) => allow_private.push(range),
                Err(error) => reader.invalid("fetch.allow_private", error.to_string()),
            }
        }
        Self { allow_private }
    }

    /// Builds the address guard.
    pub fn guard(&self) -> AddressGuard {
        AddressGuard::new(self.allow_private.clone())
    }
}

#[cfg(test)]
mod tests {
    use orchid_kit::settings::SettingsSources;

    use super::*;

    const MINIMAL: &str = "pool_token = 't'\ncontrol_plane.urls = ['http://127.0.0.1:7400']\nredis.url = 'redis://r'\nkafka.brokers = ['k:9092']\n";

    fn read(toml: &str) -> Result<Settings, Vec<String>> {
        let sources = SettingsSources::from_text(toml, Vec::<(String, String)>::new()).unwrap();
        sources.read(|reader| Settings::read(reader, "host", 7)).map_err(|faults| {
            faults.0.into_iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect()
        })
    }

    #[test]
    fn invalid_urls_and_ranges_are_reported_together() {
        let text = MINIMAL.replace("http://127.0.0.1:7400", "127.0.0.1:7400")
            + "fetch.allow_private = ['10.0.0.0/99']";
        assert_eq!(
            read(&text).err().unwrap(),
            [
                "control_plane.urls: `127.0.0.1:7400` is not a URL of the form http(s)://host:port",
                "fetch.allow_private: \"10.0.0.0/99\" is not an address range such as 10.0.0.0/8",
            ]
        );
    }

    #[test]
    fn minimal_settings_use_the_defaults() {
        let settings = read(MINIMAL).unwrap_or_else(|faults| panic!("{faults:?}"));
        assert_eq!(settings.executor.name, "host-7");
        assert_eq!(settings.executor.slots, 64);
        assert_eq!(settings.kafka.topics.responses, "api-responses");
        assert_eq!(settings.kafka.topics.errors, "api-errors");
        assert_eq!(settings.kafka.topics.events, "execution-events");
        assert_eq!(settings.kafka.message_max_bytes, 1024 * 1024);
        assert!(!settings.kafka.create_topics, "operators create topics themselves");
        assert_eq!(settings.kafka.sink_timeout, Duration::from_secs(30));
        assert!(settings.fetch.guard().check("127.0.0.1".parse().unwrap()).is_err());
    }
}
