//! Creates missing topics, for development. Never changes a topic that exists.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::settings::KafkaSettings;

const PARTITIONS: i32 = 6;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Creates those of the three topics that do not exist. A topic that cannot be created is logged.
///
/// # Errors
///
/// Fails when the client cannot be created or no broker responds in time.
pub async fn create_topics(settings: &KafkaSettings) -> Result<(), KafkaError> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", settings.brokers.join(",")).create()?;
    let names = [&settings.topics.responses, &settings.topics.errors, &settings.topics.events];
    let max_bytes = settings.message_max_bytes.to_string();
    let topics = names.map(|name| {
        NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1))
            .set("cleanup.policy", "delete")
            .set("max.message.bytes", &max_bytes)
    });
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
    for result in admin.create_topics(&topics, &options).await? {
        match result {
            Ok(topic) => tracing::info!(topic, partitions = PARTITIONS, "topic created"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, error)) => tracing::warn!(topic, %error, "topic not created"),
        }
    }
    Ok(())
}
