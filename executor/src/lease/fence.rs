//! The self-fence: until when this process may fetch and produce.
//!
//! Every accepted heartbeat extends the fence to 0.8 of the session's lifetime after the heartbeat
//! was sent, on the monotonic clock. The fence closes before the control plane may give the leases
//! to another executor. [`SelfFence::is_open`] reads the clock, so that it is right even when the
//! process has just been unfrozen and none of its timers has fired yet. A closed fence pauses
//! attempts; it never ends them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Share of the session's lifetime after which this process stops working. The rest is the margin
/// for requests and messages that are already in flight.
const LIFETIME_SHARE: f64 = 0.8;

/// Open until a deadline, closed afterwards.
#[derive(Debug)]
pub struct SelfFence {
    deadline: Mutex<FenceDeadline>,
    /// Incremented with every change of the deadline.
    changed: watch::Sender<u64>,
}

/// The arithmetic of the fence, without its lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct FenceDeadline {
    at: Option<Instant>,
}

impl FenceDeadline {
    /// Extends the deadline after an accepted heartbeat. The server counted the heartbeat no
    /// earlier than `held` after it was sent, so the session lives at least until then plus `ttl`.
    /// A late response to an older heartbeat never moves the deadline back.
    fn extend(&mut self, sent: Instant, held: Duration, ttl: Duration) {
        let deadline = sent + held + ttl.mul_f64(LIFETIME_SHARE);
        self.at = Some(self.at.map_or(deadline, |known| known.max(deadline)));
    }

    fn is_open(&self, now: Instant) -> bool {
        self.at.is_some_and(|deadline| now < deadline)
    }
}

impl Default for SelfFence {
    fn default() -> Self {
        Self::new()
    }
}

impl SelfFence {
    /// Creates a closed fence. The first accepted heartbeat or registration opens it.
    pub fn new() -> Self {
        Self { deadline: Mutex::new(FenceDeadline::default()), changed: watch::Sender::new(0) }
    }

    /// Extends the fence: the control plane accepted a heartbeat that was sent at `sent`, and held
    /// it for `held` before it counted.
    pub fn extend(&self, sent: Instant, held: Duration, ttl: Duration) {
        self.lock().extend(sent, held, ttl);
        self.notify_waiters();
    }

    /// Closes the fence at once, because the session is gone.
    pub fn close(&self) {
        self.lock().at = None;
        self.notify_waiters();
    }

    /// Returns whether this process may work now.
    pub fn is_open(&self) -> bool {
        self.lock().is_open(Instant::now())
    }

    /// Waits until the fence is open.
    pub async fn wait_open(&self) {
        if self.is_open() {
            return;
        }
        // Subscribed before the check, so that a change in between is not missed.
        let mut changed = self.changed.subscribe();
        while !self.is_open() {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until the fence is closed.
    pub async fn wait_closed(&self) {
        let mut changed = self.changed.subscribe();
        loop {
            let Some(deadline) = self.lock().at.filter(|deadline| Instant::now() < *deadline) else {
                return;
            };
            // Either way the deadline is read again: a heartbeat may have extended it meanwhile.
            tokio::select! {
                () = sleep_until(deadline) => {}
                _ = changed.changed() => {}
            }
        }
    }

    /// Subscribes to changes of the deadline. Passing the deadline is no change by itself: whoever
    /// watches it calls [`notify_waiters`](Self::notify_waiters).
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Wakes all subscribers of [`changes`](Self::changes).
    pub(crate) fn notify_waiters(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, FenceDeadline> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn fence_closes_at_four_fifths_of_the_lifetime() {
        let fence = SelfFence::new();
        assert!(!fence.is_open(), "before any heartbeat");
        let sent = Instant::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        fence.extend(sent, Duration::ZERO, TTL);
        tokio::time::advance(Duration::from_millis(18_999)).await;
        assert!(fence.is_open());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!fence.is_open(), "24 s after it was sent, not after the response");
    }

    #[tokio::test(start_paused = true)]
    async fn time_held_by_the_server_extends_the_fence() {
        let fence = SelfFence::new();
        fence.extend(Instant::now(), Duration::from_secs(2), TTL);
        tokio::time::advance(Duration::from_millis(25_999)).await;
        assert!(fence.is_open());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!fence.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn late_response_to_older_heartbeat_keeps_the_deadline() {
        let fence = SelfFence::new();
        let first = Instant::now();
        tokio::time::advance(Duration::from_secs(10)).await;
        fence.extend(Instant::now(), Duration::ZERO, TTL);
        fence.extend(first, Duration::ZERO, TTL);
        tokio::time::advance(Duration::from_secs(23)).await;
        assert!(fence.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn next_accepted_heartbeat_opens_the_fence_again() {
        let fence = Arc::new(SelfFence::new());
        fence.extend(Instant::now(), Duration::ZERO, TTL);
        fence.wait_closed().await;
        assert!(!fence.is_open());
        let waiting = Arc::clone(&fence);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { waiting.wait_open().await });
        fence.extend(Instant::now(), Duration::ZERO, TTL);
        tasks.join_next().await.unwrap().unwrap();
        assert!(fence.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn close_takes_effect_at_once() {
        let fence = SelfFence::new();
        fence.extend(Instant::now(), Duration::ZERO, TTL);
        fence.close();
        fence.wait_closed().await;
        assert!(!fence.is_open());
    }
}
