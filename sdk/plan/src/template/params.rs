//! Parameters of a query or a form, as pairs of a name and a text.

use super::error::{RenderError, RenderErrorCode};
use super::json::JsonTemplate;
use crate::{EvalEnv, JsonType, Scope, Value, links};

/// One parameter. Its value is text, a number or a boolean, or a list of these that repeats the
/// name.
#[derive(Clone, Debug)]
pub(crate) struct ParamTemplate {
    pub(crate) name: String,
    pub(crate) value: JsonTemplate,
    pub(crate) pointer: String,
}

/// Appends the pairs of a parameter: none for null, one for each element of a list.
pub(super) fn append_pairs(
    name: &str,
    value: &Value,
    pointer: &str,
    out: &mut Vec<(String, String)>,
) -> Result<(), RenderError> {
    match value.json_type() {
        JsonType::Null => Ok(()),
        JsonType::List => {
            for item in value.items().into_iter().flatten() {
                if item.json_type() == JsonType::List {
                    return Err(no_text(name, JsonType::List, pointer));
                }
                append_pairs(name, &item, pointer, out)?;
            }
            Ok(())
        }
        kind => {
            let text = value.to_text().ok_or_else(|| no_text(name, kind, pointer))?;
            out.push((name.to_owned(), text));
            Ok(())
        }
    }
}

fn no_text(name: &str, kind: JsonType, pointer: &str) -> RenderError {
    let message = format!("{name} holds a value of type {kind}, which has no text");
    RenderError::new(RenderErrorCode::TemplateType, pointer, message)
}

/// Renders parameters in their order.
pub(super) fn render<'p>(
    params: impl IntoIterator<Item = &'p ParamTemplate>,
    scope: &Scope,
    env: &EvalEnv,
) -> Result<Vec<(String, String)>, RenderError> {
    let mut rendered = Vec::new();
    for param in params {
        let value = param.value.render(scope, env)?;
        append_pairs(&param.name, &value, &param.pointer, &mut rendered)?;
    }
    Ok(rendered)
}

/// Encodes pairs as a query. A space is `%20` (RFC 3986).
pub(super) fn query<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(&links::percent_encode(name));
        query.push('=');
        query.push_str(&links::percent_encode(value));
    }
    query
}
