//! The doorbell: acquires leases for the executions that Redis streams announce as ready.
//!
//! An entry is acknowledged and deleted as soon as the acquire call for it has ended, with or
//! without a grant: from then on the lease protects the job, and without a lease the relay rings
//! again. Redis may lose entries, repeat them, or be away. That costs time only.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use orchid_kit::backoff::Backoff;
use redis::RedisError;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::control::{CurrentSession, Session};
use crate::intake::doorbell_stream::{BLOCK, DoorbellEntry, DoorbellStreams};
use crate::intake::lease_requester::{LeaseRequest, LeaseRequester};
use crate::lease::{Liveness, SlotPool};

/// Most entries of one read.
const MAX_ENTRIES: usize = 128;
/// Minimum time between two acquire calls. What rings and which slots are freed in between share a
/// call, so that batches fill under load; after a longer pause, a ring is answered at once.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// Listens to the pool's doorbell.
pub(crate) struct DoorbellListener {
    pub(crate) client: redis::Client,
    pub(crate) requester: LeaseRequester,
    pub(crate) session: CurrentSession,
    pub(crate) slots: SlotPool,
    pub(crate) liveness: Liveness,
    /// True while Redis responds.
    pub(crate) works: watch::Sender<bool>,
    pub(crate) stop: CancellationToken,
}

impl DoorbellListener {
    /// Serves until `stop` is cancelled, through sessions and connections. `stop` does not drop
    /// [`LeaseRequester::acquire`], which ends by itself: its seq has to be resolved.
    pub(crate) async fn serve(self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        while !self.stop.is_cancelled() {
            self.liveness.renew();
            if let Err(error) = self.listen(&mut backoff).await {
                self.works.send_replace(false);
                tracing::warn!(%error, "doorbell does not work: polling for work instead");
            }
            let pause = backoff.next_delay();
            self.unless_stopped(tokio::time::sleep(pause)).await;
        }
    }

    /// Listens until the session or the connection is gone.
    async fn listen(&self, backoff: &mut Backoff) -> Result<(), RedisError> {
        let Some(session) = self.wait_session().await else { return Ok(()) };
        let mut streams = DoorbellStreams::connect(&self.client, Arc::clone(&session)).await?;
        backoff.reset();
        self.works.send_replace(true);
        let mut last_sweep = Instant::now();
        // The consumer is named after the session: a new session starts over with new connections.
        while self.session.get().is_some_and(|current| current.id == session.id) {
            self.liveness.renew();
            if last_sweep.elapsed() >= SWEEP_INTERVAL {
                last_sweep = Instant::now();
                streams.sweep().await?;
            }
            let free = self.slots.free().min(MAX_ENTRIES);
            if free == 0 {
                // With a timeout, because the loop must keep renewing its liveness.
                let freed = tokio::time::timeout(BLOCK, self.slots.wait_free());
                if self.unless_stopped(freed).await.is_none() {
                    return Ok(());
                }
                continue;
            }
            let Some(entries) = self.unless_stopped(streams.read(free)).await else {
                return streams.leave().await;
            };
            let entries = entries?;
            if !entries.is_empty() {
                let next_call_at = Instant::now() + MIN_INTERVAL;
                let started = self.acquire(&session, &entries).await;
                streams.delete(&entries).await?;
                tracing::debug!(entries = entries.len(), started, "doorbell rang");
                if self.unless_stopped(tokio::time::sleep_until(next_call_at)).await.is_none() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Waits for a session; returns `None` once `stop` is cancelled.
    async fn wait_session(&self) -> Option<Arc<Session>> {
        loop {
            self.liveness.renew();
            match self.unless_stopped(tokio::time::timeout(BLOCK, self.session.wait())).await {
                None => return None,
                Some(Ok(Some(session))) => return Some(session),
                Some(Ok(None) | Err(_)) => {}
            }
        }
    }

    /// Runs the future; returns `None` once `stop` is cancelled.
    async fn unless_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::select! {
            () = self.stop.cancelled() => None,
            output = future => Some(output),
        }
    }

    /// Acquires leases for the entries, as far as slots are free, and returns the number of
    /// attempts started.
    async fn acquire(&self, session: &Arc<Session>, entries: &[DoorbellEntry]) -> usize {
        let rung: Vec<_> = entries.iter().filter_map(|entry| entry.execution.clone()).collect();
        let slots = self.slots.take(rung.len());
        // The poll took the slots first. The relay rings again where the work is still ready.
        if slots.is_empty() {
            return 0;
        }
        self.requester.acquire(session, LeaseRequest::Rung(rung), slots).await.unwrap_or(0)
    }
}
