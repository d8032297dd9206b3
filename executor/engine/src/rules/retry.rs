//! The delay before a retry: the backoff with its jitter, or what the upstream asks for.

use std::time::Duration;

use orchid_plan::{Jitter, RetryPolicy};

use crate::error::ErrorClass;
use crate::rules::asked_wait::AskedWait;
use crate::state::error_detail::ErrorDetail;

/// A wait beyond the server's limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the upstream asks to wait {} s ({}); the server's runs.max_wait_seconds permits {} s",
    .asked.delay.as_secs(),
    .asked.source,
    .max.as_secs()
)]
pub(crate) struct WaitTooLong {
    asked: AskedWait,
    max: Duration,
}

impl WaitTooLong {
    /// Returns the error of a step with this pointer.
    pub(crate) fn detail(&self, step: &str) -> ErrorDetail {
        let (class, code) = (ErrorClass::RateLimit, "WAIT_TOO_LONG");
        ErrorDetail { class, code, pointer: format!("{step}/retry"), message: self.to_string() }
    }
}

/// Checks a wait that an upstream asks for against the server's limit.
///
/// # Errors
/// Fails if it is longer than `max`.
pub(crate) fn check(asked: AskedWait, max: Duration) -> Result<Duration, WaitTooLong> {
    if asked.delay > max { Err(WaitTooLong { asked, max }) } else { Ok(asked.delay) }
}

/// Returns the backoff before retry `number`, from 0, at most `max`. `draw` is a random number from
/// 0 to 1.
pub(crate) fn backoff(retry: &RetryPolicy, number: u32, max: Duration, draw: f64) -> Duration {
    let whole = retry.delay(number).min(max);
    match retry.jitter {
        Jitter::Full => whole.mul_f64(draw.clamp(0.0, 1.0)),
        Jitter::None => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn wait_beyond_the_servers_limit_is_refused() {
        let asked = |seconds| AskedWait {
            delay: Duration::from_secs(seconds),
            source: "retry-after: 86401".to_owned(),
        };
        assert_eq!(check(asked(86_400), DAY), Ok(DAY));
        assert_eq!(
            check(asked(86_401), DAY).unwrap_err().to_string(),
            "the upstream asks to wait 86401 s (retry-after: 86401); the server's runs.max_wait_seconds \
             permits 86400 s"
        );
    }

    #[test]
    fn full_jitter_takes_a_part_of_the_delay() {
        let full = RetryPolicy::default();
        assert_eq!(backoff(&full, 0, DAY, 0.25), Duration::from_millis(250));
        let none = RetryPolicy { jitter: Jitter::None, ..RetryPolicy::default() };
        assert_eq!(backoff(&none, 3, DAY, 0.25), Duration::from_secs(3));
        assert_eq!(backoff(&none, 3, Duration::from_secs(2), 0.25), Duration::from_secs(2));
    }
}
