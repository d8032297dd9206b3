//! How long to wait before the next try: the back-off with its jitter, or what the upstream asked for.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use orchid_plan::{Jitter, RetryPolicy};

/// No wait is longer than this: a run lives 7 days at the most.
const WAIT_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

/// The delay before retry `number` (the first is 0). `Retry-After` is obeyed as it is, beyond `max_delay` too. `draw` is
/// a number from 0 to 1.
pub(crate) fn delay(retry: &RetryPolicy, number: u32, retry_after: Option<Duration>, draw: f64) -> Duration {
    if let Some(asked) = retry_after {
        return asked;
    }
    let whole = retry.delay(number).min(WAIT_MAX);
    match retry.jitter {
        Jitter::Full => whole.mul_f64(draw.clamp(0.0, 1.0)),
        Jitter::None => whole,
    }
}

/// `Retry-After` (RFC 9110, 10.2.3): delta seconds, or a date in any of HTTP's three forms. A date that has passed means
/// now; what does not read is as if it had not been sent.
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

/// IMF-fixdate, RFC 850 and asctime (RFC 9110, 5.6.7).
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
    fn retry_after_reads_seconds_and_each_form_of_date() {
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
    fn retry_after_goes_before_back_off_and_maximum() {
        let retry = RetryPolicy { max_delay: Duration::from_secs(5), ..RetryPolicy::default() };
        assert_eq!(delay(&retry, 0, Some(Duration::from_secs(90)), 0.5), Duration::from_secs(90));
        assert_eq!(delay(&retry, 9, None, 1.0), Duration::from_secs(5));
    }

    #[test]
    fn full_jitter_takes_a_part_and_none_the_whole() {
        let full = RetryPolicy::default();
        assert_eq!(delay(&full, 0, None, 0.25), Duration::from_millis(250));
        let none = RetryPolicy { jitter: Jitter::None, ..RetryPolicy::default() };
        assert_eq!(delay(&none, 3, None, 0.25), Duration::from_secs(3));
    }
}
