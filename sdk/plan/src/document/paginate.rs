//! Reads `paginate`.

use std::collections::BTreeSet;

use orchid_common::suggest::closest;
use serde_json::Value;

use super::context::ReadContext;
use super::object::{ObjectReader, wrong_type};
use super::sent_params;
use crate::diagnostic::quoted;
use crate::expr::InScope;
use crate::{Diagnostic, DiagnosticCode, OnRepeat, Pagination, PaginationKind, StopOn};

pub(crate) const TYPES: &[&str] = &["page", "offset", "cursor", "next_url", "link_header"];

/// Greatest number or offset of a first page.
const START_MAX: u64 = 1_000_000_000;

/// Returns the fields of a pagination type.
pub(crate) fn fields_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "page" => &["type", "stop_on", "on_repeat", "param", "start", "size_param", "size"],
        "offset" => &["type", "stop_on", "on_repeat", "param", "start", "size_param", "size"],
        "cursor" => &["type", "stop_on", "on_repeat", "value", "param"],
        "next_url" => &["type", "stop_on", "on_repeat", "keep_params", "value"],
        _ => &["type", "stop_on", "on_repeat", "keep_params"],
    }
}

pub(super) fn read(
    step: &ObjectReader<'_>,
    scope: &InScope,
    context: &mut ReadContext<'_>,
) -> Option<Pagination> {
    let value = step.get("paginate")?;
    let pointer = step.at("paginate");
    let name = type_name(value, &pointer, context)?;
    let object = ObjectReader::open(value, &pointer, fields_of(name), context)?;
    let kind = kind(name, &object, scope, context);
    let stop_on = stop_on(&object, context);
    let choices = [("fail", OnRepeat::Fail), ("stop", OnRepeat::Stop), ("allow", OnRepeat::Allow)];
    let on_repeat = object.choice("on_repeat", &choices, context).unwrap_or(OnRepeat::Fail);
    let keep_params = keep_params(&object, step, context);
    let kind = kind?;
    if (counts_rows(&kind) || stop_on.empty || stop_on.short) && !step.has("iterate_over") {
        let words = format!(
            "{} counts rows, so iterate_over is required",
            if counts_rows(&kind) { name } else { "stop_on" }
        );
        context.conflict(&pointer, words);
    }
    if stop_on.short
        && !matches!(kind, PaginationKind::Page { size: Some(_), .. } | PaginationKind::Offset { .. })
    {
        context.conflict(
            object.at("stop_on"),
            "short compares rows with the page size, so it needs type page or offset with size",
        );
    }
    Some(Pagination { kind, stop_on, on_repeat, keep_params, pointer })
}

fn type_name<'d>(value: &'d Value, pointer: &str, context: &mut ReadContext<'_>) -> Option<&'d str> {
    let all: Vec<&str> = TYPES.iter().flat_map(|kind| fields_of(kind)).copied().collect();
    // The type decides which fields are known, so its absence is reported before unknown fields.
    let named = value.as_object().is_some_and(|members| members.get("type").is_some_and(Value::is_string));
    if !named {
        let object = ObjectReader::open(value, pointer, &all, context)?;
        object.require("type", context)?;
        object.text("type", context)?;
        return None;
    }
    let name = value.get("type").and_then(Value::as_str)?;
    if TYPES.contains(&name) {
        return Some(name);
    }
    let words =
        format!("{name} is not a pagination type: those are {}", TYPES.join(", "), name = quoted(name));
    let mut diagnostic = Diagnostic::new(DiagnosticCode::InvalidValue, format!("{pointer}/type"), words);
    diagnostic.suggestion = closest(name, TYPES.iter().copied()).map(str::to_owned);
    context.report(diagnostic);
    None
}

fn kind(
    name: &str,
    object: &ObjectReader<'_>,
    scope: &InScope,
    context: &mut ReadContext<'_>,
) -> Option<PaginationKind> {
    match name {
        "page" => {
            let number = param_or_null("page", object, context);
            let size_param = object.param("size_param", context);
            let start = object.integer("start", 0..=START_MAX, context).unwrap_or(1);
            let size = object.integer("size", 1..=1_000_000, context);
            if size_param.is_some() && !object.has("size") {
                context.report(Diagnostic::new(
                    DiagnosticCode::Required,
                    object.pointer.clone(),
                    "size_param is set, so size is required",
                ));
            }
            Some(PaginationKind::Page { param: number, start, size_param, size })
        }
        "offset" => {
            let offset = param_or_null("offset", object, context);
            let size_param = object.param("size_param", context);
            let start = object.integer("start", 0..=START_MAX, context).unwrap_or(0);
            object.require("size", context)?;
            let size = object.integer("size", 1..=1_000_000, context)?;
            Some(PaginationKind::Offset { param: offset, start, size_param, size })
        }
        "cursor" => {
            let param = object.param("param", context);
            object.require("value", context)?;
            let value = object.expr("value", scope, context)?;
            Some(PaginationKind::Cursor { value, param })
        }
        "next_url" => {
            object.require("value", context)?;
            Some(PaginationKind::NextUrl { value: object.expr("value", scope, context)? })
        }
        _ => Some(PaginationKind::LinkHeader),
    }
}

fn stop_on(object: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> StopOn {
    let mut stop_on = StopOn::default();
    for (index, value) in object.list("stop_on", context).into_iter().flatten().enumerate() {
        match value.as_str() {
            Some("empty") => stop_on.empty = true,
            Some("short") => stop_on.short = true,
            _ => {
                let pointer = format!("{}/{index}", object.at("stop_on"));
                context.report(Diagnostic::new(
                    DiagnosticCode::InvalidValue,
                    pointer,
                    format!("{value} is not allowed: use empty or short"),
                ));
            }
        }
    }
    stop_on
}

/// Reads the parameter of a number or an offset. Null means that no parameter is sent; the name of
/// the type is the default.
fn param_or_null(default: &str, object: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> Option<String> {
    if object.is_null("param") {
        return None;
    }
    Some(object.param("param", context).unwrap_or_else(|| default.to_owned()))
}

/// Reads the names of parameters that stay on next urls. Each of them is one that the step sends.
fn keep_params(
    object: &ObjectReader<'_>,
    step: &ObjectReader<'_>,
    context: &mut ReadContext<'_>,
) -> Vec<String> {
    let Some(values) = object.list("keep_params", context) else { return Vec::new() };
    let sent: BTreeSet<&str> = sent_params::names(step).into_iter().collect();
    let mut listed = BTreeSet::new();
    let mut names: Vec<String> = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        if context.is_full() {
            break;
        }
        let pointer = format!("{}/{index}", object.at("keep_params"));
        let Some(name) = value.as_str() else {
            context.report(wrong_type(&pointer, "the name of a parameter", value));
            continue;
        };
        if !sent.contains(name) {
            let words = format!("{} is no parameter of the step: add it to params", quoted(name));
            let mut diagnostic = Diagnostic::new(DiagnosticCode::InvalidValue, pointer, words);
            diagnostic.suggestion = closest(name, sent.iter().copied()).map(str::to_owned);
            context.report(diagnostic);
        } else if !listed.insert(name) {
            let words = format!("{} is listed twice", quoted(name));
            context.report(Diagnostic::new(DiagnosticCode::Duplicate, pointer, words));
        } else {
            names.push(name.to_owned());
        }
    }
    names
}

/// Returns whether a pagination counts the rows of its pages.
fn counts_rows(kind: &PaginationKind) -> bool {
    matches!(kind, PaginationKind::Page { .. } | PaginationKind::Offset { .. })
}
