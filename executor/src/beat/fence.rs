//! The executor's own fence: until when it may fetch and produce.
//!
//! In: beats that the control plane accepted, with the time each was sent. Out: open, until 0.8 of the session's life
//! after the last of them, on the monotonic clock. Who asks gets the truth of that instant, also right after the process
//! was frozen and before any timer of it ran. It never ends a run: a shut fence is a pause.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Share of the session's life after which an executor stops by itself, before others may take over.
const SHARE: f64 = 0.8;

/// Open or shut, by the clock.
#[derive(Debug)]
pub struct Fence {
    clock: Mutex<FenceClock>,
    /// Bumped with every change of the deadline.
    changed: watch::Sender<u64>,
}

/// The bare arithmetic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct FenceClock {
    deadline: Option<Instant>,
}

impl FenceClock {
    /// A beat was accepted. It counted no earlier than `held` after it was sent, so the session lives at least until then
    /// plus its time to live. A late answer to an older beat moves nothing back.
    fn accepted(&mut self, sent: Instant, held: Duration, ttl: Duration) {
        let deadline = sent + held + ttl.mul_f64(SHARE);
        self.deadline = Some(self.deadline.map_or(deadline, |known| known.max(deadline)));
    }

    fn is_open(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| now < deadline)
    }
}

impl Default for Fence {
    fn default() -> Fence {
        Fence::new()
    }
}

impl Fence {
    /// Shut, until a first beat (or the registration) is accepted.
    pub fn new() -> Fence {
        Fence { clock: Mutex::new(FenceClock::default()), changed: watch::Sender::new(0) }
    }

    /// A beat sent at `sent` was accepted; the server held it for `held` before it counted.
    pub fn accepted(&self, sent: Instant, held: Duration, ttl: Duration) {
        self.change(|clock| clock.accepted(sent, held, ttl));
    }

    /// The session is gone.
    pub fn shut(&self) {
        self.change(|clock| clock.deadline = None);
    }

    /// Whether work may go on now.
    pub fn is_open(&self) -> bool {
        self.lock().is_open(Instant::now())
    }

    /// Returns once the fence is open.
    pub async fn opened(&self) {
        if self.is_open() {
            return;
        }
        let mut changed = self.changed.subscribe();
        while !self.is_open() {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns once the fence is shut.
    pub async fn closed(&self) {
        let mut changed = self.changed.subscribe();
        loop {
            let Some(deadline) = self.lock().deadline.filter(|deadline| Instant::now() < *deadline) else {
                return;
            };
            tokio::select! {
                () = sleep_until(deadline) => {}
                _ = changed.changed() => {}
            }
        }
    }

    /// Wakes with every change of the deadline, and when it passed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Wakes those who wait for changes.
    pub(super) fn wake(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    fn change(&self, change: impl FnOnce(&mut FenceClock)) {
        change(&mut self.lock());
        self.wake();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, FenceClock> {
        self.clock.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn it_shuts_at_four_fifths_of_the_life_after_the_beat_was_sent() {
        let fence = Fence::new();
        assert!(!fence.is_open(), "before any beat");
        let sent = Instant::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        fence.accepted(sent, Duration::ZERO, TTL);
        tokio::time::advance(Duration::from_millis(18_999)).await;
        assert!(fence.is_open());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!fence.is_open(), "24 s after it was sent, not after it was answered");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_server_held_counts_for_us() {
        let fence = Fence::new();
        fence.accepted(Instant::now(), Duration::from_secs(2), TTL);
        tokio::time::advance(Duration::from_millis(25_999)).await;
        assert!(fence.is_open());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!fence.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_to_an_older_beat_moves_nothing_back() {
        let fence = Fence::new();
        let first = Instant::now();
        tokio::time::advance(Duration::from_secs(10)).await;
        fence.accepted(Instant::now(), Duration::ZERO, TTL);
        fence.accepted(first, Duration::ZERO, TTL);
        tokio::time::advance(Duration::from_secs(23)).await;
        assert!(fence.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_again_with_the_next_accepted_beat() {
        let fence = Arc::new(Fence::new());
        fence.accepted(Instant::now(), Duration::ZERO, TTL);
        fence.closed().await;
        assert!(!fence.is_open());
        let waiting = Arc::clone(&fence);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { waiting.opened().await });
        fence.accepted(Instant::now(), Duration::ZERO, TTL);
        tasks.join_next().await.unwrap().unwrap();
        assert!(fence.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_gone_shuts_it_at_once() {
        let fence = Fence::new();
        fence.accepted(Instant::now(), Duration::ZERO, TTL);
        fence.shut();
        fence.closed().await;
        assert!(!fence.is_open());
    }
}
