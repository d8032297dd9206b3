//! Timestamps that keep their spelling: a timestamp that is moved in time is written with the zone,
//! separator and digits that it was parsed with.

use std::cmp::Ordering;
use std::fmt;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

/// A timestamp and its spelling.
///
/// It is RFC 3339, or RFC 3339 with a space for `T`, with `+hhmm` as zone, without a zone (then
/// UTC), without seconds, or only a date.
#[derive(Clone, Debug)]
pub(crate) struct Timestamp {
    /// Local time in the timestamp's zone, in whole seconds.
    local: NaiveDateTime,
    /// Spelling of the time of day; `None` for a date without time.
    time_of_day: Option<TimeSpelling>,
}

/// The spelling of the time of day.
#[derive(Clone, Debug)]
struct TimeSpelling {
    /// `T`, `t` or a space.
    separator: char,
    /// True if the text has seconds.
    seconds: bool,
    /// Digits of the fraction of a second.
    fraction: String,
    /// Zone: `Z`, `+02:00`, `+0200`, `+02`, or empty.
    zone: String,
    /// Offset of the zone, in seconds east of UTC.
    offset: i64,
}

impl Timestamp {
    /// Parses a timestamp in any of the supported spellings.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (date, rest) = (text.get(..10)?, text.get(10..)?);
        let date = NaiveDate::from_ymd_opt(
            number(date, 0..4)?.try_into().ok()?,
            expect_char(date, 4, '-').and_then(|()| number(date, 5..7))?,
            expect_char(date, 7, '-').and_then(|()| number(date, 8..10))?,
        )?;
        if rest.is_empty() {
            return Some(Self { local: date.and_time(NaiveTime::MIN), time_of_day: None });
        }
        let separator = rest.chars().next().filter(|char| matches!(char, 'T' | 't' | ' '))?;
        // The separator is one of three ASCII characters, so this is a character boundary.
        let rest = &rest[1..];
        let (hours, minutes) =
            (number(rest, 0..2)?, expect_char(rest, 2, ':').and_then(|()| number(rest, 3..5))?);
        let rest = rest.get(5..)?;
        let (seconds, rest) = match rest.strip_prefix(':') {
            Some(rest) => (Some(number(rest, 0..2)?), rest.get(2..)?),
            None => (None, rest),
        };
        let (fraction, zone) = match rest.strip_prefix('.') {
            Some(rest) if seconds.is_some() => {
                let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
                // A point without digits is malformed.
                if end == 0 {
                    return None;
                }
                rest.split_at(end)
            }
            Some(_) => return None,
            None => ("", rest),
        };
        // 60 is a leap second (RFC 3339, 5.7). It is counted as the second after 59.
        let second = seconds.unwrap_or(0);
        let time = NaiveTime::from_hms_opt(hours, minutes, second.min(59)).filter(|_| second <= 60)?;
        let leap = TimeDelta::seconds(i64::from(second / 60));
        Some(Self {
            local: date.and_time(time).checked_add_signed(leap)?,
            time_of_day: Some(TimeSpelling {
                separator,
                seconds: seconds.is_some(),
                fraction: fraction.to_owned(),
                zone: zone.to_owned(),
                offset: utc_offset(zone)?,
            }),
        })
    }

    /// Returns an earlier timestamp in the same spelling. Parts that the spelling cannot express
    /// are cut off, which makes it earlier still.
    pub(crate) fn earlier(&self, by: TimeDelta) -> Option<Self> {
        Some(Self { local: self.local.checked_sub_signed(by)?, time_of_day: self.time_of_day.clone() })
    }

    /// Compares two timestamps by instant, to the last digit of their fractions.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let instant = |timestamp: &Self| {
            let offset = timestamp.time_of_day.as_ref().map_or(0, |spelling| spelling.offset);
            timestamp.local.and_utc().timestamp() - offset
        };
        let fraction = |timestamp: &Self| {
            timestamp
                .time_of_day
                .as_ref()
                .map_or("", |spelling| spelling.fraction.trim_end_matches('0'))
                .to_owned()
        };
        // Fractions without trailing zeros order like text: ".45" < ".5".
        instant(self).cmp(&instant(other)).then_with(|| fraction(self).cmp(&fraction(other)))
    }
}

/// Parses the digits in a range of a text.
fn number(text: &str, range: std::ops::Range<usize>) -> Option<u32> {
    let digits = text.get(range)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Returns `Some` if the text has this character at an offset.
fn expect_char(text: &str, offset: usize, char: char) -> Option<()> {
    text.get(offset..)?.starts_with(char).then_some(())
}

/// Returns the offset of a zone, in seconds east of UTC.
fn utc_offset(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let minutes = match rest.len() {
        2 => 0,
        4 => number(rest, 2..4)?,
        5 => expect_char(rest, 2, ':').and_then(|()| number(rest, 3..5))?,
        _ => return None,
    };
    let hours = number(rest, 0..2)?;
    (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.local.format("%Y-%m-%d"))?;
        let Some(spelling) = &self.time_of_day else { return Ok(()) };
        let TimeSpelling { separator, seconds, fraction, zone, offset: _ } = spelling;
        write!(f, "{separator}{:02}:{:02}", self.local.hour(), self.local.minute())?;
        if *seconds {
            write!(f, ":{:02}", self.local.second())?;
        }
        if !fraction.is_empty() {
            write!(f, ".{fraction}")?;
        }
        f.write_str(zone)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timestamp(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn timestamp_round_trips() {
        for text in [
            "2026-01-15T10:30:00Z",
            "2026-01-15t10:30:00z",
            "2026-01-15T10:30:00.1234567890123Z",
            "2026-01-15T10:30:00.000+02:00",
            "2026-01-15T10:30:00.000+0000",
            "2026-01-15 10:30:00-0330",
            "2026-01-15T10:30:00+01",
            "2026-01-15 10:30:00",
            "2026-01-15T10:30Z",
            "2026-01-15",
            "0001-02-03",
        ] {
            assert_eq!(timestamp(text).to_string(), text);
        }
    }

    #[test]
    fn malformed_timestamp_is_refused() {
        for text in [
            "",
            "soon",
            "2026",
            "2026-01",
            "2026-13-01",
            "2026-02-30",
            "20260115",
            "2026-01-15T",
            "2026-01-15T10",
            "2026-01-15T24:00:00Z",
            "2026-01-15T10:60:00Z",
            "2026-01-15T10:30:61Z",
            "2026-01-15T10:30:00.Z",
            "2026-01-15T10:30.5Z",
            "2026-01-15T10:30:00,5Z",
            "2026-01-15T10:30:00 Z",
            "2026-01-15T10:30:00+2",
            "2026-01-15T10:30:00+25:00",
            "2026-01-15T10:30:00Z ",
            "2026-01-15x10:30:00Z",
            "2026_01_15",
            "+026-01-15",
            "2026-01-1ü",
        ] {
            assert!(Timestamp::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn earlier_keeps_zone_and_digits() {
        for (text, minutes, expected) in [
            ("2026-01-15T10:30:00.1234567890123+02:00", 60, "2026-01-15T09:30:00.1234567890123+02:00"),
            ("2026-03-01T00:05:00Z", 10, "2026-02-28T23:55:00Z"),
            ("2026-01-15T10:30Z", 1, "2026-01-15T10:29Z"),
            ("2026-01-15", 1, "2026-01-14"),
            ("2026-01-15", 1440, "2026-01-14"),
            ("2026-01-15T23:59:60Z", 1, "2026-01-15T23:59:00Z"),
            // A zone is a fixed offset, so daylight saving time changes nothing.
            ("2026-03-29T03:30:00+02:00", 60, "2026-03-29T02:30:00+02:00"),
        ] {
            let earlier = timestamp(text).earlier(TimeDelta::minutes(minutes)).unwrap();
            assert_eq!(earlier.to_string(), expected);
        }
    }

    #[test]
    fn timestamps_order_by_instant() {
        for (less, more) in [
            ("2026-01-15T12:00:00+02:00", "2026-01-15T10:00:01Z"),
            ("2026-01-15T10:00:00Z", "2026-01-15T10:00:00.000000000001Z"),
            ("2026-01-15T10:00:00.45Z", "2026-01-15T10:00:00.5Z"),
            ("2026-01-15", "2026-01-15T00:00:00.1"),
            ("2026-01-14T23:30:00-01:00", "2026-01-15T00:31Z"),
        ] {
            assert_eq!(timestamp(less).compare(&timestamp(more)), Ordering::Less, "{less} {more}");
            assert_eq!(timestamp(more).compare(&timestamp(less)), Ordering::Greater, "{less} {more}");
        }
        for (a, b) in [
            ("2026-01-15T12:00:00.50+02:00", "2026-01-15T10:00:00.5Z"),
            ("2026-01-15", "2026-01-15T00:00:00+0000"),
            ("2026-01-15T23:59:60Z", "2026-01-16T00:00:00Z"),
        ] {
            assert_eq!(timestamp(a).compare(&timestamp(b)), Ordering::Equal, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn any_parsed_timestamp_round_trips(text in "([0-9]{4}-[0-9]{2}-[0-9]{2}[T ]?([0-9]{2}:){0,2}[0-9]{0,2}(\\.[0-9]{0,9})?([Z+-][0-9:]{0,5})?|\\PC{0,24})") {
            if let Some(read) = Timestamp::parse(&text) {
                // Only a leap second is written differently.
                if !text.contains(":60") {
                    prop_assert_eq!(read.to_string(), text);
                }
                prop_assert_eq!(read.compare(&read), Ordering::Equal);
            }
        }
    }
}
