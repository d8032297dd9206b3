//! What makes the demo upstream like the real ones: so many requests a second, and one in twenty that fails for no good reason.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);
/// Within a window.
const REQUESTS: u32 = 12;
const FLAKY_EVERY: u64 = 20;
/// So that the first page is never the one that fails, and a short demo sees one failure at least.
const FLAKY_OFFSET: u64 = 6;

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer it.
    Serve,
    /// 429.
    TooMany,
    /// 503.
    Unavailable,
}

/// Counts requests, of all clients together.
#[derive(Debug, Default)]
pub(super) struct Limit {
    window: Option<(Instant, u32)>,
    admitted: u64,
}

impl Limit {
    /// Judges one request that comes at `now`.
    pub(super) fn judge(&mut self, now: Instant) -> Verdict {
        let (start, count) = match self.window {
            Some((start, count)) if now.saturating_duration_since(start) < WINDOW => (start, count),
            _ => (now, 0),
        };
        if count >= REQUESTS {
            return Verdict::TooMany;
        }
        self.window = Some((start, count + 1));
        self.admitted += 1;
        if self.admitted % FLAKY_EVERY == FLAKY_OFFSET { Verdict::Unavailable } else { Verdict::Serve }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_over_the_limit_is_refused_until_the_window_is_over() {
        let mut limit = Limit::default();
        let start = Instant::now();
        let refused = (0..20).filter(|_| limit.judge(start) == Verdict::TooMany).count();
        assert_eq!(refused, 8);
        assert_eq!(limit.judge(start + Duration::from_millis(999)), Verdict::TooMany);
        assert_eq!(limit.judge(start + WINDOW), Verdict::Serve);
    }

    #[test]
    fn one_in_twenty_of_the_admitted_fails() {
        let mut limit = Limit::default();
        let mut now = Instant::now();
        let mut failed = Vec::new();
        for number in 1..=100 {
            now += WINDOW;
            if limit.judge(now) == Verdict::Unavailable {
                failed.push(number);
            }
        }
        assert_eq!(failed, [6, 26, 46, 66, 86]);
    }
}
