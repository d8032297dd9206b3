//! Reads `rate_limits`: limits of the plan, or lower ones in place of the integration's.
//!
//! They are checked completely, although this version does not support them yet.

use std::time::Duration;

use serde_json::Value;

use super::context::ReadContext;
use super::object::{self, ObjectReader, wrong_type};
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

/// Maximum number of rate limits of one plan.
const MAX_LIMITS: usize = 50;
/// Maximum number of requests in a window.
const MAX_REQUESTS: u64 = 1_000_000_000;
/// Maximum number of requests in flight.
const MAX_CONCURRENT: u64 = 100_000;
/// Longest window in seconds: 31 days.
const MAX_WINDOW_SECONDS: u64 = 31 * 86_400;

/// Returns the scope of `cost`, which is evaluated before the request.
pub(crate) fn cost_scope() -> InScope {
    let names = [ScopeName::Config, ScopeName::Context, ScopeName::Meta, ScopeName::Page];
    InScope::new(names, unsupported::NAMES, &[])
}

/// Returns the scope of the expressions of `dynamic`, which are evaluated on a response.
pub(crate) fn response_scope() -> InScope {
    InScope::new([ScopeName::Config, ScopeName::Meta, ScopeName::Response], unsupported::NAMES, &[])
}

pub(super) fn read(definition: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> Vec<RateLimit> {
    let Some(values) = definition.list("rate_limits", context) else { return Vec::new() };
    let at = definition.at("rate_limits");
    if values.len() > MAX_LIMITS {
        let words = format!("lists {} rate limits, at most {MAX_LIMITS} are allowed", values.len());
        context.report(Diagnostic::new(DiagnosticCode::OutOfRange, at, words));
        return Vec::new();
    }
    let mut limits: Vec<RateLimit> = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        let Some(limit) = limit(value, &format!("{at}/{index}"), context) else { continue };
        if let Some(other) = limits.iter().find(|other| other.name == limit.name) {
            let words = format!("the rate limit at {} already has the name {}", other.pointer, limit.name);
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

fn limit(value: &Value, pointer: &str, context: &mut ReadContext<'_>) -> Option<RateLimit> {
    let object = ObjectReader::open(value, pointer, FIELDS, context)?;
    object.require("name", context);
    let name = object.text("name", context).and_then(|text| object::key(text, object.at("name"), context));
    let requests = object.integer("requests", 1..=MAX_REQUESTS, context);
    let window = object.integer("window_seconds", 1..=MAX_WINDOW_SECONDS, context).map(Duration::from_secs);
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
    check_combination(&object, context);
    (!limit.name.is_empty()).then_some(limit)
}

/// Reports fields that exclude or require each other. A limit of the plan has a rate, a maximum
/// number in flight or a `dynamic` quota; one that lowers the integration's has only `requests`.
fn check_combination(object: &ObjectReader<'_>, context: &mut ReadContext<'_>) {
    let (requests, window) = (object.has("requests"), object.has("window_seconds"));
    if window && !requests {
        context.conflict(object.at("window_seconds"), "window_seconds needs requests, which is not set");
    } else if !requests && !object.has("max_concurrent") && !object.has("dynamic") {
        let words = "one of requests, max_concurrent and dynamic is required: the rate limit limits nothing";
        context.report(Diagnostic::new(DiagnosticCode::Required, object.pointer.clone(), words));
    }
    if requests && !window {
        let others = FIELDS.iter().filter(|field| !matches!(**field, "name" | "requests"));
        for field in others.filter(|field| object.has(field)) {
            let words = "requests without window_seconds lowers the integration's limit of the same name, and allows no other field";
            context.conflict(object.at(field), words);
        }
    }
}

fn endpoint(object: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> Option<regex::Regex> {
    let text = object.text("endpoint", context)?;
    match linear_regex(text) {
        Ok(regex) => Some(regex),
        Err(words) => {
            let words = format!("is not a regular expression: {words}");
            context.report(Diagnostic::new(DiagnosticCode::InvalidValue, object.at("endpoint"), words));
            None
        }
    }
}

fn dynamic(value: &Value, pointer: String, context: &mut ReadContext<'_>) -> Option<DynamicQuota> {
    let object = ObjectReader::open(value, &pointer, DYNAMIC_FIELDS, context)?;
    let mut reported =
        |field: &str| object.get(field).and_then(|value| reported(value, &object.at(field), context));
    Some(DynamicQuota {
        remaining: reported("remaining"),
        reset: reported("reset"),
        limit: reported("limit"),
    })
}

fn reported(value: &Value, pointer: &str, context: &mut ReadContext<'_>) -> Option<QuotaSource> {
    match value {
        Value::String(name) if is_header_name(name) => Some(QuotaSource::Header(name.to_ascii_lowercase())),
        Value::String(name) => {
            let words = format!("{name} is not a header name", name = quoted(name));
            let diagnostic = Diagnostic::new(DiagnosticCode::InvalidValue, pointer, words);
            context.report(diagnostic.suggest("{\"expr\": …} for an expression"));
            None
        }
        Value::Object(_) => {
            let object = ObjectReader::open(value, pointer, &["expr"], context)?;
            object.require("expr", context);
            let expr: Option<Expr> = object.expr("expr", &response_scope(), context);
            expr.map(QuotaSource::Expr)
        }
        other => {
            context.report(wrong_type(pointer, "a header name, or {\"expr\": …}", other));
            None
        }
    }
}
