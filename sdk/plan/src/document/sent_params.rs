//! The parameters that pagination, windows and cursors send: none of them may be in the request already.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::context::Context;
use super::object::Object;
use crate::RequestTemplate;

/// A parameter that is sent beside the plan's own, and where it is named.
struct Sent<'d> {
    pointer: String,
    name: &'d str,
}

/// Refuses a parameter that would be sent twice.
pub(super) fn check(step: &Object<'_>, request: Option<&RequestTemplate>, context: &mut Context<'_>) {
    let url = request.map(|request| request.url.literal_text()).unwrap_or_default();
    let own = own_params(step);
    let mut seen: Vec<Sent<'_>> = Vec::new();
    for sent in declared(step) {
        if own.contains(&sent.name) {
            context.conflict(&sent.pointer, format!("{} is among the step's params already", sent.name));
        } else if in_query(&url, sent.name) {
            context.conflict(&sent.pointer, format!("{} is in the url's query already", sent.name));
        } else if let Some(other) = seen.iter().find(|other| other.name == sent.name) {
            let words = format!("{} is sent by {} already", sent.name, other.pointer);
            context.conflict(&sent.pointer, words);
        }
        seen.push(sent);
    }
}

fn declared<'d>(step: &Object<'d>) -> Vec<Sent<'d>> {
    let mut sent = Vec::new();
    let mut add = |object: &str, field: &str, default: Option<&'d str>| {
        let Some(members) = step.get(object).and_then(Value::as_object) else { return };
        let at = step.at(object);
        match (members.get(field).filter(|value| !value.is_null()), default) {
            (Some(Value::String(name)), _) if !name.is_empty() => {
                sent.push(Sent { pointer: format!("{at}/{field}"), name })
            }
            (None, Some(name)) => sent.push(Sent { pointer: at, name }),
            _ => {}
        }
    };
    let default = match step.get("paginate").and_then(|paginate| paginate.get("type")).and_then(Value::as_str)
    {
        Some("page") => Some("page"),
        Some("offset") => Some("offset"),
        _ => None,
    };
    add("paginate", "param", default);
    add("paginate", "size_param", None);
    add("window", "from_param", None);
    add("window", "to_param", None);
    add("cursor", "param", None);
    sent
}

fn own_params<'d>(step: &Object<'d>) -> Vec<&'d str> {
    match step.get("params") {
        Some(Value::Object(members)) => members.keys().map(String::as_str).collect(),
        Some(Value::Array(items)) => {
            items.iter().filter_map(|item| item.get("name").and_then(Value::as_str)).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether the query that a url spells out names the parameter.
fn in_query(url: &str, name: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|pair| {
        let key = pair.split('=').next().unwrap_or_default();
        percent_decode_str(key).decode_utf8().is_ok_and(|key| key == name)
    })
}
