//! Parses and formats times and durations for functions, windows and cursors. Times are UTC, and
//! nothing here reads a clock.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc};

/// Units of a duration, in milliseconds.
const UNITS: [(&str, i64); 6] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// Parses a time in RFC 3339.
pub(crate) fn parse_rfc3339(text: &str) -> Option<DateTime<Utc>> {
    // Callers try any text, so most of them must be refused cheaply: `2026-` comes first.
    if text.len() < 20 || text.as_bytes()[4] != b'-' {
        return None;
    }
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

/// Formats a time as expressions see it: in UTC, with as many digits of a second as it needs.
pub(crate) fn format_utc(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Parses a time in any form that needs no pattern.
pub(crate) fn parse_any(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    parse_rfc3339(text)
        .or_else(|| DateTime::parse_from_rfc2822(text).ok().map(|time| time.to_utc()))
        .or_else(|| {
            ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
                .into_iter()
                .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
                .map(|time| time.and_utc())
        })
        // Many APIs write the zone as `+0200`, which is not RFC 3339.
        .or_else(|| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z").ok().map(|time| time.to_utc()))
        .or_else(|| parse_date(text, "%Y-%m-%d"))
}

/// Parses a date as the midnight at which it begins.
pub(crate) fn parse_date(text: &str, format: &str) -> Option<DateTime<Utc>> {
    NaiveDate::parse_from_str(text, format).ok().map(|date| date.and_time(NaiveTime::MIN).and_utc())
}

/// Parses a time by a strftime pattern: with a zone, without one, or only a date.
pub(crate) fn parse_with_pattern(text: &str, pattern: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_str(text, pattern)
        .map(|time| time.to_utc())
        .ok()
        .or_else(|| NaiveDateTime::parse_from_str(text, pattern).ok().map(|time| time.and_utc()))
        .or_else(|| parse_date(text, pattern))
}

/// Parses a strftime pattern, or returns `None` if it is invalid. chrono panics when it formats
/// with an invalid pattern.
pub(crate) fn parse_pattern(pattern: &str) -> Option<Vec<Item<'_>>> {
    let items: Vec<_> = StrftimeItems::new(pattern).collect();
    (!items.contains(&Item::Error)).then_some(items)
}

/// Returns the time that is `count` seconds, or milliseconds, after 1970.
pub(crate) fn from_unix(count: i64, milliseconds: bool) -> Option<DateTime<Utc>> {
    let time = if milliseconds { Utc.timestamp_millis_opt(count) } else { Utc.timestamp_opt(count, 0) };
    time.single()
}

/// Parses a duration such as `1d12h`, `-90s` or `250ms`.
pub(crate) fn parse_duration(text: &str) -> Option<TimeDelta> {
    let (sign, mut rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit()).filter(|end| *end > 0)?;
        let count: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, milliseconds) = UNITS.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        // Checked, because digits in a plan can be arbitrarily large.
        total = total.checked_add(count.checked_mul(milliseconds)?)?;
    }
    TimeDelta::try_milliseconds(sign * total)
}

/// Parses the duration of a plan field: positive and in whole seconds (units s, m, h, d, w).
pub(crate) fn parse_span(text: &str) -> Option<TimeDelta> {
    parse_duration(text).filter(|length| *length > TimeDelta::zero() && !text.contains("ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_is_positive_and_in_whole_seconds() {
        for (text, seconds) in
            [("1s", 1), ("90m", 5400), ("1h30m", 5400), ("1d12h", 129_600), ("2w", 1_209_600)]
        {
            assert_eq!(parse_span(text), TimeDelta::try_seconds(seconds), "{text}");
        }
        for wrong in ["", "0s", "-1d", "5", "1d ", "1ms", "1h1ms", "1.5h", "1D", "d", "99999999999999999999w"]
        {
            assert_eq!(parse_span(wrong), None, "{wrong}");
        }
    }
}
