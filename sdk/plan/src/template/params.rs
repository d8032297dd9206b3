//! Parameters of a query or a form: pairs of names and texts.

use super::JsonTemplate;
use crate::value::JsonType;
use crate::{EvalEnv, RenderError, RenderErrorCode, Scope, Value, links};

/// One parameter: text, a number, a boolean, or a list of these that repeats the name.
#[derive(Clone, Debug)]
pub(crate) struct ParamTemplate {
    pub(crate) name: String,
    pub(crate) value: JsonTemplate,
    pub(crate) pointer: String,
}

/// Adds the pairs that a value makes under a name: none for null, one for each element of a list.
pub(super) fn pairs(
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
                pairs(name, &item, pointer, out)?;
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
pub(super) fn render(
    params: &[ParamTemplate],
    scope: &Scope,
    env: &EvalEnv,
) -> Result<Vec<(String, String)>, RenderError> {
    let mut rendered = Vec::with_capacity(params.len());
    for param in params {
        let value = param.value.render(scope, env)?;
        pairs(&param.name, &value, &param.pointer, &mut rendered)?;
    }
    Ok(rendered)
}

/// Pairs as a query (RFC 3986: a space is `%20`).
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
