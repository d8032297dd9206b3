//! Proof that the consume loop makes progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The time of the consume loop's last turn. Clones share it.
#[derive(Debug, Clone)]
pub struct Liveness {
    epoch: Instant,
    last_turn_ms: Arc<AtomicU64>,
}

impl Liveness {
    /// Creates a proof that counts as renewed now.
    pub fn new() -> Self {
        Self { epoch: Instant::now(), last_turn_ms: Arc::new(AtomicU64::new(0)) }
    }

    /// Records a turn of the consume loop.
    pub fn renew(&self) {
        self.last_turn_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Returns the time since the last turn.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.last_turn_ms.load(Ordering::Relaxed)))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Liveness {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn age_grows_until_the_loop_turns() {
        let liveness = Liveness::new();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(liveness.age(), Duration::from_secs(7));
        liveness.renew();
        assert_eq!(liveness.age(), Duration::ZERO);
    }
}
