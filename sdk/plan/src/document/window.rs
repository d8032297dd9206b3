//! Reads `window`.

use orchid_common::suggest::closest;
use serde_json::Value;

use super::context::ReadContext;
use super::object::ObjectReader;
use super::schedule::timezone;
use super::step_position::StepScopes;
use crate::diagnostic::quoted;
use crate::{Diagnostic, DiagnosticCode, ScopeName, SliceLength, TimeFormat, TimeWindow, time};

pub(crate) const FIELDS: &[&str] =
    &["from", "to", "step", "timezone", "format", "inclusive_end", "from_param", "to_param"];

/// Names of the formats. Every other format is a `strftime` pattern.
pub(crate) const FORMATS: &[&str] = &["rfc3339", "epoch_s", "epoch_ms", "date"];

/// Longest slice in days.
const MAX_STEP_DAYS: i64 = 36_525;
/// Maximum size of a pattern, in bytes.
const PATTERN_MAX_BYTES: usize = 128;

pub(super) fn read(
    step: &ObjectReader<'_>,
    scopes: &StepScopes,
    context: &mut ReadContext<'_>,
) -> Option<TimeWindow> {
    let value = step.get("window")?;
    let object = ObjectReader::open(value, &step.at("window"), FIELDS, context)?;
    let ends = scopes.before_first_page.storing();
    let from = object.expr("from", &ends, context);
    let to = object.expr("to", &ends, context);
    object.require("step", context);
    let timezone = timezone(&object, context).and_then(|name| time::parse_zone(&name));
    let length = length(&object, context).filter(|step| is_bounded(*step, &object, context));
    let inclusive_end = object.boolean("inclusive_end", context).unwrap_or(false);
    let format = format(&object, context);
    let from_param = object.param("from_param", context);
    let to_param = object.param("to_param", context);
    if !object.has("from") {
        check_cursor(step, &object, scopes, context);
    }
    let (step, format) = (length?, format?);
    if format == TimeFormat::Date && !step.is_whole_days() {
        context.conflict(object.at("step"), "format date needs slices of whole days");
    } else if timezone.is_some() && !step.is_whole_days() {
        context.conflict(object.at("step"), "timezone needs slices of whole days, months or years");
    }
    Some(TimeWindow {
        from,
        to,
        step,
        timezone,
        format,
        inclusive_end,
        from_param,
        to_param,
        pointer: object.pointer,
    })
}

fn length(object: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> Option<SliceLength> {
    let text = object.get("step").and_then(Value::as_str);
    // Whether the timezone is valid does not matter here: it only selects days of the calendar.
    if let Some(length) = text.and_then(|text| SliceLength::parse(text, object.has("timezone"))) {
        return Some(length);
    }
    let is_calendar =
        |text: &&str| text.split(|char: char| char.is_ascii_digit()).any(|unit| matches!(unit, "mo" | "y"));
    if let Some(text) = text.filter(is_calendar) {
        let words = format!(
            "{text} is not a length: months and years, such as 1mo, 1y or 1y6mo, cannot be mixed with other \
             units",
            text = quoted(text)
        );
        context.report(Diagnostic::new(DiagnosticCode::InvalidValue, object.at("step"), words));
        return None;
    }
    // Every valid duration was read above: this reports the problem.
    object.duration("step", context).map(SliceLength::Exact)
}

fn is_bounded(step: SliceLength, object: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> bool {
    let bounded = step.days() <= MAX_STEP_DAYS;
    if !bounded {
        let words = format!("a slice may have at most {MAX_STEP_DAYS} days");
        context.report(Diagnostic::new(DiagnosticCode::OutOfRange, object.at("step"), words));
    }
    bounded
}

/// Checks a window without `from`. Its range starts at the cursor, which the first execution only
/// has if `cursor.start` is set.
fn check_cursor(
    step: &ObjectReader<'_>,
    object: &ObjectReader<'_>,
    scopes: &StepScopes,
    context: &mut ReadContext<'_>,
) {
    if !scopes.before_first_page.has(ScopeName::Cursor) {
        let words = "from is required, because the step has no cursor to start at";
        context.report(Diagnostic::new(DiagnosticCode::Required, object.pointer.clone(), words));
    } else if step
        .get("cursor")
        .and_then(Value::as_object)
        .is_some_and(|own| own.get("start").is_none_or(Value::is_null))
    {
        let words = "start is required, because the window has no from and starts at the cursor";
        context.report(Diagnostic::new(DiagnosticCode::Required, step.at("cursor"), words));
    }
}

fn format(object: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> Option<TimeFormat> {
    let text = match object.text("format", context) {
        Some(text) => text,
        None if object.has("format") => return None,
        None => return Some(TimeFormat::Rfc3339),
    };
    match text {
        "rfc3339" => Some(TimeFormat::Rfc3339),
        "epoch_s" => Some(TimeFormat::EpochSeconds),
        "epoch_ms" => Some(TimeFormat::EpochMillis),
        "date" => Some(TimeFormat::Date),
        pattern if pattern.contains('%') => {
            let valid = pattern.len() <= PATTERN_MAX_BYTES && time::parse_pattern(pattern).is_some();
            if !valid {
                let words = format!(
                    "{pattern} is not a strftime pattern of at most {PATTERN_MAX_BYTES} bytes",
                    pattern = quoted(pattern)
                );
                context.report(Diagnostic::new(DiagnosticCode::InvalidValue, object.at("format"), words));
            }
            valid.then(|| TimeFormat::Strftime(pattern.to_owned()))
        }
        other => {
            let words = format!(
                "{other} is not a format: use {} or a strftime pattern",
                FORMATS.join(", "),
                other = quoted(other)
            );
            let mut diagnostic = Diagnostic::new(DiagnosticCode::InvalidValue, object.at("format"), words);
            diagnostic.suggestion = closest(other, FORMATS.iter().copied()).map(str::to_owned);
            context.report(diagnostic);
            None
        }
    }
}
