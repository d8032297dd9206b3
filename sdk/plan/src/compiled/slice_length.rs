//! The length of a window's slices: a fixed time, or days and months of the calendar.

use chrono::{DateTime, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::time;

/// Length of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SliceLength {
    /// A fixed time.
    Exact(TimeDelta),
    /// Days of the window's timezone, which have 23 to 25 hours where the clock changes.
    Days(u32),
    /// Months of the calendar.
    Months(u32),
}

impl SliceLength {
    /// Parses a length such as `6h`, `2w` or `1mo`. With a timezone, lengths of whole days are days
    /// of the calendar. Returns `None` if the text is no such length.
    pub(crate) fn parse(text: &str, in_timezone: bool) -> Option<Self> {
        if let Some(months) = time::parse_months(text) {
            return Some(Self::Months(months));
        }
        let span = time::parse_span(text)?;
        let days = u32::try_from(span.num_days()).ok().filter(|days| TimeDelta::days((*days).into()) == span);
        Some(days.filter(|_| in_timezone).map_or(Self::Exact(span), Self::Days))
    }

    /// Returns whether every slice consists of whole days.
    pub(crate) fn is_whole_days(self) -> bool {
        match self {
            Self::Exact(span) => span.num_seconds() % TimeDelta::days(1).num_seconds() == 0,
            Self::Days(_) | Self::Months(_) => true,
        }
    }

    /// Returns the number of days of the longest slice.
    pub(crate) fn days(self) -> i64 {
        match self {
            Self::Exact(span) => span.num_days(),
            Self::Days(days) => days.into(),
            Self::Months(months) => i64::from(months) * 31,
        }
    }

    /// Returns the end of a slice in a range that begins at `start`; the first slice has index 0.
    /// `None` means that the end is beyond the calendar.
    ///
    /// Ends are counted from the start of the range, not from the slice before: a month after
    /// January 31 is February 28, and two months after it are March 31. With a timezone, they are
    /// the midnights of that zone.
    pub(super) fn end_of(self, index: u64, start: DateTime<Utc>, zone: Option<Tz>) -> Option<DateTime<Utc>> {
        let count = u32::try_from(index).ok()?.checked_add(1)?;
        match (self, zone) {
            (Self::Exact(span), _) => {
                let millis = span.num_milliseconds().checked_mul(count.into())?;
                start.checked_add_signed(TimeDelta::try_milliseconds(millis)?)
            }
            (Self::Days(days), _) => {
                let zone = zone.unwrap_or(Tz::UTC);
                let days = chrono::Days::new(u64::from(days) * u64::from(count));
                midnight(start.with_timezone(&zone).date_naive().checked_add_days(days)?, zone)
            }
            (Self::Months(months), Some(zone)) => {
                let months = Months::new(months.checked_mul(count)?);
                midnight(start.with_timezone(&zone).date_naive().checked_add_months(months)?, zone)
            }
            (Self::Months(months), None) => start.checked_add_months(Months::new(months.checked_mul(count)?)),
        }
    }
}

/// Returns the beginning of a day in a zone.
fn midnight(date: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
    time::local_time(date.and_time(NaiveTime::MIN), zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(length: &str, start: &str, zone: Option<&str>, count: u64) -> Vec<String> {
        let zone: Option<Tz> = zone.map(|name| name.parse().unwrap());
        let length = SliceLength::parse(length, zone.is_some()).unwrap();
        let start = time::parse_rfc3339(start).unwrap();
        (0..count).map(|index| time::format_utc(length.end_of(index, start, zone).unwrap())).collect()
    }

    #[test]
    fn months_are_clamped_to_their_last_day() {
        assert_eq!(
            ends("1mo", "2026-01-31T08:00:00Z", None, 4),
            ["2026-02-28T08:00:00Z", "2026-03-31T08:00:00Z", "2026-04-30T08:00:00Z", "2026-05-31T08:00:00Z"]
        );
        assert_eq!(ends("1y", "2024-02-29T00:00:00Z", None, 4)[3], "2028-02-29T00:00:00Z");
        assert_eq!(ends("1y6mo", "2026-01-01T00:00:00Z", None, 1), ["2027-07-01T00:00:00Z"]);
    }

    #[test]
    fn days_of_a_zone_end_at_its_midnights() {
        // The clock goes forward on March 29 and back on October 25.
        assert_eq!(
            ends("1d", "2026-03-27T23:00:00Z", Some("Europe/Berlin"), 3),
            ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"]
        );
        assert_eq!(
            ends("1w", "2026-10-24T12:00:00Z", Some("Europe/Berlin"), 2),
            ["2026-10-30T23:00:00Z", "2026-11-06T23:00:00Z"]
        );
        assert_eq!(
            ends("1mo", "2026-02-28T23:00:00Z", Some("Europe/Berlin"), 2),
            ["2026-03-31T22:00:00Z", "2026-04-30T22:00:00Z"]
        );
    }

    #[test]
    fn day_without_midnight_begins_after_the_gap() {
        // The clock goes from 00:00 to 01:00 on April 24, and back from 24:00 on October 29.
        assert_eq!(
            ends("1d", "2026-04-22T22:00:00Z", Some("Africa/Cairo"), 3),
            ["2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z", "2026-04-25T21:00:00Z"]
        );
        assert_eq!(ends("1d", "2026-10-28T21:00:00Z", Some("Africa/Cairo"), 2)[1], "2026-10-30T22:00:00Z");
        // December 30 of 2011 does not exist there.
        assert_eq!(
            ends("1d", "2011-12-29T10:00:00Z", Some("Pacific/Apia"), 2),
            ["2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z"]
        );
    }

    #[test]
    fn length_is_read_in_every_unit() {
        for (text, in_timezone, length) in [
            ("1mo", false, SliceLength::Months(1)),
            ("2y", true, SliceLength::Months(24)),
            ("1d", false, SliceLength::Exact(TimeDelta::days(1))),
            ("1d", true, SliceLength::Days(1)),
            ("2w", true, SliceLength::Days(14)),
            ("24h", true, SliceLength::Days(1)),
            ("1m", true, SliceLength::Exact(TimeDelta::minutes(1))),
            ("1d1h", true, SliceLength::Exact(TimeDelta::hours(25))),
        ] {
            assert_eq!(SliceLength::parse(text, in_timezone), Some(length), "{text}");
        }
        for wrong in ["", "mo", "0mo", "1mo1d", "-1mo", "1.5mo", "99999999999y", "1 mo"] {
            assert_eq!(SliceLength::parse(wrong, true), None, "{wrong}");
        }
    }
}
