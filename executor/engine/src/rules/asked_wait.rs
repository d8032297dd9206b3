//! The wait that an upstream asks for: in `Retry-After`, in the reset of a rate limit, or in
//! whatever the plan's `retry.wait` reads.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use orchid_plan::{JsonType, Value};

/// Longest wait: a century. It only keeps the arithmetic in range; the server's limit is far below.
const WAIT_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// A larger number of seconds is a time: seconds since the Unix epoch.
const EPOCH_SECONDS: f64 = 1e9;
/// A larger number is a time in milliseconds since the Unix epoch.
const EPOCH_MILLIS: f64 = 1e12;
/// Characters of a value that an error quotes.
const QUOTED_MAX: usize = 100;

/// A wait, with what the upstream said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AskedWait {
    pub(crate) delay: Duration,
    /// Place and value, such as `retry-after: 120`; ends in errors.
    pub(crate) source: String,
}

impl AskedWait {
    fn new(delay: Duration, place: &str, value: &str) -> Self {
        let value: String = value.chars().take(QUOTED_MAX).collect();
        Self { delay, source: format!("{place}: {value}") }
    }
}

/// Returns the wait that the headers of a response ask for: `Retry-After` of any response, or the
/// reset of a used-up rate limit of a 429.
pub(crate) fn of_headers(status: u16, headers: &[(String, String)], now: DateTime<Utc>) -> Option<AskedWait> {
    let values = |name: &str| {
        let values = headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.trim());
        values.collect::<Vec<_>>().join(", ")
    };
    let asked = |name: &str| {
        let text = values(name);
        Some(AskedWait::new(of_list(&text, now)?, name, &text))
    };
    if let Some(wait) = asked("retry-after") {
        return Some(wait);
    }
    if status != 429 {
        return None;
    }
    ["ratelimit", "x-ratelimit", "x-rate-limit"].iter().find_map(|prefix| {
        // A 429 for another reason than this limit says nothing about its reset.
        let remaining = values(&format!("{prefix}-remaining"));
        let used_up = remaining.is_empty() || remaining.parse::<f64>().is_ok_and(|left| left <= 0.0);
        asked(&format!("{prefix}-reset")).filter(|_| used_up)
    })
}

/// Returns the wait that a value of the plan's `retry.wait` stands for; `None` for null and an
/// empty text.
///
/// # Errors
/// Fails with a description of the value if it is neither a number of seconds nor a time.
pub(crate) fn of_value(value: &Value, now: DateTime<Utc>) -> Result<Option<AskedWait>, String> {
    let text = match value.json_type() {
        JsonType::Null => return Ok(None),
        JsonType::Number | JsonType::Text => value.to_text().unwrap_or_default(),
        kind => return Err(format!("it is of type {kind}")),
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    // A difference that is negative lies in the past.
    let past = value.json_type() == JsonType::Number && text.starts_with('-');
    let exact = if past { Some(Duration::ZERO) } else { of_text(text.trim(), now) };
    let double = || {
        let number = text.parse::<f64>().ok().filter(|_| value.json_type() == JsonType::Number)?;
        of_number(&format!("{number:.0}"), number.fract() > 0.0, now)
    };
    match exact.or_else(double) {
        Some(delay) => Ok(Some(AskedWait::new(delay, "retry.wait", &text))),
        None => Err(format!("it is {:?}", text.chars().take(QUOTED_MAX).collect::<String>())),
    }
}

/// Returns the first valid value of a list. Dates contain a comma themselves, so two parts can be
/// one value.
fn of_list(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let mut parts = text.split(',').peekable();
    while let Some(part) = parts.next() {
        if let Some(delay) = of_text(part.trim(), now) {
            return Some(delay);
        }
        let date = parts.peek().and_then(|next| of_text(format!("{part},{next}").trim(), now));
        if date.is_some() {
            return date;
        }
    }
    None
}

/// Reads a number of seconds or a time. A time in the past means now.
fn of_text(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(whole) && digits(fraction) {
        return of_number(whole, fraction.bytes().any(|byte| byte != b'0'), now);
    }
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.with_timezone(&Utc)).ok();
    Some(until(time.or_else(|| http_date(text))?, now))
}

/// Reads a whole number, and rounds it up if it had a fraction.
fn of_number(whole: &str, has_fraction: bool, now: DateTime<Utc>) -> Option<Duration> {
    let number = whole.parse::<i64>().unwrap_or(i64::MAX).saturating_add(i64::from(has_fraction));
    #[expect(clippy::cast_precision_loss, reason = "only compared with bounds that are far apart")]
    let size = number as f64;
    if size > EPOCH_MILLIS {
        return Some(DateTime::from_timestamp_millis(number).map_or(WAIT_MAX, |time| until(time, now)));
    }
    if size > EPOCH_SECONDS {
        return Some(until(DateTime::from_timestamp(number, 0)?, now));
    }
    Some(Duration::from_secs(u64::try_from(number).ok()?).min(WAIT_MAX))
}

fn until(time: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (time - now).to_std().unwrap_or(Duration::ZERO).min(WAIT_MAX)
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

    fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-01-15T10:30:00Z").unwrap().with_timezone(&Utc)
    }

    fn after(values: &[&str]) -> Option<Duration> {
        let header = |value: &&str| ("retry-after".to_owned(), (*value).to_owned());
        let headers: Vec<_> = values.iter().map(header).collect();
        of_headers(503, &headers, now()).map(|asked| asked.delay)
    }

    #[test]
    fn retry_after_accepts_numbers_dates_and_lists() {
        let cases: [(&[&str], Option<u64>); 18] = [
            (&["120"], Some(120)),
            (&[" 0 "], Some(0)),
            (&["2.5"], Some(3)),
            (&["2.0"], Some(2)),
            (&["2, 3"], Some(2)),
            (&["soon, 4"], Some(4)),
            (&["soon", "5"], Some(5)),
            (&["Thu, 15 Jan 2026 10:30:07 GMT"], Some(7)),
            (&["x, Thu, 15 Jan 2026 10:30:07 GMT, 9"], Some(7)),
            (&["Thursday, 15-Jan-26 10:30:07 GMT"], Some(7)),
            (&["Thu Jan 15 10:30:07 2026"], Some(7)),
            (&["Thu, 15 Jan 2026 10:29:00 GMT"], Some(0)),
            (&["1768473007"], Some(7)),
            (&["1768473007000"], Some(7)),
            (&["1768472000"], Some(0)),
            (&["-1"], None),
            (&["1.", "soon"], None),
            (&[""], None),
        ];
        for (values, seconds) in cases {
            assert_eq!(after(values), seconds.map(Duration::from_secs), "{values:?}");
        }
        assert_eq!(after(&["99999999999999999999999"]), Some(WAIT_MAX));
        assert_eq!(after(&["99999999"]), Some(Duration::from_secs(99_999_999)));
    }

    #[test]
    fn reset_of_a_used_up_limit_counts_for_429_only() {
        let asked = |status, headers: &[(&str, &str)]| {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            of_headers(status, &headers, now()).map(|asked| asked.source)
        };
        let reset = ("x-ratelimit-reset", "1768473003000");
        assert_eq!(asked(429, &[reset]).as_deref(), Some("x-ratelimit-reset: 1768473003000"));
        assert_eq!(
            asked(429, &[reset, ("x-ratelimit-remaining", "0")]).unwrap(),
            asked(429, &[reset]).unwrap()
        );
        assert_eq!(asked(429, &[reset, ("x-ratelimit-remaining", "7")]), None);
        assert_eq!(asked(503, &[reset]), None);
        assert_eq!(asked(429, &[reset, ("retry-after", "4")]).as_deref(), Some("retry-after: 4"));
    }

    #[test]
    fn value_of_the_plan_is_seconds_or_a_time() {
        let wait = |json: &str| {
            let value = Value::parse(json.as_bytes()).unwrap();
            of_value(&value, now()).map(|asked| asked.map(|asked| asked.delay.as_secs()))
        };
        for (json, seconds) in [
            ("null", None),
            ("\"\"", None),
            ("5", Some(5)),
            ("2.5", Some(3)),
            ("-4", Some(0)),
            ("1e1", Some(10)),
            ("1768473007", Some(7)),
            ("\"1768473007\"", Some(7)),
            ("\"2026-01-15T10:30:09Z\"", Some(9)),
            ("\"Thu, 15 Jan 2026 10:30:07 GMT\"", Some(7)),
        ] {
            assert_eq!(wait(json), Ok(seconds), "{json}");
        }
        assert_eq!(wait("\"soon\""), Err("it is \"soon\"".to_owned()));
        assert_eq!(wait("[5]"), Err("it is of type list".to_owned()));
        assert_eq!(wait("true"), Err("it is of type boolean".to_owned()));
    }
}
