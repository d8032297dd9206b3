//! One step, and the names that its expressions may begin with.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::context::Context;
use super::object::{self, Object};
use super::{outcome, paginate, request, response, retry, unsupported};
use crate::expr::InScope;
use crate::fault::token;
use crate::{Action, Emit, Expr, Fault, FaultCode, PaginateKind, Rows, ScopeName, Step};

const FIELDS: &[&str] = &[
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

/// Where a step stands among the others.
#[derive(Clone)]
pub(super) struct Level {
    /// The root is 1.
    depth: u32,
    max_depth: u32,
    /// Whether there are rows or elements around it.
    in_items: bool,
    /// Ids of the steps that are finished before, on this level and the outer ones.
    earlier: Vec<String>,
}

impl Level {
    pub(super) fn root(max_depth: u32) -> Self {
        Self { depth: 1, max_depth, in_items: false, earlier: Vec::new() }
    }

    fn below(&self, in_items: bool) -> Self {
        Self { depth: self.depth + 1, in_items: self.in_items || in_items, ..self.clone() }
    }
}

/// The names in scope at the three moments of a step.
pub(super) struct Scopes {
    /// Before the first pass.
    pub(super) before: InScope,
    /// While a request is rendered, and after its answer.
    pub(super) within: InScope,
}

impl Scopes {
    fn of(level: &Level, for_each: bool) -> Self {
        let mut names = vec![ScopeName::Config, ScopeName::Context, ScopeName::Meta, ScopeName::Steps];
        if level.depth > 1 {
            names.push(ScopeName::Parent);
        }
        if level.in_items || for_each {
            names.extend([ScopeName::Item, ScopeName::ItemIndex, ScopeName::Items]);
        }
        let before = InScope::new(names.clone(), unsupported::NAMES, &level.earlier);
        names.extend([ScopeName::Response, ScopeName::Prev, ScopeName::Page]);
        Self { before, within: InScope::new(names, unsupported::NAMES, &level.earlier) }
    }
}

pub(super) fn read_all(
    values: &[Value],
    pointer: &str,
    level: &Level,
    context: &mut Context<'_>,
) -> Vec<Arc<Step>> {
    let mut level = level.clone();
    let mut steps = Vec::with_capacity(values.len());
    for (place, value) in values.iter().enumerate() {
        let number = context.steps + 1;
        steps.extend(read(value, &format!("{pointer}/{place}"), &level, context).map(Arc::new));
        // Known by the document alone: a faulty step is no reason to miss it in the next one.
        let id = value.get("id").and_then(Value::as_str);
        level.earlier.push(id.map_or_else(|| format!("step_{number}"), str::to_owned));
    }
    steps
}

pub(super) fn read(value: &Value, pointer: &str, level: &Level, context: &mut Context<'_>) -> Option<Step> {
    let object = Object::open(value, pointer, FIELDS, context)?;
    if !within_bounds(pointer, level, context) {
        return None;
    }
    unsupported::refuse(&object, unsupported::STEP, context);
    // Sub-steps are compiled after this step's own fields, and reads are gathered step by step.
    let around = context.take_reads();
    let id = id(&object, context);
    let scopes = Scopes::of(level, object.has("for_each"));
    let timeout =
        object.integer("timeout_seconds", 1..=context.server.timeout_seconds, context).unwrap_or(30);
    let request = request::read(&object, &scopes.within, context);
    let execute_if = object.expr("execute_if", &scopes.before, context);
    let retry = retry::read(&object, context);
    let outcome = outcome::read(&object, &scopes.within, context);
    let while_expr = object.expr("while", &scopes.within, context);
    let break_when = object.expr("break_when", &scopes.within, context);
    let paginate = paginate::read(&object, &scopes.within, context);
    let set_context = named_exprs(&object, "set_context", &scopes.within, context);
    let extract = named_exprs(&object, "extract", &scopes.within, context);
    let rows = object.expr("iterate_over", &scopes.within, context);
    let rows = rows.map(|expr| Rows { plain: expr.plain_body_path(), expr, unfiltered: None });
    let emit = emit(&object, level, rows.is_some(), context);
    let response = response::read(&object, context);
    let concurrency =
        object.integer("concurrency", 1..=1000, context).and_then(|value| u32::try_from(value).ok());
    let stop_on_error = object.boolean("stop_on_error", context).unwrap_or(false);
    let reads = context.take_reads();
    let below = level.below(object.has("iterate_over") || object.has("for_each"));
    let sub_steps = object.list("sub_steps", context);
    let sub_steps = sub_steps.map(|values| read_all(values, &object.at("sub_steps"), &below, context));
    context.restore_reads(around);
    Some(Step {
        id,
        pointer: pointer.to_owned(),
        action: Action::Request(request?),
        execute_if,
        for_each: None,
        timeout: Duration::from_secs(timeout),
        retry,
        outcome,
        while_expr,
        break_when,
        paginate,
        window: None,
        cursor: None,
        conditional: false,
        set_context,
        extract,
        rows,
        sub_steps: sub_steps.unwrap_or_default(),
        concurrency: concurrency.unwrap_or(50),
        stop_on_error,
        emit,
        response,
        reads,
    })
}

fn within_bounds(pointer: &str, level: &Level, context: &mut Context<'_>) -> bool {
    if level.depth > level.max_depth {
        let words = format!("steps are nested deeper than {} levels", level.max_depth);
        context.fault(Fault::new(FaultCode::TooLarge, pointer, words));
        return false;
    }
    context.steps += 1;
    if context.steps > context.server.steps {
        let words = format!("a definition has at most {} steps", context.server.steps);
        context.fault(Fault::new(FaultCode::TooLarge, "/definition", words));
        return false;
    }
    true
}

fn id(object: &Object<'_>, context: &mut Context<'_>) -> Arc<str> {
    let default = format!("step_{}", context.steps);
    let id = object.text("id", context).unwrap_or(&default);
    let mut chars = id.chars();
    let begins = chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    if !begins || !chars.all(|char| char.is_ascii_alphanumeric() || char == '_') || id.len() > 128 {
        let words = "an id has 1 to 128 letters, digits and '_', and begins with a letter or '_'";
        context.fault(Fault::new(FaultCode::InvalidValue, object.at("id"), words));
    } else if let Some(other) = context.ids.insert(id.to_owned(), object.pointer.clone()) {
        let words = format!("the step at {other} has the id {id} already");
        context.fault(Fault::new(FaultCode::Duplicate, object.at("id"), words));
    }
    Arc::from(id)
}

fn emit(object: &Object<'_>, level: &Level, has_rows: bool, context: &mut Context<'_>) -> Emit {
    let default = if level.depth == 1 { Emit::Page } else { Emit::None };
    let choices = [("page", Emit::Page), ("record", Emit::Record), ("none", Emit::None)];
    let emit = object.choice("emit", &choices, context).unwrap_or(default);
    if emit == Emit::Record && !has_rows && !object.has("iterate_over") {
        context.conflict(object.at("emit"), "record emits one message per row, and needs iterate_over");
    }
    emit
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
            context.fault(Fault::new(FaultCode::OutOfRange, pointer.clone(), "a name has 1 to 128 bytes"));
        }
        if let Some(expr) = object::expr(value, &pointer, scope, context) {
            named.push((name.clone(), expr));
        }
    }
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    named
}

/// Whether a loop counts the rows of its pages.
pub(super) fn counts_rows(kind: &PaginateKind) -> bool {
    matches!(kind, PaginateKind::Page { .. } | PaginateKind::Offset { .. })
}
