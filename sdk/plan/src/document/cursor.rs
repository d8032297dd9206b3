//! `cursor`.

use serde_json::Value;

use super::context::Context;
use super::level::{Level, Scopes};
use super::object::{Object, wrong_type};
use super::request;
use crate::expr::InScope;
use crate::template::JsonTemplate;
use crate::{Cursor, CursorKind, CursorLookback, Diagnostic, DiagnosticCode};

pub(crate) const FIELDS: &[&str] = &["value", "type", "start", "lookback", "param", "ordered", "per_item"];

pub(crate) const TYPES: &[(&str, CursorKind)] = &[
    ("timestamp", CursorKind::Timestamp),
    ("epoch_s", CursorKind::EpochSeconds),
    ("epoch_ms", CursorKind::EpochMillis),
    ("number", CursorKind::Number),
    ("text", CursorKind::Text),
];

pub(super) fn read(
    step: &Object<'_>,
    level: &Level,
    scopes: &Scopes,
    context: &mut Context<'_>,
) -> Option<Cursor> {
    let value = step.get("cursor")?;
    let object = Object::open(value, &step.at("cursor"), FIELDS, context)?;
    let kind = match object.choice("type", TYPES, context) {
        None if object.has("type") => None,
        kind => Some(kind.unwrap_or(CursorKind::Timestamp)),
    };
    object.require("value", context);
    let value = object.expr("value", &scopes.within.storing(), context);
    let kept = scopes.item.storing();
    let start = object.get("start").and_then(|value| start(value, kind, &object, &kept, context));
    let lookback = kind.and_then(|kind| lookback(kind, &object, context));
    let param = object.param("param", context);
    let ordered = object.boolean("ordered", context).unwrap_or(false);
    let per_item = object.expr("per_item", &kept, context);
    if object.has("per_item") && !level.has_item(step) {
        let words = "per_item keeps one cursor per item, and there is none: it needs for_each, or rows around the step";
        context.conflict(object.at("per_item"), words);
    }
    Some(Cursor {
        value: value?,
        kind: kind?,
        start,
        lookback,
        param,
        ordered,
        per_item,
        pointer: object.pointer,
    })
}

/// Text, which may be a template, or a number. What is known now is checked now.
fn start(
    value: &Value,
    kind: Option<CursorKind>,
    object: &Object<'_>,
    scope: &InScope,
    context: &mut Context<'_>,
) -> Option<JsonTemplate> {
    let pointer = object.at("start");
    if !matches!(value, Value::String(_) | Value::Number(_)) {
        context.report(wrong_type(&pointer, "text or a number", value));
        return None;
    }
    let start = request::json(value, &pointer, scope, context)?;
    if let (JsonTemplate::Literal(literal), Some(kind)) = (&start, kind)
        && let Err(words) = kind.check(literal)
    {
        context.report(Diagnostic::new(DiagnosticCode::InvalidValue, pointer, words));
    }
    Some(start)
}

fn lookback(kind: CursorKind, object: &Object<'_>, context: &mut Context<'_>) -> Option<CursorLookback> {
    let value = object.get("lookback")?;
    match kind {
        CursorKind::Timestamp | CursorKind::EpochSeconds | CursorKind::EpochMillis => {
            object.span("lookback", context).map(CursorLookback::Time)
        }
        CursorKind::Number => match value {
            Value::Number(number) if number.as_f64().is_some_and(|number| number > 0.0) => {
                Some(CursorLookback::Number(number.clone()))
            }
            Value::Number(number) => {
                let words = format!("{number} is not more than 0");
                context.report(Diagnostic::new(DiagnosticCode::OutOfRange, object.at("lookback"), words));
                None
            }
            other => {
                context.report(wrong_type(&object.at("lookback"), "a number, as the cursor is", other));
                None
            }
        },
        CursorKind::Text => {
            context.conflict(object.at("lookback"), "nothing can be taken off a cursor of text");
            None
        }
    }
}
