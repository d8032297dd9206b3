//! When and how failed requests are retried.

use std::time::Duration;

use super::OutcomeMatcher;
use crate::Expr;

/// `retry`.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// Maximum number of retries after the first try.
    pub max_retries: u32,
    /// Growth of the delay.
    pub backoff: Backoff,
    /// Delay before the first retry.
    pub initial_delay: Duration,
    /// Maximum delay; a `Retry-After` may be longer.
    pub max_delay: Duration,
    /// Randomization of the delay.
    pub jitter: Jitter,
    /// Statuses and codes that are retried in addition to the usual ones.
    pub on: Vec<OutcomeMatcher>,
    /// Wait that the failed response asks for, in seconds or as a time; null leaves it to
    /// `Retry-After` and the backoff.
    pub wait: Option<Expr>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 3,
            backoff: Backoff::Fibonacci,
            initial_delay: Duration::from_millis(1000),
            max_delay: Duration::from_millis(60_000),
            jitter: Jitter::Full,
            on: Vec::new(),
            wait: None,
        }
    }
}

impl RetryPolicy {
    /// Returns the delay before retry `number`, counted from 0, without jitter: the initial delay
    /// times the factor of the backoff, at most `max_delay`.
    #[must_use]
    pub fn delay(&self, number: u32) -> Duration {
        let factor = self.backoff.factor(number);
        self.initial_delay.checked_mul(factor).map_or(self.max_delay, |delay| delay.min(self.max_delay))
    }
}

/// Growth of the delay from retry to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// 1, 1, 2, 3, 5, 8 … times the initial delay.
    Fibonacci,
    /// 1, 2, 4, 8 … times the initial delay.
    Exponential,
    /// 1, 2, 3, 4 … times the initial delay.
    Linear,
    /// Always the initial delay.
    Constant,
}

impl Backoff {
    fn factor(self, number: u32) -> u32 {
        match self {
            Self::Constant => 1,
            Self::Linear => number.saturating_add(1),
            Self::Exponential => 2_u32.saturating_pow(number),
            Self::Fibonacci => {
                let (mut current, mut next) = (1_u32, 1_u32);
                for _ in 0..number.min(64) {
                    (current, next) = (next, current.saturating_add(next));
                }
                current
            }
        }
    }
}

/// Randomization of a delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Uniformly between zero and the delay.
    Full,
    /// Exactly the delay.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_by_their_backoff_up_to_the_maximum() {
        let cases = [
            (Backoff::Fibonacci, [1, 1, 2, 3, 5, 8, 13]),
            (Backoff::Exponential, [1, 2, 4, 8, 16, 32, 60]),
            (Backoff::Linear, [1, 2, 3, 4, 5, 6, 7]),
            (Backoff::Constant, [1; 7]),
        ];
        for (backoff, seconds) in cases {
            let retry = RetryPolicy { backoff, ..RetryPolicy::default() };
            let delays: Vec<u64> = (0..7).map(|number| retry.delay(number).as_secs()).collect();
            assert_eq!(delays, seconds, "{backoff:?}");
            assert_eq!(retry.delay(u32::MAX).as_secs(), if backoff == Backoff::Constant { 1 } else { 60 });
        }
    }
}
