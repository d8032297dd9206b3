//! The doorbell's Redis streams, read as one consumer of the pool's group.
//!
//! Each operation works on all streams of the session. Streams and groups that are missing, because
//! Redis was wiped or trimmed, are created again on the way.

use std::sync::Arc;
use std::time::Duration;

use orchid_proto::executor::v1 as wire;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamAutoClaimOptions, StreamAutoClaimReply, StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands as _, AsyncConnectionConfig, RedisError};
use uuid::Uuid;

use crate::control::Session;

/// Longest time that a read blocks.
pub(crate) const BLOCK: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Age from which on entries that were read but never acknowledged are deleted. Where they are
/// still needed, the relay rings again.
const STALE_AFTER: Duration = Duration::from_secs(60);
/// Most stale entries to delete in one sweep of a stream.
const SWEEP_ENTRIES: usize = 100;

/// An entry of a stream: "this execution is ready".
pub(crate) struct DoorbellEntry {
    stream: String,
    id: String,
    /// The execution; `None` if the entry's fields are not valid ids.
    pub(crate) execution: Option<wire::ExecutionRef>,
}

/// The doorbell streams of one session.
///
/// Reads block their connection, so writes have another one.
pub(crate) struct DoorbellStreams {
    reads: MultiplexedConnection,
    writes: MultiplexedConnection,
    session: Arc<Session>,
}

impl DoorbellStreams {
    /// Connects, and creates missing streams and groups.
    pub(crate) async fn connect(client: &redis::Client, session: Arc<Session>) -> Result<Self, RedisError> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT));
        let reads = config.clone().set_response_timeout(Some(BLOCK + RESPONSE_TIMEOUT));
        let writes = config.set_response_timeout(Some(RESPONSE_TIMEOUT));
        let mut streams = Self {
            reads: client.get_multiplexed_async_connection_with_config(&reads).await?,
            writes: client.get_multiplexed_async_connection_with_config(&writes).await?,
            session,
        };
        streams.create_missing().await?;
        Ok(streams)
    }

    /// Reads up to `count` new entries per stream, and waits up to [`BLOCK`] for the first. Returns
    /// none if a group is missing, after creating it.
    pub(crate) async fn read(&mut self, count: usize) -> Result<Vec<DoorbellEntry>, RedisError> {
        let block_ms = usize::try_from(BLOCK.as_millis()).unwrap_or(usize::MAX);
        let options = StreamReadOptions::default()
            .group(&self.session.doorbell_group, self.session.id.to_string())
            .count(count)
            .block(block_ms);
        // `>`: entries that no consumer of the group has read.
        let newest = vec![">"; self.session.doorbell_streams.len()];
        let reply: Result<Option<StreamReadReply>, RedisError> =
            self.reads.xread_options(&self.session.doorbell_streams, &newest, &options).await;
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) if is_group_gone(&error) => {
                self.create_missing().await?;
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let keys = reply.map(|reply| reply.keys).unwrap_or_default();
        let entries = keys.into_iter().flat_map(|key| {
            let stream = key.key;
            key.ids.into_iter().map(move |entry| DoorbellEntry {
                stream: stream.clone(),
                execution: rung_execution(entry.get("tenant_id"), entry.get("execution_id")),
                id: entry.id,
            })
        });
        Ok(entries.collect())
    }

    /// Acknowledges and deletes entries.
    pub(crate) async fn delete(&mut self, entries: &[DoorbellEntry]) -> Result<(), RedisError> {
        for stream in &self.session.doorbell_streams {
            let ids: Vec<&str> = entries
                .iter()
                .filter(|entry| entry.stream == *stream)
                .map(|entry| entry.id.as_str())
                .collect();
            delete_ids(&mut self.writes, stream, &self.session.doorbell_group, &ids).await?;
        }
        Ok(())
    }

    /// Deletes entries that any consumer read long ago and never acknowledged.
    pub(crate) async fn sweep(&mut self) -> Result<(), RedisError> {
        let session = Arc::clone(&self.session);
        let group = &session.doorbell_group;
        let stale_ms = usize::try_from(STALE_AFTER.as_millis()).unwrap_or(usize::MAX);
        for stream in &session.doorbell_streams {
            // Claiming is how a group lists entries by age. Only the ids are needed.
            let options = StreamAutoClaimOptions::default().count(SWEEP_ENTRIES).with_justid();
            let consumer = session.id.to_string();
            let claimed: Result<StreamAutoClaimReply, RedisError> =
                self.writes.xautoclaim_options(stream, group, consumer, stale_ms, "0-0", options).await;
            let claimed = match claimed {
                Ok(claimed) => claimed.claimed,
                Err(error) if is_group_gone(&error) => {
                    self.create_missing().await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let ids: Vec<&str> = claimed.iter().map(|entry| entry.id.as_str()).collect();
            if !ids.is_empty() {
                tracing::info!(stream, entries = ids.len(), "stale doorbell entries deleted");
            }
            delete_ids(&mut self.writes, stream, group, &ids).await?;
        }
        Ok(())
    }

    /// Removes this consumer from the groups. Entries that it read but did not acknowledge go with
    /// it; the relay rings for them again.
    pub(crate) async fn leave(&mut self) -> Result<(), RedisError> {
        let consumer = self.session.id.to_string();
        for stream in &self.session.doorbell_streams {
            let _: usize =
                self.writes.xgroup_delconsumer(stream, &self.session.doorbell_group, &consumer).await?;
        }
        Ok(())
    }

    /// Creates missing streams and groups. A group starts at the stream's first entry, so that
    /// entries from before its creation are not lost.
    async fn create_missing(&mut self) -> Result<(), RedisError> {
        let group = &self.session.doorbell_group;
        for stream in &self.session.doorbell_streams {
            let created: Result<(), RedisError> =
                self.writes.xgroup_create_mkstream(stream, group, "0").await;
            match created {
                Ok(()) => tracing::info!(stream, group, "doorbell group created"),
                // BUSYGROUP: the group exists, which is the usual case.
                Err(error) if error.code() == Some("BUSYGROUP") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

async fn delete_ids(
    connection: &mut MultiplexedConnection,
    stream: &str,
    group: &str,
    ids: &[&str],
) -> Result<(), RedisError> {
    if ids.is_empty() {
        return Ok(());
    }
    // Acknowledged alone, entries would stay in the stream for ever.
    redis::pipe().xack(stream, group, ids).ignore().xdel(stream, ids).ignore().query_async(connection).await
}

/// `UNBLOCKED`: the stream was deleted while a read waited on it.
fn is_group_gone(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOGROUP" | "UNBLOCKED"))
}

/// Returns the execution of an entry, or `None` if a field is missing or not a UUID.
fn rung_execution(tenant_id: Option<String>, execution_id: Option<String>) -> Option<wire::ExecutionRef> {
    let (tenant_id, execution_id) = (tenant_id?, execution_id?);
    tenant_id.parse::<Uuid>().ok()?;
    execution_id.parse::<Uuid>().ok()?;
    Some(wire::ExecutionRef { tenant_id, execution_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_without_valid_ids_names_no_execution() {
        let id = || Some(Uuid::from_u128(7).to_string());
        assert!(rung_execution(id(), None).is_none());
        assert!(rung_execution(None, id()).is_none());
        assert!(rung_execution(id(), Some("7".to_owned())).is_none());
        assert!(rung_execution(id(), id()).is_some());
    }
}
