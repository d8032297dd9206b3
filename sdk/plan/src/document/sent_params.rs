//! Checks the parameters that pagination, windows and cursors send: the request must not send them
//! already.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::context::ReadContext;
use super::object::ObjectReader;
use crate::RequestTemplate;

/// A parameter that is sent in addition to the step's own, and the field that names it.
struct AddedParam<'d> {
    pointer: String,
    name: &'d str,
}

/// Reports parameters that would be sent twice.
pub(super) fn check(
    step: &ObjectReader<'_>,
    request: Option<&RequestTemplate>,
    context: &mut ReadContext<'_>,
) {
    let url = request.map(|request| request.url.literal_text()).unwrap_or_default();
    let own = own_params(step);
    let mut seen: Vec<AddedParam<'_>> = Vec::new();
    for sent in declared(step) {
        if own.contains(&sent.name) {
            context
                .conflict(&sent.pointer, format!("parameter {} is already in the step's params", sent.name));
        } else if in_query(&url, sent.name) {
            context.conflict(
                &sent.pointer,
                format!("parameter {} is already in the query of the url", sent.name),
            );
        } else if let Some(other) = seen.iter().find(|other| other.name == sent.name) {
            let words = format!("parameter {} is already sent by {}", sent.name, other.pointer);
            context.conflict(&sent.pointer, words);
        }
        seen.push(sent);
    }
}

/// Returns the names of the parameters that a step sends: its own, and those of its window and
/// cursor.
pub(super) fn names<'d>(step: &ObjectReader<'d>) -> Vec<&'d str> {
    let mut names = own_params(step);
    names.extend(declared(step).into_iter().map(|sent| sent.name));
    names
}

fn declared<'d>(step: &ObjectReader<'d>) -> Vec<AddedParam<'d>> {
    let mut sent = Vec::new();
    let mut add = |object: &str, field: &str, default: Option<&'d str>| {
        let Some(members) = step.get(object).and_then(Value::as_object) else { return };
        let at = step.at(object);
        // Null sends no parameter, whatever the default is.
        match (members.get(field), default) {
            (Some(Value::String(name)), _) if !name.is_empty() => {
                sent.push(AddedParam { pointer: format!("{at}/{field}"), name })
            }
            (None, Some(name)) => sent.push(AddedParam { pointer: at, name }),
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

fn own_params<'d>(step: &ObjectReader<'d>) -> Vec<&'d str> {
    match step.get("params") {
        Some(Value::Object(members)) => members.keys().map(String::as_str).collect(),
        Some(Value::Array(items)) => {
            items.iter().filter_map(|item| item.get("name").and_then(Value::as_str)).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns whether the literal query of a URL names the parameter.
fn in_query(url: &str, name: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|pair| {
        let key = pair.split('=').next().unwrap_or_default();
        percent_decode_str(key).decode_utf8().is_ok_and(|key| key == name)
    })
}
