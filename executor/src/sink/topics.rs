//! Makes the topics, where settings ask for it: development only.
//!
//! In: names and brokers. Out: the topics exist, or a line in the log that says why they may not. It never changes a topic
//! that is there.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::settings::KafkaSettings;

const PARTITIONS: i32 = 6;
const DEADLINE: Duration = Duration::from_secs(10);

/// Creates what is missing of the three topics.
pub async fn create(settings: &KafkaSettings) -> Result<(), KafkaError> {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", settings.brokers.join(",")).create()?;
    let names = [&settings.topics.responses, &settings.topics.errors, &settings.topics.events];
    let max_bytes = settings.message_max_bytes.to_string();
    let topics = names.map(|name| {
        NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1))
            .set("cleanup.policy", "delete")
            .set("max.message.bytes", &max_bytes)
    });
    let options = AdminOptions::new().operation_timeout(Some(DEADLINE)).request_timeout(Some(DEADLINE));
    for made in admin.create_topics(&topics, &options).await? {
        match made {
            Ok(topic) => tracing::info!(topic, partitions = PARTITIONS, "topic created"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, error)) => tracing::warn!(topic, %error, "topic not created"),
        }
    }
    Ok(())
}
