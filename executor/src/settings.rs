//! Settings of the executor, section by section. Each section is what builds its part.

use std::net::SocketAddr;
use std::time::Duration;

use orchid_kit::settings::{Secret, SettingsReader};
use orchid_kit::telemetry::TelemetrySettings;

use crate::fetch::{AddressGuard, Cidr};
use crate::sink::TopicNames;

/// Everything an executor is told.
pub struct Settings {
    /// Where the control plane is.
    pub control_plane: ControlPlaneSettings,
    /// Who this executor is.
    pub executor: ExecutorSettings,
    /// Where the doorbell is; holds a password.
    pub redis_url: Secret,
    /// Where messages go.
    pub kafka: KafkaSettings,
    /// What requests may reach.
    pub fetch: FetchSettings,
    /// Address of the health port.
    pub listen: SocketAddr,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
}

/// Where the control plane is.
#[derive(Debug, Clone)]
pub struct ControlPlaneSettings {
    /// Addresses of its replicas.
    pub urls: Vec<http::Uri>,
}

/// Who this executor is and how much it takes.
pub struct ExecutorSettings {
    /// The pool it joins.
    pub pool: String,
    /// The pool's token.
    pub pool_token: Secret,
    /// Name for people.
    pub name: String,
    /// Runs at once.
    pub slots: usize,
    /// How long a drain may take.
    pub drain: Duration,
}

/// Where messages go.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `host:port` of some brokers.
    pub brokers: Vec<String>,
    /// What the topics are called.
    pub topics: TopicNames,
    /// Largest message, headers included.
    pub message_max_bytes: usize,
    /// A run parks when nothing of it was acknowledged for so long.
    pub sink_timeout: Duration,
    /// Make missing topics.
    pub create_topics: bool,
}

/// What requests may reach.
#[derive(Debug, Clone)]
pub struct FetchSettings {
    /// Ranges that the address guard opens.
    pub allow_private: Vec<Cidr>,
}

impl Settings {
    /// Reads all sections. `host` and `pid` make the default name.
    pub fn read(reader: &mut SettingsReader, host: &str, pid: u32) -> Settings {
        Settings {
            control_plane: ControlPlaneSettings::read(reader),
            executor: ExecutorSettings::read(reader, host, pid),
            redis_url: reader
                .required_secret("redis.url", "Redis with the doorbell, redis://[user:password@]host:port"),
            kafka: KafkaSettings::read(reader),
            fetch: FetchSettings::read(reader),
            listen: reader.parsed(
                "listen",
                SocketAddr::from(([127, 0, 0, 1], 0)),
                "address of the health port",
            ),
            telemetry: TelemetrySettings::read(reader),
        }
    }
}

impl ControlPlaneSettings {
    fn read(reader: &mut SettingsReader) -> ControlPlaneSettings {
        let texts =
            reader.required_list("control_plane.urls", "the control plane's replicas, http(s)://host:port");
        let mut urls = Vec::with_capacity(texts.len());
        for text in texts {
            match text.parse::<http::Uri>() {
                Ok(url)
                    if url.authority().is_some() && matches!(url.scheme_str(), Some("http" | "https")) =>
                {
                    urls.push(url);
                }
                Ok(_) | Err(_) => {
                    reader.invalid("control_plane.urls", format!("`{text}` is not http(s)://host:port"));
                }
            }
        }
        ControlPlaneSettings { urls }
    }
}

impl ExecutorSettings {
    fn read(reader: &mut SettingsReader, host: &str, pid: u32) -> ExecutorSettings {
        let slots = reader.number("slots", 64, 1..=10_000, "runs at once");
        ExecutorSettings {
            pool: reader.text("pool", "default", "the pool to join"),
            pool_token: reader.required_secret("pool_token", "the pool's token"),
            name: reader.text("name", &format!("{host}-{pid}"), "name of this executor, for people"),
            slots: usize::try_from(slots).unwrap_or(usize::MAX),
            drain: reader.milliseconds("drain_ms", 30_000, "how long a drain may take after SIGTERM"),
        }
    }
}

impl KafkaSettings {
    fn read(reader: &mut SettingsReader) -> KafkaSettings {
        let max = reader.number(
            "kafka.message_max_bytes",
            1 << 20,
            (64 << 10)..=(1 << 30),
            "largest message, headers included; at most what the topics take",
        );
        KafkaSettings {
            brokers: reader.required_list("kafka.brokers", "Kafka, host:port of some brokers"),
            topics: TopicNames {
                responses: reader.text("kafka.topic_responses", "api-responses", "topic of the pages"),
                errors: reader.text("kafka.topic_errors", "api-errors", "topic of what went wrong"),
                events: reader.text("kafka.topic_events", "execution-events", "topic of starts and ends"),
            },
            message_max_bytes: usize::try_from(max).unwrap_or(usize::MAX),
            sink_timeout: reader.milliseconds(
                "kafka.sink_timeout_ms",
                30_000,
                "a run parks when Kafka acknowledged nothing of it for so long",
            ),
            create_topics: reader.flag("kafka.create_topics", false, "make missing topics; for development"),
        }
    }
}

impl FetchSettings {
    fn read(reader: &mut SettingsReader) -> FetchSettings {
        let texts = reader.list(
            "fetch.allow_private",
            &[],
            "address ranges that plans may reach although they are not public",
        );
        let mut allow_private = Vec::with_capacity(texts.len());
        for text in texts {
            match text.parse::<Cidr>() {
                Ok(range) => allow_private.push(range),
                Err(error) => reader.invalid("fetch.allow_private", error.to_string()),
            }
        }
        FetchSettings { allow_private }
    }

    /// The guard that these settings ask for.
    pub fn guard(&self) -> AddressGuard {
        AddressGuard::new(self.allow_private.clone())
    }
}

#[cfg(test)]
mod tests {
    use orchid_kit::settings::SettingsSources;

    use super::*;

    const LEAST: &str = "pool_token = 't'\ncontrol_plane.urls = ['http://127.0.0.1:7400']\nredis.url = 'redis://r'\nkafka.brokers = ['k:9092']\n";

    fn read(toml: &str) -> Result<Settings, Vec<String>> {
        let sources = SettingsSources::from_text(toml, Vec::<(String, String)>::new()).unwrap();
        sources.read(|reader| Settings::read(reader, "host", 7)).map_err(|faults| {
            faults.0.into_iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect()
        })
    }

    #[test]
    fn wrong_urls_and_ranges_are_told_together() {
        let text = LEAST.replace("http://127.0.0.1:7400", "127.0.0.1:7400")
            + "fetch.allow_private = ['10.0.0.0/99']";
        assert_eq!(
            read(&text).err().unwrap(),
            [
                "control_plane.urls: `127.0.0.1:7400` is not http(s)://host:port",
                "fetch.allow_private: \"10.0.0.0/99\" is no range of addresses such as 10.0.0.0/8",
            ]
        );
    }

    #[test]
    fn the_least_settings_bring_the_defaults() {
        let settings = read(LEAST).unwrap_or_else(|faults| panic!("{faults:?}"));
        assert_eq!(settings.executor.name, "host-7");
        assert_eq!(settings.executor.slots, 64);
        assert_eq!(settings.kafka.topics.responses, "api-responses");
        assert_eq!(settings.kafka.topics.errors, "api-errors");
        assert_eq!(settings.kafka.topics.events, "execution-events");
        assert_eq!(settings.kafka.message_max_bytes, 1024 * 1024);
        assert!(!settings.kafka.create_topics, "topics are the operator's");
        assert_eq!(settings.kafka.sink_timeout, Duration::from_secs(30));
        assert!(settings.fetch.guard().check("127.0.0.1".parse().unwrap()).is_err());
    }
}
