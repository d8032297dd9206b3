//! Proof that the consume loop goes round.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When the consume loop last went round. Clones share it.
#[derive(Debug, Clone)]
pub struct Pulse {
    epoch: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Pulse {
    /// Goes round now.
    pub fn new() -> Pulse {
        Pulse { epoch: Instant::now(), last_ms: Arc::new(AtomicU64::new(0)) }
    }

    /// The loop goes round.
    pub fn beat(&self) {
        self.last_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// How long ago it last did.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed)))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ages_until_the_loop_goes_round() {
        let pulse = Pulse::new();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(pulse.age(), Duration::from_secs(7));
        pulse.beat();
        assert_eq!(pulse.age(), Duration::ZERO);
    }
}
