//! The doorbell: entries of Redis streams that say "this execution is ready".
//!
//! In: entries, read as one consumer of the group. Out: asks for the leases of what was rung, in batches. An entry is acked and
//! deleted as soon as its ask is answered, whatever the answer: from there on the lease protects the job. What nobody
//! acked for a minute is dropped. Redis may lose or repeat anything here, or be away: it costs time only.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use orchid_kit::backoff::Backoff;
use orchid_proto::executor::v1 as wire;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamAutoClaimOptions, StreamAutoClaimReply, StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands as _, AsyncConnectionConfig, RedisError};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::control::{Session, SessionCell};
use crate::intake::Pulse;
use crate::intake::asker::{Ask, Asker};
use crate::worker::Slots;

const BLOCK: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Most entries of one read.
const MAX_ENTRIES: usize = 128;
/// Entries that were read and not acked for so long are dropped: the relay rings again where it is needed.
const STALE: Duration = Duration::from_secs(60);
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
const SWEEP_ENTRIES: usize = 100;

/// One consumer of the pool's streams.
pub(crate) struct Doorbell {
    pub(crate) client: redis::Client,
    pub(crate) asker: Asker,
    pub(crate) session: SessionCell,
    pub(crate) slots: Slots,
    pub(crate) pulse: Pulse,
    /// Whether Redis answers.
    pub(crate) rings: watch::Sender<bool>,
    pub(crate) stop: CancellationToken,
}

/// An entry, read.
struct Entry {
    stream: String,
    id: String,
    rung: Option<wire::ExecutionRef>,
}

/// Reads block, so they have a connection of their own.
struct Line {
    reads: MultiplexedConnection,
    writes: MultiplexedConnection,
}

impl Doorbell {
    /// Serves until told to stop, through sessions and connections. An ask that is under way is never cut short: what it was
    /// granted would be unknown here.
    pub(crate) async fn serve(self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        while !self.stop.is_cancelled() {
            self.pulse.beat();
            if let Err(error) = self.listen(&mut backoff).await {
                self.rings.send_replace(false);
                tracing::warn!(%error, "doorbell broken: asking for any work instead");
            }
            let pause = backoff.next_delay();
            self.unless_stopped(tokio::time::sleep(pause)).await;
        }
    }

    /// Serves one session over one pair of connections.
    async fn listen(&self, backoff: &mut Backoff) -> Result<(), RedisError> {
        let session = loop {
            self.pulse.beat();
            let found = self.unless_stopped(tokio::time::timeout(BLOCK, self.session.wait())).await;
            match found {
                None => return Ok(()),
                Some(Ok(Some(session))) => break session,
                Some(Ok(None) | Err(_)) => {}
            }
        };
        let mut line = self.connect().await?;
        heal(&mut line.writes, &session).await?;
        backoff.reset();
        self.rings.send_replace(true);
        let mut swept = Instant::now();
        while self.session.get().is_some_and(|current| current.id == session.id) {
            self.pulse.beat();
            if swept.elapsed() >= SWEEP_INTERVAL {
                swept = Instant::now();
                sweep(&mut line.writes, &session).await?;
            }
            let free = self.slots.free().min(MAX_ENTRIES);
            if free == 0 {
                let freed = tokio::time::timeout(BLOCK, self.slots.one_free());
                if self.unless_stopped(freed).await.is_none() {
                    return Ok(());
                }
                continue;
            }
            let Some(read) = self.unless_stopped(self.read(&mut line.reads, &session, free)).await else {
                return leave(&mut line.writes, &session).await;
            };
            match read {
                Ok(entries) if entries.is_empty() => {}
                Ok(entries) => {
                    let started = self.take(&session, &entries).await;
                    forget(&mut line.writes, &session, &entries).await?;
                    tracing::debug!(entries = entries.len(), started, "doorbell rang");
                }
                Err(error) if is_group_gone(&error) => heal(&mut line.writes, &session).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// None once told to stop.
    async fn unless_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::select! {
            () = self.stop.cancelled() => None,
            output = future => Some(output),
        }
    }

    async fn connect(&self) -> Result<Line, RedisError> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT));
        let reads = config.clone().set_response_timeout(Some(BLOCK + RESPONSE_TIMEOUT));
        let writes = config.set_response_timeout(Some(RESPONSE_TIMEOUT));
        Ok(Line {
            reads: self.client.get_multiplexed_async_connection_with_config(&reads).await?,
            writes: self.client.get_multiplexed_async_connection_with_config(&writes).await?,
        })
    }

    async fn read(
        &self,
        connection: &mut MultiplexedConnection,
        session: &Session,
        count: usize,
    ) -> Result<Vec<Entry>, RedisError> {
        let block_ms = usize::try_from(BLOCK.as_millis()).unwrap_or(usize::MAX);
        let options = StreamReadOptions::default()
            .group(&session.doorbell_group, session.id.to_string())
            .count(count)
            .block(block_ms);
        let newest = vec![">"; session.doorbell_streams.len()];
        let reply: Option<StreamReadReply> =
            connection.xread_options(&session.doorbell_streams, &newest, &options).await?;
        let keys = reply.map(|reply| reply.keys).unwrap_or_default();
        let entries = keys.into_iter().flat_map(|key| {
            let stream = key.key;
            key.ids.into_iter().map(move |entry| Entry {
                stream: stream.clone(),
                rung: rung(entry.get("tenant_id"), entry.get("execution_id")),
                id: entry.id,
            })
        });
        Ok(entries.collect())
    }

    /// Asks for what was rung, as far as slots are free now; answers how many runs were started.
    async fn take(&self, session: &Arc<Session>, entries: &[Entry]) -> usize {
        let rung: Vec<_> = entries.iter().filter_map(|entry| entry.rung.clone()).collect();
        let slots = self.slots.take(rung.len());
        if slots.is_empty() {
            return 0;
        }
        self.asker.ask(session, Ask::Rung(rung), slots).await
    }
}

/// An entry whose fields are no ids is acked and asks for nothing.
fn rung(tenant_id: Option<String>, execution_id: Option<String>) -> Option<wire::ExecutionRef> {
    let (tenant_id, execution_id) = (tenant_id?, execution_id?);
    tenant_id.parse::<Uuid>().ok()?;
    execution_id.parse::<Uuid>().ok()?;
    Some(wire::ExecutionRef { tenant_id, execution_id })
}

/// Streams and groups that are not there are made, from their beginning.
async fn heal(connection: &mut MultiplexedConnection, session: &Session) -> Result<(), RedisError> {
    for stream in &session.doorbell_streams {
        let made: Result<(), RedisError> =
            connection.xgroup_create_mkstream(stream, &session.doorbell_group, "0").await;
        match made {
            Ok(()) => tracing::info!(stream, group = session.doorbell_group, "doorbell group made"),
            Err(error) if error.code() == Some("BUSYGROUP") => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes this consumer out of the groups. What it read and never acked goes with it: the relay rings again.
async fn leave(connection: &mut MultiplexedConnection, session: &Session) -> Result<(), RedisError> {
    let consumer = session.id.to_string();
    for stream in &session.doorbell_streams {
        let _: usize = connection.xgroup_delconsumer(stream, &session.doorbell_group, &consumer).await?;
    }
    Ok(())
}

fn is_group_gone(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOGROUP" | "UNBLOCKED"))
}

async fn forget(
    connection: &mut MultiplexedConnection,
    session: &Session,
    entries: &[Entry],
) -> Result<(), RedisError> {
    for stream in &session.doorbell_streams {
        let ids: Vec<&str> =
            entries.iter().filter(|entry| entry.stream == *stream).map(|entry| entry.id.as_str()).collect();
        drop_entries(connection, stream, &session.doorbell_group, &ids).await?;
    }
    Ok(())
}

async fn drop_entries(
    connection: &mut MultiplexedConnection,
    stream: &str,
    group: &str,
    ids: &[&str],
) -> Result<(), RedisError> {
    if ids.is_empty() {
        return Ok(());
    }
    redis::pipe().xack(stream, group, ids).ignore().xdel(stream, ids).ignore().query_async(connection).await
}

/// Drops what any consumer read long ago and never acked.
async fn sweep(connection: &mut MultiplexedConnection, session: &Session) -> Result<(), RedisError> {
    let stale_ms = usize::try_from(STALE.as_millis()).unwrap_or(usize::MAX);
    for stream in &session.doorbell_streams {
        let options = StreamAutoClaimOptions::default().count(SWEEP_ENTRIES).with_justid();
        let claimed: Result<StreamAutoClaimReply, RedisError> = connection
            .xautoclaim_options(
                stream,
                &session.doorbell_group,
                session.id.to_string(),
                stale_ms,
                "0-0",
                options,
            )
            .await;
        let claimed = match claimed {
            Ok(claimed) => claimed.claimed,
            Err(error) if is_group_gone(&error) => {
                heal(connection, session).await?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let ids: Vec<&str> = claimed.iter().map(|entry| entry.id.as_str()).collect();
        if !ids.is_empty() {
            tracing::info!(stream, entries = ids.len(), "stale doorbell entries dropped");
        }
        drop_entries(connection, stream, &session.doorbell_group, &ids).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_names_no_execution_asks_for_nothing() {
        let id = || Some(Uuid::from_u128(7).to_string());
        assert!(rung(id(), None).is_none());
        assert!(rung(None, id()).is_none());
        assert!(rung(id(), Some("7".to_owned())).is_none());
        assert!(rung(id(), id()).is_some());
    }
}
