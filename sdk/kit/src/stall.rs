//! Decides when to give up waiting for something that no longer makes progress.
//!
//! A wait with a fixed total fails on a slow machine although all goes well. A [`StallDetector`]
//! is fed with observations of the system (a count, a state, the length of a log) and reports a
//! stall only when they have stopped changing. It reads no clock: the caller passes the time.

use std::time::{Duration, Instant};

/// The least number of equal observations that make a stall.
///
/// A starved machine also observes slowly, so this stretches the wait with its slowness.
const MIN_UNCHANGED: u32 = 200;

/// A wait that ends when the observed value stays the same for too long.
#[derive(Debug)]
pub struct StallDetector<P> {
    limit: Duration,
    last: Option<P>,
    changed_at: Instant,
    unchanged: u32,
}

impl<P: PartialEq> StallDetector<P> {
    /// Creates a detector that tolerates `limit` without a change, counted from `now`.
    pub fn new(limit: Duration, now: Instant) -> Self {
        Self { limit, last: None, changed_at: now, unchanged: 0 }
    }

    /// Records an observation and returns whether progress has stalled: for the limit, and for at
    /// least 200 observations, the value has not changed.
    pub fn stalled(&mut self, now: Instant, observed: P) -> bool {
        if self.last.as_ref() == Some(&observed) {
            self.unchanged += 1;
        } else {
            self.last = Some(observed);
            self.changed_at = now;
            self.unchanged = 0;
        }
        self.unchanged >= MIN_UNCHANGED && now.saturating_duration_since(self.changed_at) >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn changing_observations_never_stall() {
        let start = Instant::now();
        let mut detector = StallDetector::new(LIMIT, start);
        for second in 0..10_000 {
            assert!(!detector.stalled(start + Duration::from_secs(second), second / 20));
        }
    }

    #[test]
    fn unchanged_observations_stall_after_the_limit() {
        let start = Instant::now();
        let mut detector = StallDetector::new(LIMIT, start);
        let at = |tenths: u32| start + Duration::from_millis(100) * tenths;
        let first = (0..1000).find(|tenths| detector.stalled(at(*tenths), "same"));
        assert_eq!(first, Some(300));
    }

    #[test]
    fn few_slow_observations_do_not_stall() {
        let start = Instant::now();
        let mut detector = StallDetector::new(LIMIT, start);
        let at = |seconds: u32| start + Duration::from_secs(1) * seconds;
        let first = (0..1000).find(|seconds| detector.stalled(at(*seconds), "same"));
        assert_eq!(first, Some(MIN_UNCHANGED));
    }
}
