//! `rate_limits`: limits of a plan's own, or lower ones in place of its integration's.

use std::time::Duration;

use serde_json::Value;

use super::context::Context;
use super::object::{self, Object, wrong_type};
use super::request::is_header_name;
use super::unsupported;
use crate::diagnostic::quoted;
use crate::expr::InScope;
use crate::functions::linear_regex;
use crate::{
    Diagnostic, DiagnosticCode, DynamicQuota, Expr, LimitScope, QuotaSource, RateLimit, RequestRate,
    ScopeName,
};

pub(crate) const FIELDS: &[&str] = &[
    "name",
    "endpoint",
    "requests",
    "window_seconds",
    "scope",
    "max_concurrent",
    "cost",
    "dynamic",
    "adaptive",
    "strict",
];
pub(crate) const DYNAMIC_FIELDS: &[&str] = &["remaining", "reset", "limit"];

pub(crate) const SCOPES: &[(&str, LimitScope)] = &[
    ("global", LimitScope::Global),
    ("per_config", LimitScope::PerConfig),
    ("per_credential", LimitScope::PerCredential),
    ("per_endpoint", LimitScope::PerEndpoint),
];

/// Limits of one plan.
const MAX_LIMITS: usize = 50;
/// Requests of one window, and requests in flight.
const MAX_REQUESTS: u64 = 1_000_000_000;
const MAX_CONCURRENT: u64 = 100_000;
/// Seconds of a window: 31 days.
const MAX_WINDOW: u64 = 31 * 86_400;

/// What a request's cost can be told by.
pub(crate) fn cost_scope() -> InScope {
    let names = [ScopeName::Config, ScopeName::Context, ScopeName::Meta, ScopeName::Page];
    InScope::new(names, unsupported::NAMES, &[])
}

/// What an answer's own word can be told by.
pub(crate) fn answer_scope() -> InScope {
    InScope::new([ScopeName::Config, ScopeName::Meta, ScopeName::Response], unsupported::NAMES, &[])
}

pub(super) fn read(definition: &Object<'_>, context: &mut Context<'_>) -> Vec<RateLimit> {
    let Some(values) = definition.list("rate_limits", context) else { return Vec::new() };
    let at = definition.at("rate_limits");
    if values.len() > MAX_LIMITS {
        let words = format!("{} limits are more than {MAX_LIMITS}", values.len());
        context.report(Diagnostic::new(DiagnosticCode::OutOfRange, at, words));
        return Vec::new();
    }
    let mut limits: Vec<RateLimit> = Vec::with_capacity(values.len());
    for (place, value) in values.iter().enumerate() {
        let Some(limit) = limit(value, &format!("{at}/{place}"), context) else { continue };
        if let Some(other) = limits.iter().find(|other| other.name == limit.name) {
            let words = format!("the limit at {} has the name {} already", other.pointer, limit.name);
            context.report(Diagnostic::new(
                DiagnosticCode::Duplicate,
                format!("{}/name", limit.pointer),
                words,
            ));
        }
        limits.push(limit);
    }
    limits
}

fn limit(value: &Value, pointer: &str, context: &mut Context<'_>) -> Option<RateLimit> {
    let object = Object::open(value, pointer, FIELDS, context)?;
    object.require("name", context);
    let name = object.text("name", context).and_then(|text| object::key(text, object.at("name"), context));
    let requests = object.integer("requests", 1..=MAX_REQUESTS, context);
    let window = object.integer("window_seconds", 1..=MAX_WINDOW, context).map(Duration::from_secs);
    let concurrent = object.integer("max_concurrent", 1..=MAX_CONCURRENT, context);
    let limit = RateLimit {
        name: name.unwrap_or_default(),
        endpoint: endpoint(&object, context),
        rate: requests.map(|requests| RequestRate { requests, window }),
        scope: object.choice("scope", SCOPES, context).unwrap_or(LimitScope::Global),
        max_concurrent: concurrent.and_then(|value| u32::try_from(value).ok()),
        cost: object.expr("cost", &cost_scope(), context),
        dynamic: object.get("dynamic").and_then(|value| dynamic(value, object.at("dynamic"), context)),
        adaptive: object.boolean("adaptive", context).unwrap_or(false),
        strict: object.boolean("strict", context).unwrap_or(false),
        pointer: pointer.to_owned(),
    };
    together(&object, context);
    (!limit.name.is_empty()).then_some(limit)
}

/// A limit of the plan's own says a rate, a number in flight or where the upstream says it; a lower one says `requests` alone.
fn together(object: &Object<'_>, context: &mut Context<'_>) {
    let (requests, window) = (object.has("requests"), object.has("window_seconds"));
    if window && !requests {
        context.conflict(
            object.at("window_seconds"),
            "window_seconds is the window of requests, and there are none",
        );
    } else if !requests && !object.has("max_concurrent") && !object.has("dynamic") {
        let words = "requests, max_concurrent or dynamic is required: the limit limits nothing";
        context.report(Diagnostic::new(DiagnosticCode::Required, object.pointer.clone(), words));
    }
    if requests && !window {
        let others = FIELDS.iter().filter(|field| !matches!(**field, "name" | "requests"));
        for field in others.filter(|field| object.has(field)) {
            let words = "requests without window_seconds lower those of the integration's limit, whose other fields stay";
            context.conflict(object.at(field), words);
        }
    }
}

fn endpoint(object: &Object<'_>, context: &mut Context<'_>) -> Option<regex::Regex> {
    let text = object.text("endpoint", context)?;
    match linear_regex(text) {
        Ok(regex) => Some(regex),
        Err(words) => {
            let words = format!("not a regular expression: {words}");
            context.report(Diagnostic::new(DiagnosticCode::InvalidValue, object.at("endpoint"), words));
            None
        }
    }
}

fn dynamic(value: &Value, pointer: String, context: &mut Context<'_>) -> Option<DynamicQuota> {
    let object = Object::open(value, &pointer, DYNAMIC_FIELDS, context)?;
    let mut reported =
        |field: &str| object.get(field).and_then(|value| reported(value, &object.at(field), context));
    Some(DynamicQuota {
        remaining: reported("remaining"),
        reset: reported("reset"),
        limit: reported("limit"),
    })
}

fn reported(value: &Value, pointer: &str, context: &mut Context<'_>) -> Option<QuotaSource> {
    match value {
        Value::String(name) if is_header_name(name) => Some(QuotaSource::Header(name.to_ascii_lowercase())),
        Value::String(name) => {
            let words = format!("{name} is no header name", name = quoted(name));
            let diagnostic = Diagnostic::new(DiagnosticCode::InvalidValue, pointer, words);
            context.report(diagnostic.suggest("{\"expr\": …} for an expression"));
            None
        }
        Value::Object(_) => {
            let object = Object::open(value, pointer, &["expr"], context)?;
            object.require("expr", context);
            let expr: Option<Expr> = object.expr("expr", &answer_scope(), context);
            expr.map(QuotaSource::Expr)
        }
        other => {
            context.report(wrong_type(pointer, "the name of a header, or {\"expr\": …}", other));
            None
        }
    }
}
