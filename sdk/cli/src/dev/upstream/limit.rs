//! Makes the demo upstream behave like real ones: a rate limit, and one request in twenty fails.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);
/// The requests that a window admits.
const MAX_REQUESTS: u32 = 12;
const FAILURE_PERIOD: u64 = 20;
/// The first request that fails: not the first page, but within a short demo.
const FIRST_FAILURE: u64 = 6;

/// The decision about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Respond to it.
    Serve,
    /// Refuse it with status 429.
    TooMany,
    /// Fail it with status 503.
    Unavailable,
}

/// A limiter for the requests of all clients together.
#[derive(Debug, Default)]
pub(super) struct RequestLimiter {
    window: Option<(Instant, u32)>,
    admitted: u64,
}

impl RequestLimiter {
    /// Decides about a request that arrives at `now`.
    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        let (start, count) = match self.window {
            Some((start, count)) if now.saturating_duration_since(start) < WINDOW => (start, count),
            _ => (now, 0),
        };
        if count >= MAX_REQUESTS {
            return Admission::TooMany;
        }
        self.window = Some((start, count + 1));
        self.admitted += 1;
        if self.admitted % FAILURE_PERIOD == FIRST_FAILURE {
            Admission::Unavailable
        } else {
            Admission::Serve
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_over_the_limit_are_refused_until_the_window_ends() {
        let mut limit = RequestLimiter::default();
        let start = Instant::now();
        let refused = (0..20).filter(|_| limit.admit(start) == Admission::TooMany).count();
        assert_eq!(refused, 8);
        assert_eq!(limit.admit(start + Duration::from_millis(999)), Admission::TooMany);
        assert_eq!(limit.admit(start + WINDOW), Admission::Serve);
    }

    #[test]
    fn one_in_twenty_admitted_requests_fails() {
        let mut limit = RequestLimiter::default();
        let mut now = Instant::now();
        let mut failed = Vec::new();
        for number in 1..=100 {
            now += WINDOW;
            if limit.admit(now) == Admission::Unavailable {
                failed.push(number);
            }
        }
        assert_eq!(failed, [6, 26, 46, 66, 86]);
    }
}
