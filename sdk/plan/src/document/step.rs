//! One step: which of its fields can stand together, and each of them in its scope.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::context::Context;
use super::level::{Level, Role, Scopes};
use super::object::{self, Object};
use super::{
    async_job, conditional, cursor, outcome, paginate, request, response, retry, sent_params, streaming,
};
use super::{unsupported, window};
use crate::diagnostic::token;
use crate::expr::InScope;
use crate::{AuthFlow, Diagnostic, DiagnosticCode, EmitMode, Expr, RowSelector, Step, StepAction};

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

/// What `submit`, `poll` and `cancel` of an async job cannot have: each is one request, made when the job says so.
pub(crate) const NOT_IN_ONE_REQUEST: &[&str] = &[
    "execute_if",
    "for_each",
    "while",
    "break_when",
    "paginate",
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

pub(super) fn read_all(
    values: &[Value],
    pointer: &str,
    level: &Level,
    context: &mut Context<'_>,
) -> Vec<Arc<Step>> {
    let mut level = level.clone();
    let mut steps = Vec::with_capacity(values.len());
    for (place, value) in values.iter().enumerate() {
        steps.extend(read_next(value, &format!("{pointer}/{place}"), &mut level, context));
    }
    steps
}

/// Reads a step, and lets those after it know its id.
pub(super) fn read_next(
    value: &Value,
    pointer: &str,
    level: &mut Level,
    context: &mut Context<'_>,
) -> Option<Arc<Step>> {
    let number = context.steps + 1;
    let step = read(value, pointer, level, context).map(Arc::new);
    // Known by the document alone: a faulty step is no reason to miss it in the next one.
    let id = level.role.fixed_id().or_else(|| value.get("id").and_then(Value::as_str));
    level.earlier.push(id.map_or_else(|| format!("step_{number}"), str::to_owned));
    step
}

pub(super) fn read(value: &Value, pointer: &str, level: &Level, context: &mut Context<'_>) -> Option<Step> {
    let object = Object::open(value, pointer, FIELDS, context)?;
    if !within_bounds(pointer, level, context) {
        return None;
    }
    unsupported::refuse(&object, unsupported::STEP, context);
    // Other steps are compiled after this one's own fields, and reads are gathered step by step.
    let around = context.take_reads();
    let step = match level.role {
        Role::Fixed(_) => {
            let words = "has no meaning here: submit, poll and cancel are one request each";
            refuse(&object, NOT_IN_ONE_REQUEST, words, context);
            read_request(&object, level, context)
        }
        _ if object.has("async_job") => async_job::read(&object, level, context),
        _ => read_request(&object, level, context),
    };
    context.restore_reads(around);
    step
}

/// Refuses fields that cannot stand where the step stands.
pub(super) fn refuse(object: &Object<'_>, fields: &[&str], words: &str, context: &mut Context<'_>) {
    for field in fields.iter().filter(|field| object.has(field)) {
        context.conflict(object.at(field), format!("{field} {words}"));
    }
}

fn read_request(object: &Object<'_>, level: &Level, context: &mut Context<'_>) -> Option<Step> {
    let id = id(object, level, context);
    let auth_flow = auth_flow(object, level, context);
    let scopes = Scopes::of(level, object);
    let timeout =
        object.integer("timeout_seconds", 1..=context.server.timeout_seconds, context).unwrap_or(30);
    let request = request::read(object, &scopes.within, context);
    let execute_if = object.expr("execute_if", &scopes.before, context);
    let for_each = object.expr("for_each", &scopes.around.storing(), context);
    let retry = retry::read(object, context);
    let outcome = outcome::read(object, &scopes.within, context);
    let while_expr = object.expr("while", &scopes.within, context);
    let break_when = object.expr("break_when", &scopes.within, context);
    let paginate = paginate::read(object, &scopes.within, context);
    let window = window::read(object, &scopes, context);
    let cursor = cursor::read(object, level, &scopes, context);
    let kept = scopes.within.storing();
    let set_context = named_exprs(object, "set_context", &kept, context);
    let extract = named_exprs(object, "extract", &kept, context);
    let rows = object.expr("iterate_over", &kept, context);
    let rows =
        rows.map(|expr| RowSelector { plain: expr.plain_body_path(), unfiltered: expr.filter_input(), expr });
    let emit = emit(object, level, context);
    let response = response::read(object, context);
    let conditional = conditional::read(object, request.as_ref(), context);
    let (concurrency, stop_on_error) = fan_out(object, context);
    sent_params::check(object, request.as_ref(), context);
    streaming::check_rows(object, &response, rows.as_ref(), context);
    let reads = context.take_reads();
    let sub_steps = object.list("sub_steps", context);
    let below = level.below(object, auth_flow.clone());
    let sub_steps = sub_steps.map(|values| read_all(values, &object.at("sub_steps"), &below, context));
    Some(Step {
        id,
        pointer: object.pointer.clone(),
        action: StepAction::Request(request?),
        auth_flow,
        execute_if,
        for_each,
        timeout: Duration::from_secs(timeout),
        retry,
        outcome,
        while_expr,
        break_when,
        paginate,
        window,
        cursor,
        conditional,
        set_context,
        extract,
        rows,
        sub_steps: sub_steps.unwrap_or_default(),
        concurrency,
        stop_on_error,
        emit,
        response,
        reads,
    })
}

fn within_bounds(pointer: &str, level: &Level, context: &mut Context<'_>) -> bool {
    if level.depth > level.max_depth {
        let words = format!("steps are nested deeper than {} levels", level.max_depth);
        context.report(Diagnostic::new(DiagnosticCode::TooLarge, pointer, words));
        return false;
    }
    context.steps += 1;
    if context.steps > context.server.steps {
        let words = format!("a definition has at most {} steps", context.server.steps);
        context.report(Diagnostic::new(DiagnosticCode::TooLarge, "/definition", words));
        return false;
    }
    true
}

pub(super) fn id(object: &Object<'_>, level: &Level, context: &mut Context<'_>) -> Arc<str> {
    if let Some(fixed) = level.role.fixed_id() {
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
        let words = "an id has 1 to 128 letters, digits and '_', and begins with a letter or '_'";
        context.report(Diagnostic::new(DiagnosticCode::InvalidValue, object.at("id"), words));
    } else if let Some(other) = context.ids.insert(id.to_owned(), object.pointer.clone()) {
        let words = format!("the step at {other} has the id {id} already");
        context.report(Diagnostic::new(DiagnosticCode::Duplicate, object.at("id"), words));
    }
    Arc::from(id)
}

/// The step's own flow, else that of the steps around it.
pub(super) fn auth_flow(object: &Object<'_>, level: &Level, context: &mut Context<'_>) -> Option<AuthFlow> {
    let Some(text) = object.text("auth_flow", context) else { return level.auth_flow.clone() };
    if text == "none" {
        return Some(AuthFlow::Off);
    }
    object::key(text, object.at("auth_flow"), context).map(AuthFlow::Key)
}

fn emit(object: &Object<'_>, level: &Level, context: &mut Context<'_>) -> EmitMode {
    let choices = [("page", EmitMode::Page), ("record", EmitMode::Record), ("none", EmitMode::None)];
    let emit = object.choice("emit", &choices, context).unwrap_or_else(|| level.default_emit());
    if level.silent && emit != EmitMode::None {
        let words = "only the last download of an async job emits";
        context.report(Diagnostic::new(DiagnosticCode::Conflict, object.at("emit"), words).suggest("none"));
    } else if emit == EmitMode::Record && !object.has("iterate_over") {
        context.conflict(object.at("emit"), "record emits one message per row, and needs iterate_over");
    }
    emit
}

/// `concurrency` and `stop_on_error`.
pub(super) fn fan_out(object: &Object<'_>, context: &mut Context<'_>) -> (u32, bool) {
    let concurrency =
        object.integer("concurrency", 1..=1000, context).and_then(|value| u32::try_from(value).ok());
    (concurrency.unwrap_or(50), object.boolean("stop_on_error", context).unwrap_or(false))
}

/// A map from names to expressions, in the order of the names.
fn named_exprs(
    object: &Object<'_>,
    field: &str,
    scope: &InScope,
    context: &mut Context<'_>,
) -> Vec<(String, Expr)> {
    let Some(members) = object.map(field, context) else { return Vec::new() };
    let mut named = Vec::with_capacity(members.len());
    for (name, value) in members {
        let pointer = format!("{}/{}", object.at(field), token(name));
        if name.is_empty() || name.len() > 128 {
            context.report(Diagnostic::new(
                DiagnosticCode::OutOfRange,
                pointer.clone(),
                "a name has 1 to 128 bytes",
            ));
        }
        if let Some(expr) = object::expr(value, &pointer, scope, context) {
            named.push((name.clone(), expr));
        }
    }
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    named
}
