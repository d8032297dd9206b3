//! Timestamps with their spelling: moved in time, they are written again as they came, with their zone and every digit of
//! their seconds.

use std::cmp::Ordering;
use std::fmt;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

/// A timestamp as a text wrote it: RFC 3339, also with a space for the `T`, `+hhmm` for the zone, without a zone (UTC then),
/// without seconds, or a day alone.
#[derive(Clone, Debug)]
pub(crate) struct Timestamp {
    /// In its own zone, whole seconds.
    local: NaiveDateTime,
    clock: Option<Clock>,
}

/// How the time of the day is written; a day alone has none.
#[derive(Clone, Debug)]
struct Clock {
    /// `T`, `t` or a space.
    separator: char,
    seconds: bool,
    /// The digits after the seconds' point.
    fraction: String,
    /// `Z`, `+02:00`, `+0200`, or nothing.
    zone: String,
    /// Seconds east of UTC.
    offset: i64,
}

impl Timestamp {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (date, rest) = (text.get(..10)?, text.get(10..)?);
        let date = NaiveDate::from_ymd_opt(
            number(date, 0..4)?.try_into().ok()?,
            after(date, 4, '-').and_then(|()| number(date, 5..7))?,
            after(date, 7, '-').and_then(|()| number(date, 8..10))?,
        )?;
        if rest.is_empty() {
            return Some(Self { local: date.and_time(NaiveTime::MIN), clock: None });
        }
        let separator = rest.chars().next().filter(|char| matches!(char, 'T' | 't' | ' '))?;
        let rest = &rest[1..];
        let (hours, minutes) = (number(rest, 0..2)?, after(rest, 2, ':').and_then(|()| number(rest, 3..5))?);
        let rest = rest.get(5..)?;
        let (seconds, rest) = match rest.strip_prefix(':') {
            Some(rest) => (Some(number(rest, 0..2)?), rest.get(2..)?),
            None => (None, rest),
        };
        let (fraction, zone) = match rest.strip_prefix('.') {
            Some(rest) if seconds.is_some() => {
                let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
                if end == 0 {
                    return None;
                }
                rest.split_at(end)
            }
            Some(_) => return None,
            None => ("", rest),
        };
        // 60 is a leap second (RFC 3339, 5.7): the second after 59, as the clock counts.
        let second = seconds.unwrap_or(0);
        let time = NaiveTime::from_hms_opt(hours, minutes, second.min(59)).filter(|_| second <= 60)?;
        let leap = TimeDelta::seconds(i64::from(second / 60));
        Some(Self {
            local: date.and_time(time).checked_add_signed(leap)?,
            clock: Some(Clock {
                separator,
                seconds: seconds.is_some(),
                fraction: fraction.to_owned(),
                zone: zone.to_owned(),
                offset: offset(zone)?,
            }),
        })
    }

    /// The same spelling, so much earlier. What the spelling has no place for is cut off, which is earlier still.
    pub(crate) fn earlier(&self, by: TimeDelta) -> Option<Self> {
        Some(Self { local: self.local.checked_sub_signed(by)?, clock: self.clock.clone() })
    }

    /// By their instants, to the last digit.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let instant = |stamp: &Self| {
            let offset = stamp.clock.as_ref().map_or(0, |clock| clock.offset);
            stamp.local.and_utc().timestamp() - offset
        };
        let fraction = |stamp: &Self| {
            stamp.clock.as_ref().map_or("", |clock| clock.fraction.trim_end_matches('0')).to_owned()
        };
        instant(self).cmp(&instant(other)).then_with(|| fraction(self).cmp(&fraction(other)))
    }
}

/// The digits at a place of a text.
fn number(text: &str, range: std::ops::Range<usize>) -> Option<u32> {
    let digits = text.get(range)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Whether this sign stands at a place.
fn after(text: &str, place: usize, sign: char) -> Option<()> {
    text.get(place..)?.starts_with(sign).then_some(())
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
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
        5 => after(rest, 2, ':').and_then(|()| number(rest, 3..5))?,
        _ => return None,
    };
    let hours = number(rest, 0..2)?;
    (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.local.format("%Y-%m-%d"))?;
        let Some(clock) = &self.clock else { return Ok(()) };
        let Clock { separator, seconds, fraction, zone, offset: _ } = clock;
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

    fn stamp(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn a_timestamp_comes_back_as_it_was_written() {
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
            assert_eq!(stamp(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
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
            // A zone's offset is a number: summer time changes nothing.
            ("2026-03-29T03:30:00+02:00", 60, "2026-03-29T02:30:00+02:00"),
        ] {
            let earlier = stamp(text).earlier(TimeDelta::minutes(minutes)).unwrap();
            assert_eq!(earlier.to_string(), expected);
        }
    }

    #[test]
    fn order_is_that_of_the_instants() {
        for (less, more) in [
            ("2026-01-15T12:00:00+02:00", "2026-01-15T10:00:01Z"),
            ("2026-01-15T10:00:00Z", "2026-01-15T10:00:00.000000000001Z"),
            ("2026-01-15T10:00:00.45Z", "2026-01-15T10:00:00.5Z"),
            ("2026-01-15", "2026-01-15T00:00:00.1"),
            ("2026-01-14T23:30:00-01:00", "2026-01-15T00:31Z"),
        ] {
            assert_eq!(stamp(less).compare(&stamp(more)), Ordering::Less, "{less} {more}");
            assert_eq!(stamp(more).compare(&stamp(less)), Ordering::Greater, "{less} {more}");
        }
        for (a, b) in [
            ("2026-01-15T12:00:00.50+02:00", "2026-01-15T10:00:00.5Z"),
            ("2026-01-15", "2026-01-15T00:00:00+0000"),
            ("2026-01-15T23:59:60Z", "2026-01-16T00:00:00Z"),
        ] {
            assert_eq!(stamp(a).compare(&stamp(b)), Ordering::Equal, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([0-9]{4}-[0-9]{2}-[0-9]{2}[T ]?([0-9]{2}:){0,2}[0-9]{0,2}(\\.[0-9]{0,9})?([Z+-][0-9:]{0,5})?|\\PC{0,24})") {
            if let Some(read) = Timestamp::parse(&text) {
                // A leap second is the only thing that is written otherwise.
                if !text.contains(":60") {
                    prop_assert_eq!(read.to_string(), text);
                }
                prop_assert_eq!(read.compare(&read), Ordering::Equal);
            }
        }
    }
}
