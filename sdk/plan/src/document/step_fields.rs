//! Fields that plain steps and async jobs have in common, and the lists of their fields.

use std::sync::Arc;

use super::context::ReadContext;
use super::object::{self, ObjectReader};
use super::step_position::StepPosition;
use crate::diagnostic::token;
use crate::expr::InScope;
use crate::{AuthFlow, Diagnostic, DiagnosticCode, EmitMode, Expr};

/// All fields of a step.
pub(crate) const FIELDS: &[&str] = &[
    "id",
    "url",
    "method",
    "headers",
    "params",
    "body",
    "auth_flow",
    "execute_if",
    "for_each",
    "timeout_seconds",
    "retry",
    "abort_on",
    "ignore_on",
    "accept_on",
    "abort_when",
    "ignore_when",
    "retry_when",
    "while",
    "break_when",
    "paginate",
    "single_page",
    "window",
    "cursor",
    "conditional",
    "set_context",
    "extract",
    "iterate_over",
    "sub_steps",
    "concurrency",
    "stop_on_error",
    "emit",
    "response",
    "async_job",
];

/// Fields that `submit`, `poll` and `cancel` of an async job cannot have: each is one request, and
/// the job decides when it is sent.
pub(crate) const NOT_IN_ONE_REQUEST: &[&str] = &[
    "execute_if",
    "for_each",
    "while",
    "break_when",
    "paginate",
    "single_page",
    "window",
    "cursor",
    "conditional",
    "extract",
    "iterate_over",
    "sub_steps",
    "concurrency",
    "stop_on_error",
    "async_job",
];

/// Fields that a `poll` whose last response is the result of its job cannot have.
pub(crate) const NOT_IN_RESULT_POLL: &[&str] = &[
    "execute_if",
    "for_each",
    "while",
    "break_when",
    "paginate",
    "window",
    "cursor",
    "conditional",
    "async_job",
];

/// Reports the fields of a list that are set, with the reason why they are not allowed.
pub(super) fn refuse(object: &ObjectReader<'_>, fields: &[&str], words: &str, context: &mut ReadContext<'_>) {
    for field in fields.iter().filter(|field| object.has(field)) {
        context.conflict(object.at(field), format!("{field} {words}"));
    }
}

/// Reads the id. A step without one is named after its number in document order.
pub(super) fn id(
    object: &ObjectReader<'_>,
    position: &StepPosition,
    context: &mut ReadContext<'_>,
) -> Arc<str> {
    if let Some(fixed) = position.role.fixed_id() {
        if object.text("id", context).is_some_and(|id| id != fixed) {
            let words = format!("the id of this step is always {fixed}");
            context.report(Diagnostic::new(DiagnosticCode::Conflict, object.at("id"), words).suggest(fixed));
        }
        return Arc::from(fixed);
    }
    let default = format!("step_{}", context.steps);
    let id = object.text("id", context).unwrap_or(&default);
    let mut chars = id.chars();
    let begins = chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    if !begins || !chars.all(|char| char.is_ascii_alphanumeric() || char == '_') || id.len() > 128 {
        let words = "an id must have 1 to 128 letters, digits and '_', and start with a letter or '_'";
        context.report(Diagnostic::new(DiagnosticCode::InvalidValue, object.at("id"), words));
    } else if let Some(other) = context.ids.insert(id.to_owned(), object.pointer.clone()) {
        let words = format!("the step at {other} already has the id {id}");
        context.report(Diagnostic::new(DiagnosticCode::Duplicate, object.at("id"), words));
    }
    Arc::from(id)
}

/// Reads the auth flow, which defaults to that of the steps around this one.
pub(super) fn auth_flow(
    object: &ObjectReader<'_>,
    position: &StepPosition,
    context: &mut ReadContext<'_>,
) -> Option<AuthFlow> {
    let Some(text) = object.text("auth_flow", context) else { return position.auth_flow.clone() };
    if text == "none" {
        return Some(AuthFlow::Off);
    }
    object::key(text, object.at("auth_flow"), context).map(AuthFlow::Key)
}

/// Reads `emit` and checks that the step may emit that way.
pub(super) fn emit(
    object: &ObjectReader<'_>,
    position: &StepPosition,
    context: &mut ReadContext<'_>,
) -> EmitMode {
    let choices = [("page", EmitMode::Page), ("record", EmitMode::Record), ("none", EmitMode::None)];
    let emit = object.choice("emit", &choices, context).unwrap_or_else(|| position.default_emit());
    if position.silent && emit != EmitMode::None {
        let words = "only the last download of an async job may emit";
        context.report(Diagnostic::new(DiagnosticCode::Conflict, object.at("emit"), words).suggest("none"));
    } else if emit == EmitMode::Record && !object.has("iterate_over") {
        context.conflict(object.at("emit"), "record emits one message per row, so iterate_over is required");
    }
    emit
}

/// Reads `concurrency` and `stop_on_error`.
pub(super) fn fan_out(object: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> (u32, bool) {
    let concurrency =
        object.integer("concurrency", 1..=1000, context).and_then(|value| u32::try_from(value).ok());
    (concurrency.unwrap_or(50), object.boolean("stop_on_error", context).unwrap_or(false))
}

/// Reads an object of named expressions, sorted by name.
pub(super) fn named_exprs(
    object: &ObjectReader<'_>,
    field: &str,
    scope: &InScope,
    context: &mut ReadContext<'_>,
) -> Vec<(String, Expr)> {
    let Some(members) = object.map(field, context) else { return Vec::new() };
    let mut named = Vec::with_capacity(members.len());
    for (name, value) in members {
        let pointer = format!("{}/{}", object.at(field), token(name));
        if name.is_empty() || name.len() > 128 {
            context.report(Diagnostic::new(
                DiagnosticCode::OutOfRange,
                pointer.clone(),
                "a name must have 1 to 128 bytes",
            ));
        }
        if let Some(expr) = object::expr(value, &pointer, scope, context) {
            named.push((name.clone(), expr));
        }
    }
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    named
}
