//! Reads `cursor`.

use serde_json::Value;

use super::context::ReadContext;
use super::object::{ObjectReader, wrong_type};
use super::request;
use super::step_position::{StepPosition, StepScopes};
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
    step: &ObjectReader<'_>,
    position: &StepPosition,
    scopes: &StepScopes,
    context: &mut ReadContext<'_>,
) -> Option<Cursor> {
    let value = step.get("cursor")?;
    let object = ObjectReader::open(value, &step.at("cursor"), FIELDS, context)?;
    let kind = match object.choice("type", TYPES, context) {
        None if object.has("type") => None,
        kind => Some(kind.unwrap_or(CursorKind::Timestamp)),
    };
    object.require("value", context);
    let value = object.expr("value", &scopes.in_page.storing(), context);
    let kept = scopes.with_item.storing();
    let start = object.get("start").and_then(|value| start(value, kind, &object, &kept, context));
    let lookback = kind.and_then(|kind| lookback(kind, &object, context));
    let param = object.param("param", context);
    let ordered = object.boolean("ordered", context).unwrap_or(false);
    let per_item = object.expr("per_item", &kept, context);
    if object.has("per_item") && !position.has_item(step) {
        let words = "per_item keeps one cursor per item, but there are no items: it needs for_each, or rows of a step around this one";
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

/// Reads `start`: a number, or text that may hold templates. A value without templates is checked
/// against the cursor's type at once.
fn start(
    value: &Value,
    kind: Option<CursorKind>,
    object: &ObjectReader<'_>,
    scope: &InScope,
    context: &mut ReadContext<'_>,
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

fn lookback(
    kind: CursorKind,
    object: &ObjectReader<'_>,
    context: &mut ReadContext<'_>,
) -> Option<CursorLookback> {
    let value = object.get("lookback")?;
    match kind {
        CursorKind::Timestamp | CursorKind::EpochSeconds | CursorKind::EpochMillis => {
            object.duration("lookback", context).map(CursorLookback::Time)
        }
        CursorKind::Number => match value {
            Value::Number(number) if number.as_f64().is_some_and(|number| number > 0.0) => {
                Some(CursorLookback::Number(number.clone()))
            }
            Value::Number(number) => {
                let words = format!("{number} must be greater than 0");
                context.report(Diagnostic::new(DiagnosticCode::OutOfRange, object.at("lookback"), words));
                None
            }
            other => {
                context.report(wrong_type(&object.at("lookback"), "a number like the cursor", other));
                None
            }
        },
        CursorKind::Text => {
            context.conflict(object.at("lookback"), "a cursor of type text cannot have a lookback");
            None
        }
    }
}
