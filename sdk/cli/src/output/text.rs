//! Formats times, durations, numbers and shortened lines. Pure.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use prost_types::Timestamp;

/// Formats a timestamp; a dash if there is none.
pub(crate) fn time(timestamp: Option<&Timestamp>) -> String {
    let time = timestamp.and_then(instant);
    time.map_or_else(|| "-".to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// Converts a timestamp; `None` if it is out of range.
pub(crate) fn instant(timestamp: &Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(timestamp.seconds, u32::try_from(timestamp.nanos).ok()?)
}

/// Formats a duration: `350 ms`, `2.4 s`, `3 min 20 s`.
pub(crate) fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Formats a number with separated thousands: `1 987`.
pub(crate) fn number(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let grouped: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    format!("{}{}", if value < 0 { "-" } else { "" }, grouped.join(" "))
}

/// Formats a count with its noun: `1 page`, `1 987 pages`.
pub(crate) fn count(value: i64, one: &str, many: &str) -> String {
    format!("{} {}", number(value), if value == 1 { one } else { many })
}

/// Cuts a text to at most `limit` characters, the last of which is then an ellipsis.
pub(crate) fn shortened(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

/// Returns the start of a text on one line. Control characters, which would disturb a terminal, and
/// white space become single spaces.
pub(crate) fn on_one_line(text: &str, limit: usize) -> String {
    let is_space = |letter: char| letter.is_whitespace() || letter.is_control();
    // Bodies are long, and only their start is shown: each word has at least one character.
    let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).take(limit).collect();
    shortened(&words.join(" "), limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_time_is_a_dash() {
        assert_eq!(time(None), "-");
        assert_eq!(time(Some(&Timestamp { seconds: 0, nanos: -1 })), "-");
        assert_eq!(time(Some(&Timestamp { seconds: 1_736_150_400, nanos: 5 })), "2025-01-06T08:00:00Z");
    }

    #[test]
    fn durations_use_a_fitting_unit() {
        for (ms, expected) in [(0, "0 ms"), (999, "999 ms"), (2_400, "2.4 s"), (200_000, "3 min 20 s")] {
            assert_eq!(duration(Duration::from_millis(ms)), expected);
        }
    }

    #[test]
    fn thousands_are_separated() {
        for (value, expected) in
            [(0, "0"), (987, "987"), (1_987, "1 987"), (-1_000, "-1 000"), (12_345_678, "12 345 678")]
        {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn one_uses_the_singular() {
        let pages = |value| count(value, "page", "pages");
        assert_eq!([pages(0), pages(1), pages(1_987)], ["0 pages", "1 page", "1 987 pages"]);
    }

    #[test]
    fn long_text_is_cut_at_characters() {
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüß", 3), "äö…");
    }
}
