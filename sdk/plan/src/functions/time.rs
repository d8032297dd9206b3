//! Functions on times, which are texts in RFC 3339 and UTC. No function reads a clock: `now()`
//! returns the time of the evaluation's environment.

use chrono::format::Item;
use chrono::{DateTime, SecondsFormat, Utc};

use super::call::LibraryFunction;
use super::call::ParamType::{Number, Text};
use super::call::{CallArg, CheckedArgs, integer, text};
use crate::expr::eval::evaluation::{EvalResult, Evaluation};
use crate::time::{
    format_utc, from_unix, parse_any, parse_date, parse_duration, parse_pattern, parse_rfc3339,
    parse_with_pattern, parse_zone,
};
use crate::value::Rcvar;

pub(super) static FUNCTIONS: &[LibraryFunction] = &[
    LibraryFunction::new(
        "now",
        "now() → text",
        "the time of this try; every call within a try returns the same time",
        ("now()", "\"2026-01-15T10:30:00Z\""),
        &[],
        |evaluation, _| {
            let now = format_utc(evaluation.env.now());
            text(evaluation, now)
        },
    ),
    LibraryFunction::new(
        "parse_time",
        "parse_time(text, format?: text) → text",
        "the time from RFC 3339, an HTTP or mail date, a date, or a date and time without zone (UTC); with `format`, from `rfc3339`, `date`, `epoch_s`, `epoch_ms` or a strftime pattern",
        ("[parse_time('Thu, 15 Jan 2026 10:30:00 GMT'), parse_time('15.01.2026', '%d.%m.%Y')]", r#"["2026-01-15T10:30:00Z", "2026-01-15T00:00:00Z"]"#),
        &[Text, Text],
        parse_time,
    )
    .optional(1),
    LibraryFunction::new(
        "format_time",
        "format_time(time: text, format: text, timezone?: text) → text",
        "the time as `rfc3339` (whole seconds, `Z`), `date`, `epoch_s`, `epoch_ms` or by a strftime pattern; in UTC, or in an IANA timezone",
        (
            "[format_time(now(), 'date'), format_time(now(), '%H:%M', 'Europe/Berlin')]",
            r#"["2026-01-15", "11:30"]"#,
        ),
        &[Text, Text, Text],
        format_time,
    )
    .optional(1),
    LibraryFunction::new(
        "time_add",
        "time_add(time: text, duration: text) → text",
        "the time plus a duration such as `90s`, `-10m` or `1d12h` (units: ms, s, m, h, d, w)",
        ("time_add(now(), '-1d')", "\"2026-01-14T10:30:00Z\""),
        &[Text, Text],
        time_add,
    ),
    LibraryFunction::new(
        "to_epoch",
        "to_epoch(time: text, unit?: 's' | 'ms') → number",
        "the whole seconds or milliseconds since 1970",
        ("to_epoch('2026-01-15T10:30:00Z')", "1768473000"),
        &[Text, Text],
        to_epoch,
    )
    .optional(1),
    LibraryFunction::new(
        "from_epoch",
        "from_epoch(number, unit?: 's' | 'ms') → text",
        "the time of a number of seconds or milliseconds since 1970",
        ("from_epoch(`1768473000500`, 'ms')", "\"2026-01-15T10:30:00.500Z\""),
        &[Number, Text],
        from_epoch,
    )
    .optional(1),
];

fn instant(evaluation: &Evaluation<'_>, text: &str) -> EvalResult<DateTime<Utc>> {
    parse_any(text).ok_or_else(|| evaluation.fail("the text is not a time"))
}

/// Parses a strftime pattern. Fails if chrono does not know it.
fn strftime<'f>(evaluation: &Evaluation<'_>, format: &'f str) -> EvalResult<Vec<Item<'f>>> {
    parse_pattern(format).ok_or_else(|| evaluation.fail("the format is not a valid time format"))
}

fn parse_time(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let subject = args.text(0).trim();
    let wrong = |evaluation: &Evaluation<'_>| evaluation.fail("the text is not a time of this format");
    let parsed = match args.value(1).map(|_| args.text(1)) {
        None => instant(evaluation, subject)?,
        Some("rfc3339") => parse_rfc3339(subject).ok_or_else(|| wrong(evaluation))?,
        Some("date") => parse_date(subject, "%Y-%m-%d").ok_or_else(|| wrong(evaluation))?,
        Some(unit @ ("epoch_s" | "epoch_ms")) => {
            let count = subject.parse().map_err(|_| wrong(evaluation))?;
            from_unix(count, unit == "epoch_ms").ok_or_else(|| wrong(evaluation))?
        }
        Some(format) => {
            strftime(evaluation, format)?;
            parse_with_pattern(subject, format).ok_or_else(|| wrong(evaluation))?
        }
    };
    text(evaluation, format_utc(parsed))
}

fn format_time(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let time = instant(evaluation, args.text(0))?;
    let zone = match args.value(2).map(|_| args.text(2)) {
        None => chrono_tz::UTC,
        Some(name) => parse_zone(name).ok_or_else(|| evaluation.fail("the timezone is no IANA name"))?,
    };
    let local = time.with_timezone(&zone);
    let formatted = match args.text(1) {
        "rfc3339" => local.to_rfc3339_opts(SecondsFormat::Secs, true),
        "date" => local.format("%Y-%m-%d").to_string(),
        "epoch_s" => time.timestamp().to_string(),
        "epoch_ms" => time.timestamp_millis().to_string(),
        format => local.format_with_items(strftime(evaluation, format)?.into_iter()).to_string(),
    };
    text(evaluation, formatted)
}

fn time_add(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let time = instant(evaluation, args.text(0))?;
    let by = parse_duration(args.text(1)).ok_or_else(|| evaluation.fail("the text is not a duration"))?;
    let moved = time.checked_add_signed(by).ok_or_else(|| evaluation.fail("the time is out of range"))?;
    text(evaluation, format_utc(moved))
}

fn milliseconds(evaluation: &Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<bool> {
    match args.value(1).map_or("s", |_| args.text(1)) {
        "s" => Ok(false),
        "ms" => Ok(true),
        _ => Err(evaluation.fail("the unit is neither 's' nor 'ms'")),
    }
}

fn to_epoch(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let time = instant(evaluation, args.text(0))?;
    Ok(integer(if milliseconds(evaluation, args)? { time.timestamp_millis() } else { time.timestamp() }))
}

fn from_epoch(evaluation: &mut Evaluation<'_>, args: &[CallArg<'_>]) -> EvalResult<Rcvar> {
    let milliseconds = milliseconds(evaluation, args)?;
    let number = args.number(0);
    let out_of_range = || evaluation.fail(format!("{number} is out of the range of times"));
    let time = if let Some(count) = number.as_i64() {
        from_unix(count, milliseconds)
    } else {
        // A decimal keeps its milliseconds, so seconds are scaled before they are rounded.
        let scale = if milliseconds { 1.0 } else { 1000.0 };
        #[expect(clippy::cast_possible_truncation, reason = "saturates, and is then out of range")]
        let count = (number.as_f64() * scale).round() as i64;
        from_unix(count, true)
    };
    let time = time.ok_or_else(out_of_range)?;
    text(evaluation, format_utc(time))
}

#[cfg(test)]
mod tests {
    use crate::expr::tests::eval;

    #[test]
    fn usual_forms_of_a_time_are_parsed() {
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
    fn unknown_format_is_an_error() {
        assert!(
            eval("format_time('2026-01-15', '%!')").unwrap_err().message.contains("not a valid time format")
        );
        assert!(eval("parse_time('x', '%')").unwrap_err().message.contains("not a valid time format"));
        assert!(eval("format_time('2026-01-15', '%Y %Z')").is_ok());
    }

    #[test]
    fn time_is_formatted_in_a_timezone() {
        for (time, format, zone, expected) in [
            ("2026-03-28T23:30:00Z", "date", "Europe/Berlin", "2026-03-29"),
            ("2026-03-29T01:00:00Z", "rfc3339", "Europe/Berlin", "2026-03-29T03:00:00+02:00"),
            ("2026-01-15T10:30:00Z", "%d %H:%M %z", "Asia/Kathmandu", "15 16:15 +0545"),
            ("2026-01-15T10:30:00Z", "epoch_s", "Asia/Kathmandu", "1768473000"),
        ] {
            let formatted = eval(&format!("format_time('{time}', '{format}', '{zone}')")).unwrap();
            assert_eq!(formatted, format!("\"{expected}\""));
        }
        assert_eq!(eval("format_time('2026-01-15', '%Z', 'UTC')").unwrap(), "\"UTC\"");
        let error = eval("format_time('2026-01-15', 'date', lower('CET/Bonn'))").unwrap_err();
        assert!(error.message.contains("no IANA name"), "{error}");
    }

    #[test]
    fn time_add_sums_units_and_refuses_overflow() {
        assert_eq!(eval("time_add('2026-01-15', '1w1d1h1m1s1ms')").unwrap(), "\"2026-01-23T01:01:01.001Z\"");
        for wrong in ["", "-", "5", "1x", "h", "99999999999999999999s", "9223372036854775807w"] {
            assert!(eval(&format!("time_add('2026-01-15', '{wrong}')")).is_err(), "{wrong}");
        }
        assert!(eval("time_add('2026-01-15', '999999999999w')").is_err());
    }

    #[test]
    fn epoch_functions_convert_both_units() {
        assert_eq!(eval("to_epoch('1970-01-01T00:00:01.500Z', 'ms')").unwrap(), "1500");
        assert_eq!(eval("from_epoch(`1.5`)").unwrap(), "\"1970-01-01T00:00:01.500Z\"");
        assert_eq!(eval("from_epoch(`-1`)").unwrap(), "\"1969-12-31T23:59:59Z\"");
        assert!(eval("from_epoch(`1e300`)").is_err());
        assert!(eval("to_epoch('1970-01-01', 'h')").is_err());
    }
}
