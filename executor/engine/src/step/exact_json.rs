//! Exact JSON of expression values: numbers that an expression only copies keep their digits.
//!
//! Inside expressions, decimals are doubles: they keep their value, but not zeros at their end. If
//! the expression is a plain path, the received text is looked up instead of printing the double.

use bytes::Bytes;
use orchid_plan::{Expr, JsonType, PathSegment, PlainPath, Value};

use crate::body::Body;
use crate::state::step_env::StepEnv;

/// Returns the JSON of the value of `expr`.
pub(crate) fn json(expr: &Expr, value: &Value, body: &Body, env: &StepEnv) -> Bytes {
    let copied = if holds_doubles(value) { copied(expr, value, body, env) } else { None };
    copied.unwrap_or_else(|| value.to_json().into())
}

/// Returns the text that a plain path leads to: in the response, the context, the enclosing row, or
/// the enclosing response.
fn copied(expr: &Expr, value: &Value, body: &Body, env: &StepEnv) -> Option<Bytes> {
    if let Some(path) = expr.plain_body_path() {
        return found(body.json_text()?, &path);
    }
    let (text, path) = if let Some(path) = expr.plain_path_below(&["item"]) {
        (env.item_text.as_ref()?, path)
    } else if let Some(path) = expr.plain_path_below(&["parent", "body"]) {
        (env.parent_text.as_ref()?, path)
    } else {
        let mut path = expr.plain_path_below(&["context"])?;
        let PathSegment::Member(name) = (!path.0.is_empty()).then(|| path.0.remove(0))? else { return None };
        (env.context.json(&name)?, path)
    };
    // The text can differ from the value if the page has written the context field in the meantime.
    found(text, &path).filter(|json| Value::parse(json).is_ok_and(|read| read == *value))
}

fn found(text: &Bytes, path: &PlainPath) -> Option<Bytes> {
    path.find_in(text).ok().flatten().map(|found| text.slice_ref(found))
}

/// Returns whether a number in the value may have had other digits. Recursion is safe: the nesting
/// of JSON is bounded where it is read.
fn holds_doubles(value: &Value) -> bool {
    match value.json_type() {
        JsonType::Number => value.as_i64().is_none() && value.as_u64().is_none(),
        JsonType::List => value.items().into_iter().flatten().any(|item| holds_doubles(&item)),
        JsonType::Object => value.members().into_iter().flatten().any(|(_, member)| holds_doubles(&member)),
        JsonType::Null | JsonType::Bool | JsonType::Text => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_inexact_numbers_are_looked_up() {
        let holds = |json: &str| holds_doubles(&Value::parse(json.as_bytes()).unwrap());
        assert!(holds("[1,{\"a\":1.10}]"));
        assert!(holds("12345678901234567890123"));
        assert!(!holds("[18446744073709551615,-9223372036854775808,\"1.10\",null,true]"));
    }
}
