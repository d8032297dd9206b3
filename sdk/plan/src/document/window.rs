//! `window`.

use chrono::TimeDelta;
use orchid_common::suggest::closest;
use serde_json::Value;

use super::context::Context;
use super::level::Scopes;
use super::object::Object;
use crate::diagnostic::quoted;
use crate::{Diagnostic, DiagnosticCode, ScopeName, TimeFormat, TimeWindow, time};

pub(crate) const FIELDS: &[&str] = &["from", "to", "step", "format", "from_param", "to_param"];

/// The names of formats; everything else is a strftime pattern.
pub(crate) const FORMATS: &[&str] = &["rfc3339", "epoch_s", "epoch_ms", "date"];

/// Days of one slice at most.
const MAX_STEP_DAYS: i64 = 36_525;
/// Bytes of a pattern.
const PATTERN_BYTES: usize = 128;

pub(super) fn read(step: &Object<'_>, scopes: &Scopes, context: &mut Context<'_>) -> Option<TimeWindow> {
    let value = step.get("window")?;
    let object = Object::open(value, &step.at("window"), FIELDS, context)?;
    let ends = scopes.before.storing();
    let from = object.expr("from", &ends, context);
    let to = object.expr("to", &ends, context);
    object.require("step", context);
    let length = object.span("step", context).filter(|step| is_bounded(*step, &object, context));
    let format = format(&object, context);
    let from_param = object.param("from_param", context);
    let to_param = object.param("to_param", context);
    if !object.has("from") {
        beginning(step, &object, scopes, context);
    }
    let (length, format) = (length?, format?);
    if format == TimeFormat::Date && length.num_seconds() % TimeDelta::days(1).num_seconds() != 0 {
        let words = "the format date spells whole days, and a slice is not a number of them";
        context.conflict(object.at("step"), words);
    }
    Some(TimeWindow { from, to, step: length, format, from_param, to_param, pointer: object.pointer })
}

fn is_bounded(step: TimeDelta, object: &Object<'_>, context: &mut Context<'_>) -> bool {
    let bounded = step.num_days() <= MAX_STEP_DAYS;
    if !bounded {
        let words = format!("a slice has at most {MAX_STEP_DAYS} days");
        context.report(Diagnostic::new(DiagnosticCode::OutOfRange, object.at("step"), words));
    }
    bounded
}

/// Without `from` a range begins at the cursor, and a first run's cursor is its `start`.
fn beginning(step: &Object<'_>, object: &Object<'_>, scopes: &Scopes, context: &mut Context<'_>) {
    if !scopes.before.has(ScopeName::Cursor) {
        let words = "from is required: it is the cursor where there is one, and this step has none";
        context.report(Diagnostic::new(DiagnosticCode::Required, object.pointer.clone(), words));
    } else if step
        .get("cursor")
        .and_then(Value::as_object)
        .is_some_and(|own| own.get("start").is_none_or(Value::is_null))
    {
        let words = "a range without from begins at the cursor, which a first run has from its start alone";
        context.report(Diagnostic::new(DiagnosticCode::Required, step.at("cursor"), words));
    }
}

fn format(object: &Object<'_>, context: &mut Context<'_>) -> Option<TimeFormat> {
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
            let valid = pattern.len() <= PATTERN_BYTES && time::parse_pattern(pattern).is_some();
            if !valid {
                let words = format!(
                    "{pattern} is no strftime pattern of at most {PATTERN_BYTES} bytes",
                    pattern = quoted(pattern)
                );
                context.report(Diagnostic::new(DiagnosticCode::InvalidValue, object.at("format"), words));
            }
            valid.then(|| TimeFormat::Strftime(pattern.to_owned()))
        }
        other => {
            let words = format!(
                "{other} is none of {}, and no strftime pattern",
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
