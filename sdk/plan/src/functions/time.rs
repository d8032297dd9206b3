//! Times are texts in RFC 3339. Every function here takes and gives UTC; nothing reads a clock but `now()`, which gets
//! its answer with the evaluation.

use chrono::format::Item;
use chrono::{DateTime, SecondsFormat, Utc};
use jmespath::Rcvar;

use super::Function;
use super::Param::{Number, Text};
use super::call::{Arg, Args, integer, text};
use crate::expr::{Outcome, Run};
use crate::time::{
    format_utc, from_unix, parse_any, parse_date, parse_duration, parse_pattern, parse_rfc3339,
    parse_with_pattern,
};

pub(super) static FUNCTIONS: &[Function] = &[
    Function::new(
        "now",
        "now() → text",
        "the time of this try, the same wherever it is asked for within it",
        ("now()", "\"2026-01-15T10:30:00Z\""),
        &[],
        |run, _| {
            let now = format_utc(run.env.now());
            text(run, now)
        },
    ),
    Function::new(
        "parse_time",
        "parse_time(text, format?: text) → text",
        "a time from RFC 3339, an HTTP or mail date, a date, a date and time without zone (UTC), or by `format`: `rfc3339`, `date`, `epoch_s`, `epoch_ms` or strftime text",
        ("[parse_time('Thu, 15 Jan 2026 10:30:00 GMT'), parse_time('15.01.2026', '%d.%m.%Y')]", r#"["2026-01-15T10:30:00Z", "2026-01-15T00:00:00Z"]"#),
        &[Text, Text],
        parse_time,
    )
    .optional(1),
    Function::new(
        "format_time",
        "format_time(time: text, format: text) → text",
        "a time as `rfc3339` (whole seconds, `Z`), `date`, `epoch_s`, `epoch_ms` or by strftime text",
        ("[format_time(now(), 'date'), format_time(now(), '%H:%M')]", r#"["2026-01-15", "10:30"]"#),
        &[Text, Text],
        format_time,
    ),
    Function::new(
        "time_add",
        "time_add(time: text, duration: text) → text",
        "a time moved by a duration like `90s`, `-10m`, `1d12h` (ms, s, m, h, d, w)",
        ("time_add(now(), '-1d')", "\"2026-01-14T10:30:00Z\""),
        &[Text, Text],
        time_add,
    ),
    Function::new(
        "to_epoch",
        "to_epoch(time: text, unit?: 's' | 'ms') → number",
        "whole seconds, or milliseconds, since 1970",
        ("to_epoch('2026-01-15T10:30:00Z')", "1768473000"),
        &[Text, Text],
        to_epoch,
    )
    .optional(1),
    Function::new(
        "from_epoch",
        "from_epoch(number, unit?: 's' | 'ms') → text",
        "the time that many seconds, or milliseconds, after 1970",
        ("from_epoch(`1768473000500`, 'ms')", "\"2026-01-15T10:30:00.500Z\""),
        &[Number, Text],
        from_epoch,
    )
    .optional(1),
];

fn instant(run: &Run<'_>, text: &str) -> Outcome<DateTime<Utc>> {
    parse_any(text).ok_or_else(|| run.fail("the text is not a time"))
}

/// The parts of a strftime text.
fn strftime<'f>(run: &Run<'_>, format: &'f str) -> Outcome<Vec<Item<'f>>> {
    parse_pattern(format).ok_or_else(|| run.fail("the format is no time format"))
}

fn parse_time(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let subject = args.text(0).trim();
    let wrong = |run: &Run<'_>| run.fail("the text is not a time of this format");
    let parsed = match args.value(1).map(|_| args.text(1)) {
        None => instant(run, subject)?,
        Some("rfc3339") => parse_rfc3339(subject).ok_or_else(|| wrong(run))?,
        Some("date") => parse_date(subject, "%Y-%m-%d").ok_or_else(|| wrong(run))?,
        Some(unit @ ("epoch_s" | "epoch_ms")) => {
            let count = subject.parse().map_err(|_| wrong(run))?;
            from_unix(count, unit == "epoch_ms").ok_or_else(|| wrong(run))?
        }
        Some(format) => {
            strftime(run, format)?;
            parse_with_pattern(subject, format).ok_or_else(|| wrong(run))?
        }
    };
    text(run, format_utc(parsed))
}

fn format_time(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let time = instant(run, args.text(0))?;
    let formatted = match args.text(1) {
        "rfc3339" => time.to_rfc3339_opts(SecondsFormat::Secs, true),
        "date" => time.format("%Y-%m-%d").to_string(),
        "epoch_s" => time.timestamp().to_string(),
        "epoch_ms" => time.timestamp_millis().to_string(),
        format => time.format_with_items(strftime(run, format)?.into_iter()).to_string(),
    };
    text(run, formatted)
}

fn time_add(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let time = instant(run, args.text(0))?;
    let by = parse_duration(args.text(1)).ok_or_else(|| run.fail("the text is not a duration"))?;
    let moved = time.checked_add_signed(by).ok_or_else(|| run.fail("the time is out of range"))?;
    text(run, format_utc(moved))
}

fn milliseconds(run: &Run<'_>, args: &[Arg<'_>]) -> Outcome<bool> {
    match args.value(1).map_or("s", |_| args.text(1)) {
        "s" => Ok(false),
        "ms" => Ok(true),
        _ => Err(run.fail("the unit is neither 's' nor 'ms'")),
    }
}

fn to_epoch(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let time = instant(run, args.text(0))?;
    Ok(integer(if milliseconds(run, args)? { time.timestamp_millis() } else { time.timestamp() }))
}

fn from_epoch(run: &mut Run<'_>, args: &[Arg<'_>]) -> Outcome<Rcvar> {
    let milliseconds = milliseconds(run, args)?;
    let number = args.number(0);
    let out_of_range = || run.fail(format!("{number} is no time"));
    let time = if let Some(count) = number.as_i64() {
        from_unix(count, milliseconds)
    } else {
        let scale = if milliseconds { 1.0 } else { 1000.0 };
        #[expect(clippy::cast_possible_truncation, reason = "saturates, and then is out of range")]
        let count = (number.as_f64().unwrap_or(f64::MAX) * scale).round() as i64;
        from_unix(count, true)
    };
    let time = time.ok_or_else(out_of_range)?;
    text(run, format_utc(time))
}

#[cfg(test)]
mod tests {
    use crate::expr::tests::eval;

    #[test]
    fn times_are_read_in_their_usual_forms() {
        for (text, expected) in [
            ("2026-01-15T10:30:00Z", "2026-01-15T10:30:00Z"),
            ("2026-01-15T12:30:00.250+02:00", "2026-01-15T10:30:00.250Z"),
            ("2026-01-15T10:30:00.000+0000", "2026-01-15T10:30:00Z"),
            ("2026-01-15 10:30:00", "2026-01-15T10:30:00Z"),
            ("2026-01-15T10:30", "2026-01-15T10:30:00Z"),
            ("2026-01-15", "2026-01-15T00:00:00Z"),
        ] {
            assert_eq!(eval(&format!("parse_time('{text}')")).unwrap(), format!("\"{expected}\""));
        }
        assert!(eval("parse_time('soon')").unwrap_err().message.contains("the text is not a time"));
    }

    #[test]
    fn formats_that_chrono_does_not_know_are_errors() {
        assert!(eval("format_time('2026-01-15', '%!')").unwrap_err().message.contains("no time format"));
        assert!(eval("parse_time('x', '%')").unwrap_err().message.contains("no time format"));
        assert!(eval("format_time('2026-01-15', '%Y %Z')").is_ok());
    }

    #[test]
    fn durations_add_up_and_overflow_is_an_error() {
        assert_eq!(eval("time_add('2026-01-15', '1w1d1h1m1s1ms')").unwrap(), "\"2026-01-23T01:01:01.001Z\"");
        for wrong in ["", "-", "5", "1x", "h", "99999999999999999999s", "9223372036854775807w"] {
            assert!(eval(&format!("time_add('2026-01-15', '{wrong}')")).is_err(), "{wrong}");
        }
        assert!(eval("time_add('2026-01-15', '999999999999w')").is_err());
    }

    #[test]
    fn epochs_of_both_units_go_both_ways() {
        assert_eq!(eval("to_epoch('1970-01-01T00:00:01.500Z', 'ms')").unwrap(), "1500");
        assert_eq!(eval("from_epoch(`1.5`)").unwrap(), "\"1970-01-01T00:00:01.500Z\"");
        assert_eq!(eval("from_epoch(`-1`)").unwrap(), "\"1969-12-31T23:59:59Z\"");
        assert!(eval("from_epoch(`1e300`)").is_err());
        assert!(eval("to_epoch('1970-01-01', 'h')").is_err());
    }
}
