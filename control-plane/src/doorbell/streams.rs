//! Writes to the streams and maintains them. Needs Redis 7.0.

use std::collections::HashSet;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::streams::{StreamInfoConsumersReply, StreamPendingCountReply};
use redis::{AsyncCommands as _, RedisError};
use uuid::Uuid;

use super::{GROUP, stream};

/// Approximate maximum entries of a stream. The relay rings again for work whose entry was trimmed.
const MAX_ENTRIES: usize = 10_000;
/// Age from which pending entries are useless: their work was granted, or is rung again.
const STALE_AFTER_MS: usize = 60_000;
/// Maximum pending entries that one maintenance run looks at.
const MAX_PENDING: usize = 1000;
const TIMEOUT: Duration = Duration::from_secs(2);

/// An error of Redis.
#[derive(Debug, thiserror::Error)]
#[error("doorbell: {0}")]
pub struct DoorbellError(#[from] RedisError);

/// The contents of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorbellEntry {
    /// The execution that is ready.
    pub execution_id: Uuid,
    /// Tenant of the execution.
    pub tenant_id: Uuid,
    /// W3C trace context of the trigger or the schedule.
    pub traceparent: String,
}

/// The streams of all pools. Cloning is cheap.
#[derive(Clone)]
pub struct Doorbell {
    connection: ConnectionManager,
    prefix: String,
}

impl Doorbell {
    /// Creates a doorbell that connects at its first use, so that a server starts without Redis.
    ///
    /// # Errors
    /// The URL is invalid.
    pub fn new(url: &str, prefix: &str) -> Result<Self, DoorbellError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let connection = ConnectionManager::new_lazy_with_config(redis::Client::open(url)?, config)?;
        Ok(Self { connection, prefix: prefix.to_owned() })
    }

    /// Checks that Redis answers.
    ///
    /// # Errors
    /// Redis fails.
    pub async fn check(&self) -> Result<(), DoorbellError> {
        let mut connection = self.connection.clone();
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        Ok(())
    }

    /// Adds entries to the stream of a pool.
    ///
    /// # Errors
    /// Redis fails.
    pub async fn ring(&self, pool: &str, entries: &[DoorbellEntry]) -> Result<(), DoorbellError> {
        let stream = stream(&self.prefix, pool);
        let mut pipe = redis::pipe();
        for entry in entries {
            pipe.cmd("XADD").arg(&stream).arg("MAXLEN").arg("~").arg(MAX_ENTRIES).arg("*");
            pipe.arg("execution_id").arg(entry.execution_id.to_string());
            pipe.arg("tenant_id").arg(entry.tenant_id.to_string());
            pipe.arg("traceparent").arg(&entry.traceparent).ignore();
        }
        let mut connection = self.connection.clone();
        pipe.query_async::<()>(&mut connection).await?;
        Ok(())
    }

    /// Creates a pool's stream and group if they are missing, deletes stale pending entries, and
    /// removes consumers whose session is gone.
    ///
    /// # Errors
    /// Redis fails.
    pub async fn maintain(&self, pool: &str, live_sessions: &HashSet<String>) -> Result<(), DoorbellError> {
        let stream = stream(&self.prefix, pool);
        self.create_group(&stream).await?;
        self.delete_stale(&stream).await?;
        self.remove_consumers(&stream, live_sessions).await
    }

    async fn create_group(&self, stream: &str) -> Result<(), DoorbellError> {
        let mut connection = self.connection.clone();
        match connection.xgroup_create_mkstream::<_, _, _, ()>(stream, GROUP, "0").await {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            other => Ok(other?),
        }
    }

    async fn delete_stale(&self, stream: &str) -> Result<(), DoorbellError> {
        let mut connection = self.connection.clone();
        let mut pending = redis::cmd("XPENDING");
        pending.arg(stream).arg(GROUP).arg("IDLE").arg(STALE_AFTER_MS).arg("-").arg("+").arg(MAX_PENDING);
        let stale: StreamPendingCountReply = pending.query_async(&mut connection).await?;
        let ids: Vec<String> = stale.ids.into_iter().map(|pending| pending.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut pipe = redis::pipe();
        pipe.xack(stream, GROUP, &ids).ignore().xdel(stream, &ids).ignore();
        pipe.query_async::<()>(&mut connection).await?;
        Ok(())
    }

    async fn remove_consumers(
        &self,
        stream: &str,
        live_sessions: &HashSet<String>,
    ) -> Result<(), DoorbellError> {
        let mut connection = self.connection.clone();
        let reply: StreamInfoConsumersReply = connection.xinfo_consumers(stream, GROUP).await?;
        for consumer in reply.consumers {
            // Removing a consumer drops its pending entries. They are deleted first, once stale.
            if consumer.pending == 0 && !live_sessions.contains(&consumer.name) {
                connection.xgroup_delconsumer::<_, _, _, ()>(stream, GROUP, &consumer.name).await?;
            }
        }
        Ok(())
    }
}
