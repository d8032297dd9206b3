//! The delay before a retry: the backoff with its jitter, or what the upstream asks for.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use orchid_plan::{Jitter, RetryPolicy};

/// Longest delay. It only keeps the arithmetic in range: an execution lives at most 7 days.
const WAIT_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

/// Returns the delay before retry `number`, from 0. `draw` is a random number from 0 to 1.
pub(crate) fn delay(retry: &RetryPolicy, number: u32, retry_after: Option<Duration>, draw: f64) -> Duration {
    // The upstream knows best: `max_delay` and jitter do not apply.
    if let Some(asked) = retry_after {
        return asked;
    }
    let whole = retry.delay(number).min(WAIT_MAX);
    match retry.jitter {
        Jitter::Full => whole.mul_f64(draw.clamp(0.0, 1.0)),
        Jitter::None => whole,
    }
}

/// Parses `Retry-After` (RFC 9110, 10.2.3): seconds, or a date in any of the three forms of HTTP. A
/// date in the past means now; a value that cannot be parsed is ignored.
pub(crate) fn retry_after(headers: &[(String, String)], now: DateTime<Utc>) -> Option<Duration> {
    let (_, value) = headers.iter().find(|(name, _)| name == "retry-after")?;
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(WAIT_MAX));
    }
    let wait = (http_date(value)? - now).to_std().unwrap_or(Duration::ZERO);
    Some(wait.min(WAIT_MAX))
}

/// Parses a date as IMF-fixdate, RFC 850 or asctime (RFC 9110, 5.6.7).
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc2822(text) {
        return Some(time.with_timezone(&Utc));
    }
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(value: &str) -> Option<Duration> {
        let now = DateTime::parse_from_rfc3339("1994-11-06T08:49:30Z").unwrap().with_timezone(&Utc);
        retry_after(&[("retry-after".to_owned(), value.to_owned())], now)
    }

    #[test]
    fn retry_after_accepts_seconds_and_dates() {
        let cases = [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(7)),
            ("Sun Nov  6 08:49:37 1994", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (value, seconds) in cases {
            assert_eq!(after(value), seconds.map(Duration::from_secs), "{value:?}");
        }
        assert_eq!(after("99999999999999999999999"), Some(WAIT_MAX));
    }

    #[test]
    fn retry_after_overrides_backoff_and_maximum() {
        let retry = RetryPolicy { max_delay: Duration::from_secs(5), ..RetryPolicy::default() };
        assert_eq!(delay(&retry, 0, Some(Duration::from_secs(90)), 0.5), Duration::from_secs(90));
        assert_eq!(delay(&retry, 9, None, 1.0), Duration::from_secs(5));
    }

    #[test]
    fn full_jitter_takes_a_part_of_the_delay() {
        let full = RetryPolicy::default();
        assert_eq!(delay(&full, 0, None, 0.25), Duration::from_millis(250));
        let none = RetryPolicy { jitter: Jitter::None, ..RetryPolicy::default() };
        assert_eq!(delay(&none, 3, None, 0.25), Duration::from_secs(3));
    }
}
