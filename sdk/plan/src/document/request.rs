//! Reads the request of a step: `method`, `url`, `headers`, `params` and `body`.

use serde_json::Value;
use url::Url;

use super::context::ReadContext;
use super::object::{ObjectReader, wrong_type};
use crate::diagnostic::{quoted, token};
use crate::expr::InScope;
use crate::template::{BodyTemplate, HeaderTemplate, JsonTemplate, ParamTemplate, literal_dots};
use crate::{Diagnostic, DiagnosticCode, Method, RequestTemplate, Template};

const METHODS: &[(&str, Method)] = &[
    ("GET", Method::Get),
    ("POST", Method::Post),
    ("PUT", Method::Put),
    ("PATCH", Method::Patch),
    ("DELETE", Method::Delete),
    ("HEAD", Method::Head),
];

/// Headers of the connection, which a plan cannot set.
const CONNECTION_HEADERS: &[&str] = &["host", "content-length", "transfer-encoding", "connection"];

/// Reads the request. `relative`: its url may be relative, because it is resolved against another
/// one.
pub(super) fn read(
    step: &ObjectReader<'_>,
    scope: &InScope,
    relative: bool,
    context: &mut ReadContext<'_>,
) -> Option<RequestTemplate> {
    let before = context.take_reads();
    let method = step.choice("method", METHODS, context).unwrap_or(Method::Get);
    let url = url(step, scope, relative, context);
    let headers = headers(step, scope, context);
    let params = params(step, scope, context);
    let pointer = step.at("body");
    let body = step.get("body").and_then(|value| json(value, &pointer, scope, context));
    let body = body.map(|content| BodyTemplate { content, pointer });
    let reads = context.take_reads();
    context.restore_reads(before);
    context.add_reads(&reads);
    Some(RequestTemplate { reads, method, url: url?, headers, params, body })
}

fn url(
    step: &ObjectReader<'_>,
    scope: &InScope,
    relative: bool,
    context: &mut ReadContext<'_>,
) -> Option<Template> {
    if step.has("async_job") && !step.has("url") {
        return None;
    }
    step.require("url", context)?;
    let pointer = step.at("url");
    let text = step.text("url", context)?;
    let template = context.template(text, &pointer, scope, true)?;
    let wrong = match literal_dots(&template.literal_text()) {
        Some(dots) => Some(format!("the path has the segment {dots}: write the path that it leads to")),
        None => not_absolute(&template, relative).map(str::to_owned),
    };
    if let Some(words) = wrong {
        context.report(Diagnostic::new(DiagnosticCode::InvalidValue, pointer, words).at(0));
        return None;
    }
    Some(template)
}

/// Returns what is wrong with a url that should be absolute. Of a url with templates, only the text
/// before the first one is known: the scheme must be complete there, or come from the template.
fn not_absolute(template: &Template, relative: bool) -> Option<&'static str> {
    match (template.literal(), template.literal_start()) {
        (Some(text), _) => match Url::parse(text) {
            Ok(url)
                if matches!(url.scheme(), "http" | "https")
                    && url.host_str().is_some_and(|host| !host.is_empty()) =>
            {
                None
            }
            Ok(_) => Some("the url must be http or https and have a host"),
            Err(_) if relative && !text.is_empty() => None,
            Err(_) => Some("the url must be absolute, such as https://api.example.com/items"),
        },
        (None, Some(start)) if !(has_scheme(start) || relative && start.starts_with('/')) => {
            Some("the url must start with http://, https:// or a template")
        }
        _ => None,
    }
}

fn has_scheme(start: &str) -> bool {
    let lower = start.to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

fn headers(step: &ObjectReader<'_>, scope: &InScope, context: &mut ReadContext<'_>) -> Vec<HeaderTemplate> {
    let mut headers: Vec<HeaderTemplate> = Vec::new();
    for (name, value) in step.map("headers", context).into_iter().flatten() {
        let pointer = format!("{}/{}", step.at("headers"), token(name));
        let lower = name.to_ascii_lowercase();
        if CONNECTION_HEADERS.contains(&lower.as_str()) {
            let words = format!("header {name} is set by the connection: remove it");
            context.report(Diagnostic::new(DiagnosticCode::InvalidValue, pointer.clone(), words));
        }
        if !is_header_name(name) {
            context.report(Diagnostic::new(
                DiagnosticCode::InvalidValue,
                pointer.clone(),
                format!("{name} is not a header name", name = quoted(name)),
            ));
        }
        if headers.iter().any(|known| known.name == lower) {
            context.report(Diagnostic::new(
                DiagnosticCode::Duplicate,
                pointer.clone(),
                format!("header {lower} is set twice"),
            ));
        }
        let Some(value) = scalar(value, &pointer, scope, context) else { continue };
        if let JsonTemplate::Literal(literal) = &value
            && literal.as_str().is_some_and(|text| text.chars().any(|char| char.is_control() && char != '\t'))
        {
            context.report(Diagnostic::new(
                DiagnosticCode::InvalidValue,
                pointer.clone(),
                "a header value must not contain control characters",
            ));
        }
        headers.push(HeaderTemplate { name: lower, value, pointer });
    }
    headers
}

/// Returns whether a text is a valid header name (RFC 9110, token).
pub(super) fn is_header_name(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}

/// Reads `params`: an object, whose members are sent sorted by name, or a list of `{name, value}`,
/// which keeps its order.
fn params(step: &ObjectReader<'_>, scope: &InScope, context: &mut ReadContext<'_>) -> Vec<ParamTemplate> {
    let at = step.at("params");
    match step.get("params") {
        None => Vec::new(),
        Some(Value::Object(members)) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.as_str());
            let params = members.into_iter().filter_map(|(name, value)| {
                param(name.clone(), value, format!("{at}/{}", token(name)), scope, context)
            });
            params.collect()
        }
        Some(Value::Array(items)) => {
            let mut params = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                let pointer = format!("{at}/{index}");
                let Some(object) = ObjectReader::open(item, &pointer, &["name", "value"], context) else {
                    continue;
                };
                object.require("name", context);
                let name = object.text("name", context).map(str::to_owned);
                let value = object.get("value").unwrap_or(&Value::Null);
                params.extend(name.and_then(|name| param(name, value, object.at("value"), scope, context)));
            }
            params
        }
        Some(other) => {
            context.report(wrong_type(&at, "an object, or a list of {name, value}", other));
            Vec::new()
        }
    }
}

fn param(
    name: String,
    value: &Value,
    pointer: String,
    scope: &InScope,
    context: &mut ReadContext<'_>,
) -> Option<ParamTemplate> {
    if name.is_empty() {
        context.report(Diagnostic::new(
            DiagnosticCode::InvalidValue,
            pointer.clone(),
            "the name of a parameter must not be empty",
        ));
    }
    let value = match value {
        Value::Array(items) => {
            let items = items.iter().enumerate();
            let items =
                items.filter_map(|(index, item)| scalar(item, &format!("{pointer}/{index}"), scope, context));
            JsonTemplate::List(items.collect())
        }
        other => scalar(other, &pointer, scope, context)?,
    };
    Some(ParamTemplate { name, value, pointer })
}

/// Reads text that may hold templates, a number, a boolean or null.
fn scalar(
    value: &Value,
    pointer: &str,
    scope: &InScope,
    context: &mut ReadContext<'_>,
) -> Option<JsonTemplate> {
    if value.is_object() || value.is_array() {
        context.report(wrong_type(pointer, "text, a number or a boolean", value));
        return None;
    }
    json(value, pointer, scope, context)
}

/// Reads JSON whose texts may hold templates.
pub(super) fn json(
    value: &Value,
    pointer: &str,
    scope: &InScope,
    context: &mut ReadContext<'_>,
) -> Option<JsonTemplate> {
    match value {
        Value::String(text) => {
            let template = context.template(text, pointer, scope, false)?;
            Some(match template.literal() {
                Some(text) => JsonTemplate::Literal(text.into()),
                None => JsonTemplate::Template(template),
            })
        }
        Value::Array(items) => {
            let items = items.iter().enumerate();
            let items =
                items.filter_map(|(index, item)| json(item, &format!("{pointer}/{index}"), scope, context));
            Some(JsonTemplate::List(items.collect()))
        }
        Value::Object(members) => {
            let members = members.iter().filter_map(|(name, member)| {
                let rendered = json(member, &format!("{pointer}/{}", token(name)), scope, context)?;
                Some((name.clone(), rendered))
            });
            Some(JsonTemplate::Object(members.collect()))
        }
        literal => Some(JsonTemplate::Literal(literal.into())),
    }
}
