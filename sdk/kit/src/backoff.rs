//! Exponential backoff with jitter and an upper bound.

use std::time::Duration;

use rand::Rng as _;

/// Delays that double from `initial` up to `max`. Each is drawn from the upper half of its range,
/// so that many callers spread out and none retries without a delay.
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// Creates a backoff that starts at `initial`. No delay is longer than `max`.
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self { initial: initial.min(max), max, failures: 0 }
    }

    /// Counts one more failure, and returns the delay after it.
    pub fn next_delay(&mut self) -> Duration {
        let delay = delay(self.initial, self.max, self.failures, rand::rng().random());
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Returns the number of failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Forgets all failures after a success, so that the next delay is `initial` again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Returns the delay after `failures` earlier failures. `random` is uniform in `0..1`.
pub fn delay(initial: Duration, max: Duration, failures: u32, random: f64) -> Duration {
    // The exponent is bounded, because 2^32 overflows a u32.
    let factor = 2_u32.saturating_pow(failures.min(31));
    let ceiling = initial.saturating_mul(factor).min(max);
    ceiling.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIAL: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(5);

    #[test]
    fn delay_is_in_the_upper_half_of_its_range() {
        for (failures, random, expected_ms) in
            [(0, 0.0, 50), (0, 1.0, 100), (1, 1.0, 200), (3, 0.0, 400), (3, 1.0, 800)]
        {
            assert_eq!(
                delay(INITIAL, MAX, failures, random),
                Duration::from_millis(expected_ms),
                "{failures} {random}"
            );
        }
    }

    #[test]
    fn delay_never_exceeds_the_maximum() {
        for failures in [6, 31, 32, u32::MAX] {
            assert_eq!(delay(INITIAL, MAX, failures, 1.0), MAX);
        }
    }

    #[test]
    fn reset_restarts_at_the_initial_delay() {
        let mut backoff = Backoff::new(INITIAL, MAX);
        for _ in 0..10 {
            backoff.next_delay();
        }
        assert_eq!(backoff.failures(), 10);
        backoff.reset();
        assert!(backoff.next_delay() <= INITIAL);
    }
}
