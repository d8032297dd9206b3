//! Rings, and keeps the streams tidy. Written for Redis 7.0.

use std::collections::HashSet;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::streams::{StreamInfoConsumersReply, StreamPendingCountReply};
use redis::{AsyncCommands as _, RedisError};
use std::time::Duration;
use uuid::Uuid;

use super::{GROUP, stream};

/// A stream keeps about so many entries; work whose entry was trimmed is rung again.
const MAX_ENTRIES: usize = 10_000;
/// Pending entries older than this are of no use: what they rang for was granted, or is rung again.
const STALE_AFTER_MS: usize = 60_000;
/// Pending entries that one pass looks at.
const MAX_PENDING: usize = 1000;
const TIMEOUT: Duration = Duration::from_secs(2);

/// Why the doorbell did not ring.
#[derive(Debug, thiserror::Error)]
#[error("doorbell: {0}")]
pub struct DoorbellError(#[from] RedisError);

/// What an entry says, and all that it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorbellEntry {
    /// The execution that is ready.
    pub execution_id: Uuid,
    /// Its tenant.
    pub tenant_id: Uuid,
    /// W3C trace context of what made it.
    pub traceparent: String,
}

/// The streams of all pools; cheap to clone.
#[derive(Clone)]
pub struct Doorbell {
    connection: ConnectionManager,
    prefix: String,
}

impl Doorbell {
    /// Connects lazily: that Redis is away is no reason not to start.
    pub fn new(url: &str, prefix: &str) -> Result<Self, DoorbellError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let connection = ConnectionManager::new_lazy_with_config(redis::Client::open(url)?, config)?;
        Ok(Self { connection, prefix: prefix.to_owned() })
    }

    /// Rings for some executions of a pool.
    pub async fn ring(&self, pool: &str, rings: &[DoorbellEntry]) -> Result<(), DoorbellError> {
        let stream = stream(&self.prefix, pool);
        let mut pipe = redis::pipe();
        for ring in rings {
            pipe.cmd("XADD").arg(&stream).arg("MAXLEN").arg("~").arg(MAX_ENTRIES).arg("*");
            pipe.arg("execution_id").arg(ring.execution_id.to_string());
            pipe.arg("tenant_id").arg(ring.tenant_id.to_string());
            pipe.arg("traceparent").arg(&ring.traceparent).ignore();
        }
        let mut connection = self.connection.clone();
        pipe.query_async::<()>(&mut connection).await?;
        Ok(())
    }

    /// Makes the pool's stream and group where they are missing, deletes stale pending entries, and removes consumers whose session is gone.
    pub async fn maintain(&self, pool: &str, live_sessions: &HashSet<String>) -> Result<(), DoorbellError> {
        let stream = stream(&self.prefix, pool);
        self.make_group(&stream).await?;
        self.delete_stale(&stream).await?;
        self.remove_consumers(&stream, live_sessions).await
    }

    async fn make_group(&self, stream: &str) -> Result<(), DoorbellError> {
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
        let ids: Vec<String> = stale.ids.into_iter().map(|entry| entry.id).collect();
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
            // What it left pending is not stale yet: the next pass.
            if consumer.pending == 0 && !live_sessions.contains(&consumer.name) {
                connection.xgroup_delconsumer::<_, _, _, ()>(stream, GROUP, &consumer.name).await?;
            }
        }
        Ok(())
    }
}
