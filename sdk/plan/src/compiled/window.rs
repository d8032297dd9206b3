//! `window`: a time range that the step's loop reads slice by slice.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;

use super::slice_length::SliceLength;
use crate::decimal::Decimal;
use crate::value::JsonType;
use crate::{Expr, Value, time};

/// A time range, divided into half-open slices. The whole loop runs once for each slice, in order.
#[derive(Clone, Debug)]
pub struct TimeWindow {
    /// Start of the range; `None` means the cursor.
    pub from: Option<Expr>,
    /// End of the range, exclusive; `None` means `meta.started_at`.
    pub to: Option<Expr>,
    /// Length of a slice. The last slice may be shorter.
    pub step: SliceLength,
    /// Timezone of the days and months of `step`, of times without a zone, and of dates; `None`
    /// means UTC.
    pub timezone: Option<Tz>,
    /// Format in which the ends of a slice are sent.
    pub format: TimeFormat,
    /// True if the end that is sent belongs to the slice: the last time before the slice's end, in
    /// the precision of the format.
    pub inclusive_end: bool,
    /// Name of the parameter with the start of a slice.
    pub from_param: Option<String>,
    /// Name of the parameter with the end of a slice.
    pub to_param: Option<String>,
    /// JSON pointer of the object: `/definition/step/window`.
    pub pointer: String,
}

/// Format of a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 in UTC with whole seconds, such as `2026-01-31T00:00:00Z`.
    Rfc3339,
    /// Seconds since the epoch, as a number.
    EpochSeconds,
    /// Milliseconds since the epoch, as a number.
    EpochMillis,
    /// A date, such as `2026-01-31`.
    Date,
    /// A valid `strftime` pattern.
    Strftime(String),
}

/// Numbers of at least this size count milliseconds and not seconds. As seconds it would be the
/// year 5138; as milliseconds it is 1973.
const MILLIS_FROM: u64 = 100_000_000_000;
/// Text with fewer digits is not read as a number since the epoch: `20260115` is a date.
const EPOCH_DIGITS: usize = 9;

impl TimeFormat {
    /// Formats a time, truncated to the precision of the format. Dates and strftime patterns show
    /// the time of `zone`.
    fn spell(&self, time: DateTime<Utc>, zone: Tz) -> Value {
        match self {
            Self::Rfc3339 => time.to_rfc3339_opts(SecondsFormat::Secs, true).into(),
            Self::EpochSeconds => time.timestamp().into(),
            Self::EpochMillis => time.timestamp_millis().into(),
            Self::Date => time.with_timezone(&zone).format("%Y-%m-%d").to_string().into(),
            Self::Strftime(pattern) => time::parse_pattern(pattern)
                .map(|items| {
                    time.with_timezone(&zone).format_with_items(items.into_iter()).to_string().into()
                })
                .into(),
        }
    }
}

impl TimeWindow {
    /// Parses a value of `from` or `to`.
    ///
    /// It accepts RFC 3339, a date, a date and time without a zone (the window's), text in the
    /// window's own format, and seconds or milliseconds since the epoch as a number or as text.
    /// Unless the format defines the unit, numbers from 10^11 are milliseconds.
    ///
    /// # Errors
    /// Fails with an explanation if the value is not a time.
    pub fn bound(&self, value: &Value) -> Result<DateTime<Utc>, String> {
        match value.json_type() {
            JsonType::Number => self.epoch(&value.to_text().unwrap_or_default()),
            JsonType::Text => {
                let text = value.as_str().unwrap_or_default();
                self.time(text).ok_or_else(|| {
                    "the text is no time: neither RFC 3339, nor a date, nor seconds or milliseconds of the epoch".to_owned()
                })
            }
            JsonType::Null => Err("there is none: the value is null".to_owned()),
            kind => Err(format!("a time is text or a number, and this is of type {kind}")),
        }
    }

    /// Returns the end of a slice in the range from `start` to `to`; the first slice has index 0.
    #[must_use]
    pub fn slice_end(&self, index: u64, start: DateTime<Utc>, to: DateTime<Utc>) -> DateTime<Utc> {
        // Only ends near that of the calendar cannot be computed: then the slice ends with the
        // range.
        self.step.end_of(index, start, self.timezone).map_or(to, |end| end.min(to))
    }

    /// Returns the two ends of a slice, which is not empty, as requests and expressions see them.
    #[must_use]
    pub fn spell_ends(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> [Value; 2] {
        let zone = self.timezone.unwrap_or(Tz::UTC);
        // A millisecond is the precision of ranges. Truncated to that of the format, it is the last
        // day, second or millisecond of the slice.
        let to = if self.inclusive_end { to - TimeDelta::milliseconds(1) } else { to };
        [self.format.spell(from, zone), self.format.spell(to, zone)]
    }

    fn time(&self, text: &str) -> Option<DateTime<Utc>> {
        let zone = self.timezone.unwrap_or(Tz::UTC);
        if let TimeFormat::Strftime(pattern) = &self.format
            && let Some(time) = time::parse_with_pattern_in(text, pattern, zone)
        {
            return Some(time);
        }
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let counted = matches!(self.format, TimeFormat::EpochSeconds | TimeFormat::EpochMillis);
        time::parse_any_in(text, zone)
            .or_else(|| (counted || digits >= EPOCH_DIGITS).then(|| self.epoch(text).ok()).flatten())
    }

    fn epoch(&self, text: &str) -> Result<DateTime<Utc>, String> {
        let out_of_range = || "the number is no time of the epoch".to_owned();
        let number = Decimal::parse(text).ok_or_else(out_of_range)?;
        let millis = match self.format {
            TimeFormat::EpochSeconds => false,
            TimeFormat::EpochMillis => true,
            _ => number.whole().unsigned_abs() >= u128::from(MILLIS_FROM),
        };
        let count = if millis { number.whole() } else { number.scaled(3).ok_or_else(out_of_range)? };
        i64::try_from(count).ok().and_then(|count| time::from_unix(count, true)).ok_or_else(out_of_range)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use proptest::prelude::*;

    use super::*;

    fn window(format: TimeFormat, step: TimeDelta) -> TimeWindow {
        TimeWindow {
            from: None,
            to: None,
            step: SliceLength::Exact(step),
            timezone: None,
            format,
            inclusive_end: false,
            from_param: None,
            to_param: None,
            pointer: "/definition/step/window".to_owned(),
        }
    }

    fn berlin(format: TimeFormat) -> TimeWindow {
        TimeWindow { timezone: Some(Tz::Europe__Berlin), ..window(format, TimeDelta::days(1)) }
    }

    fn at(text: &str) -> DateTime<Utc> {
        time::parse_rfc3339(text).unwrap()
    }

    fn strftime(pattern: &str) -> TimeFormat {
        TimeFormat::Strftime(pattern.to_owned())
    }

    #[test]
    fn times_are_written_in_the_format() {
        let time = at("2026-01-15T10:30:05.678Z");
        for (format, json) in [
            (TimeFormat::Rfc3339, "\"2026-01-15T10:30:05Z\""),
            (TimeFormat::EpochSeconds, "1768473005"),
            (TimeFormat::EpochMillis, "1768473005678"),
            (TimeFormat::Date, "\"2026-01-15\""),
            (strftime("%Y/%m/%d %H"), "\"2026/01/15 10\""),
            (strftime("%s"), "\"1768473005\""),
            (strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"), "\"2026-01-15T10:30:05.678+00:00\""),
            (strftime("%Z"), "\"UTC\""),
        ] {
            assert_eq!(String::from_utf8(format.spell(time, Tz::UTC).to_json()).unwrap(), json, "{format:?}");
        }
        let early = Utc.with_ymd_and_hms(1969, 12, 31, 23, 59, 59).unwrap();
        assert_eq!(TimeFormat::EpochSeconds.spell(early, Tz::UTC), Value::from(-1_i64));
    }

    #[test]
    fn bounds_are_read_in_every_common_form() {
        use TimeFormat::{Date, EpochMillis, EpochSeconds, Rfc3339};
        for (format, json, expected) in [
            (Rfc3339, "\"2026-01-15T12:30:00+02:00\"", "2026-01-15T10:30:00Z"),
            (Rfc3339, "\"2026-01-15T10:30:00.250Z\"", "2026-01-15T10:30:00.250Z"),
            (Rfc3339, "\"2026-01-15\"", "2026-01-15T00:00:00Z"),
            (Rfc3339, "\"2026-01-15 10:30:00\"", "2026-01-15T10:30:00Z"),
            (Rfc3339, "\"Thu, 15 Jan 2026 10:30:00 GMT\"", "2026-01-15T10:30:00Z"),
            (Rfc3339, "1768473000", "2026-01-15T10:30:00Z"),
            (Rfc3339, "1768473000.5", "2026-01-15T10:30:00.500Z"),
            (Rfc3339, "1768473000500", "2026-01-15T10:30:00.500Z"),
            (Rfc3339, "\"1768473000\"", "2026-01-15T10:30:00Z"),
            (Rfc3339, "-1", "1969-12-31T23:59:59Z"),
            (Rfc3339, "99999999999", "5138-11-16T09:46:39Z"),
            (Rfc3339, "100000000000", "1973-03-03T09:46:40Z"),
            (EpochMillis, "1000", "1970-01-01T00:00:01Z"),
            (EpochMillis, "1000.9", "1970-01-01T00:00:01Z"),
            (EpochMillis, "\"1000\"", "1970-01-01T00:00:01Z"),
            (EpochSeconds, "\"1000\"", "1970-01-01T00:16:40Z"),
            (EpochSeconds, "100000000001", "5138-11-16T09:46:41Z"),
            (Date, "\"2026-01-15\"", "2026-01-15T00:00:00Z"),
            (strftime("%d.%m.%Y"), "\"15.01.2026\"", "2026-01-15T00:00:00Z"),
            (strftime("%Y%m%d"), "\"20260115\"", "2026-01-15T00:00:00Z"),
            (strftime("%Y%m%d%H%M%S"), "\"20260115103000\"", "2026-01-15T10:30:00Z"),
            (strftime("%d.%m.%Y"), "\"2026-01-15\"", "2026-01-15T00:00:00Z"),
        ] {
            let window = window(format.clone(), TimeDelta::days(1));
            let bound = window.bound(&Value::parse(json.as_bytes()).unwrap());
            assert_eq!(bound, Ok(at(expected)), "{format:?} {json}");
        }
    }

    #[test]
    fn times_without_a_zone_are_those_of_the_timezone() {
        for (format, json, expected) in [
            (TimeFormat::Date, "\"2026-07-15\"", "2026-07-14T22:00:00Z"),
            (TimeFormat::Rfc3339, "\"2026-01-15 10:30:00\"", "2026-01-15T09:30:00Z"),
            (TimeFormat::Rfc3339, "\"2026-01-15T10:30:00Z\"", "2026-01-15T10:30:00Z"),
            (strftime("%d.%m.%Y"), "\"15.01.2026\"", "2026-01-14T23:00:00Z"),
            (TimeFormat::EpochSeconds, "1768473000", "2026-01-15T10:30:00Z"),
        ] {
            let bound = berlin(format.clone()).bound(&Value::parse(json.as_bytes()).unwrap());
            assert_eq!(bound, Ok(at(expected)), "{format:?} {json}");
        }
    }

    #[test]
    fn ends_are_written_in_the_timezone_and_may_be_inclusive() {
        let ends = |window: TimeWindow, to: &str| {
            let ends = window.spell_ends(at("2026-03-28T23:00:00Z"), at(to));
            ends.map(|end| String::from_utf8(end.to_json()).unwrap()).join(" ")
        };
        let inclusive = |format| TimeWindow { inclusive_end: true, ..berlin(format) };
        use TimeFormat::{Date, EpochMillis, EpochSeconds, Rfc3339};
        for (window, to, expected) in [
            (berlin(Date), "2026-03-29T22:00:00Z", r#""2026-03-29" "2026-03-30""#),
            (inclusive(Date), "2026-03-29T22:00:00Z", r#""2026-03-29" "2026-03-29""#),
            (inclusive(Date), "2026-03-30T12:00:00Z", r#""2026-03-29" "2026-03-30""#),
            (
                berlin(strftime("%d.%m. %H:%M %z")),
                "2026-03-29T22:00:00Z",
                r#""29.03. 00:00 +0100" "30.03. 00:00 +0200""#,
            ),
            (inclusive(strftime("%H:%M:%S")), "2026-03-29T22:00:00Z", r#""00:00:00" "23:59:59""#),
            (inclusive(Rfc3339), "2026-03-29T22:00:00Z", r#""2026-03-28T23:00:00Z" "2026-03-29T21:59:59Z""#),
            (inclusive(EpochSeconds), "2026-03-29T22:00:00.500Z", "1774738800 1774821600"),
            (inclusive(EpochMillis), "2026-03-29T22:00:00Z", "1774738800000 1774821599999"),
        ] {
            assert_eq!(ends(window, to), expected);
        }
    }

    #[test]
    fn value_that_is_not_a_time_is_explained() {
        for (json, words) in [
            ("null", "there is none"),
            ("true", "of type boolean"),
            ("[]", "of type list"),
            ("\"soon\"", "no time"),
            ("\"20260115\"", "no time"),
            ("\"\"", "no time"),
            ("1e300", "no time of the epoch"),
            ("1e20", "no time of the epoch"),
        ] {
            let error = window(TimeFormat::Rfc3339, TimeDelta::days(1))
                .bound(&Value::parse(json.as_bytes()).unwrap());
            assert!(error.clone().is_err_and(|error| error.contains(words)), "{json}: {error:?}");
        }
    }

    #[test]
    fn slices_cover_the_range_in_order() {
        let window = window(TimeFormat::Rfc3339, TimeDelta::hours(24));
        // A clock change in Europe and a leap day, which must not change the length of a slice.
        for (from, to, ends) in [
            (
                "2026-03-28T12:00:00Z",
                "2026-03-30T12:00:00Z",
                vec!["2026-03-29T12:00:00Z", "2026-03-30T12:00:00Z"],
            ),
            (
                "2024-02-28T00:00:00Z",
                "2024-03-01T06:00:00Z",
                vec!["2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z", "2024-03-01T06:00:00Z"],
            ),
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", vec![]),
        ] {
            let (from, to) = (at(from), at(to));
            let mut found = Vec::new();
            while found.last().unwrap_or(&from) < &to {
                found.push(window.slice_end(found.len() as u64, from, to));
            }
            assert_eq!(found, ends.into_iter().map(at).collect::<Vec<_>>());
        }
        assert_eq!(
            window.slice_end(0, DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MAX_UTC),
            DateTime::<Utc>::MAX_UTC
        );
    }

    proptest! {
        #[test]
        fn written_time_is_read_back(seconds in -60_000_000_000_i64..250_000_000_000) {
            let time = time::from_unix(seconds, false).unwrap();
            for format in [TimeFormat::Rfc3339, TimeFormat::EpochSeconds, TimeFormat::EpochMillis] {
                let window = window(format, TimeDelta::days(1));
                prop_assert_eq!(window.bound(&window.format.spell(time, Tz::UTC)), Ok(time));
            }
        }

        #[test]
        fn any_value_is_a_time_or_an_error(text in "\\PC{0,20}", number: f64) {
            for format in [TimeFormat::Rfc3339, strftime("%Y%m%d"), TimeFormat::EpochMillis] {
                let window = window(format, TimeDelta::days(1));
                let _times = [window.bound(&text.as_str().into()), window.bound(&Value::decimal(number))];
            }
        }
    }
}
