//! Parses and formats times and durations for functions, windows and cursors. Times without a zone
//! are UTC unless a caller names another zone, and nothing here reads a clock.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

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
    parse_any_in(text, Tz::UTC)
}

/// Parses a time in any form that needs no pattern. One without a zone is local to `zone`.
pub(crate) fn parse_any_in(text: &str, zone: Tz) -> Option<DateTime<Utc>> {
    let text = text.trim();
    parse_rfc3339(text)
        .or_else(|| DateTime::parse_from_rfc2822(text).ok().map(|time| time.to_utc()))
        .or_else(|| {
            ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
                .into_iter()
                .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
                .and_then(|time| local_time(time, zone))
        })
        // Many APIs write the zone as `+0200`, which is not RFC 3339.
        .or_else(|| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z").ok().map(|time| time.to_utc()))
        .or_else(|| parse_date_in(text, "%Y-%m-%d", zone))
}

/// Parses a date as the midnight at which it begins.
pub(crate) fn parse_date(text: &str, format: &str) -> Option<DateTime<Utc>> {
    parse_date_in(text, format, Tz::UTC)
}

fn parse_date_in(text: &str, format: &str, zone: Tz) -> Option<DateTime<Utc>> {
    let date = NaiveDate::parse_from_str(text, format).ok()?;
    local_time(date.and_time(NaiveTime::MIN), zone)
}

/// Parses a time by a strftime pattern: with a zone, without one, or only a date.
pub(crate) fn parse_with_pattern(text: &str, pattern: &str) -> Option<DateTime<Utc>> {
    parse_with_pattern_in(text, pattern, Tz::UTC)
}

/// Parses a time by a strftime pattern. One without a zone is local to `zone`.
pub(crate) fn parse_with_pattern_in(text: &str, pattern: &str, zone: Tz) -> Option<DateTime<Utc>> {
    DateTime::parse_from_str(text, pattern)
        .map(|time| time.to_utc())
        .ok()
        .or_else(|| local_time(NaiveDateTime::parse_from_str(text, pattern).ok()?, zone))
        .or_else(|| parse_date_in(text, pattern, zone))
}

/// Granularity with which the end of a gap in local time is found. Changes of the clock are
/// multiples of it.
const GAP_STEP_MINUTES: i64 = 15;
/// Steps after which the search ends. The longest gaps are whole days, at the date line.
const GAP_STEPS: i64 = 2 * 24 * 4;

/// Returns the instant of a local time: the first one if the clock shows that time twice, and the
/// next existing time if the clock skips it.
pub(crate) fn local_time(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    (0..=GAP_STEPS).find_map(|steps| {
        let local = local.checked_add_signed(TimeDelta::minutes(steps * GAP_STEP_MINUTES))?;
        zone.from_local_datetime(&local).earliest().map(|time| time.to_utc())
    })
}

/// Parses a strftime pattern, or returns `None` if it is invalid. chrono panics when it formats
/// with an invalid pattern.
pub(crate) fn parse_pattern(pattern: &str) -> Option<Vec<Item<'_>>> {
    let items: Vec<_> = StrftimeItems::new(pattern).collect();
    (!items.contains(&Item::Error)).then_some(items)
}

/// Parses the IANA name of a timezone.
pub(crate) fn parse_zone(name: &str) -> Option<Tz> {
    name.parse().ok()
}

/// Returns the time that is `count` seconds, or milliseconds, after 1970.
pub(crate) fn from_unix(count: i64, milliseconds: bool) -> Option<DateTime<Utc>> {
    let time = if milliseconds { Utc.timestamp_millis_opt(count) } else { Utc.timestamp_opt(count, 0) };
    time.single()
}

/// Parses a duration such as `1d12h`, `-90s` or `250ms`.
pub(crate) fn parse_duration(text: &str) -> Option<TimeDelta> {
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    if rest.is_empty() {
        return None;
    }
    TimeDelta::try_milliseconds(sign * sum_of_units(rest, &UNITS)?)
}

/// Adds up counts with their units, such as `1d12h`. Nothing is 0.
fn sum_of_units(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let mut total: i64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit()).filter(|end| *end > 0)?;
        let count: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, size) = units.iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        // Checked, because digits in a plan can be arbitrarily large.
        total = total.checked_add(count.checked_mul(*size)?)?;
    }
    Some(total)
}

/// Parses the duration of a plan field: positive and in whole seconds (units s, m, h, d, w).
pub(crate) fn parse_span(text: &str) -> Option<TimeDelta> {
    parse_duration(text).filter(|length| *length > TimeDelta::zero() && !text.contains("ms"))
}

/// Parses a number of calendar months such as `1mo`, `1y` or `1y6mo`, at least one.
pub(crate) fn parse_months(text: &str) -> Option<u32> {
    let months = sum_of_units(text, &[("mo", 1), ("y", 12)])?;
    u32::try_from(months).ok().filter(|months| *months > 0)
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
