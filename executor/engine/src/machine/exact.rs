//! Values as JSON, exactly: what an expression only copied out of a body keeps its digits.
//!
//! In: the expression, its value, and the body it read. Out: JSON. Inside expressions decimals, and integers beyond 64
//! bits, are doubles; where one of those was only copied, the bytes that came are looked up instead of printed anew.

use bytes::Bytes;
use orchid_plan::{Expr, Kind, RawRows, Value};

use crate::body::Body;

/// The JSON of what `expr` gave.
pub(super) fn json(expr: &Expr, value: &Value, body: &Body) -> Bytes {
    if let Body::Json { text, .. } = body
        && holds_doubles(value)
        && let Some(path) = expr.plain_body_path()
        && let Ok(Some(found)) = RawRows::value(text, &path)
    {
        return text.slice_ref(found);
    }
    value.to_json().into()
}

/// Whether a number in the value may have had other digits. JSON is nested 127 levels deep at the most.
fn holds_doubles(value: &Value) -> bool {
    match value.kind() {
        Kind::Number => value.as_i64().is_none() && value.as_u64().is_none(),
        Kind::List => value.items().into_iter().flatten().any(|item| holds_doubles(&item)),
        Kind::Object => value.members().into_iter().flatten().any(|(_, member)| holds_doubles(&member)),
        Kind::Null | Kind::Bool | Kind::Text => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_double_may_have_changed_is_looked_up() {
        let holds = |json: &str| holds_doubles(&Value::parse(json.as_bytes()).unwrap());
        assert!(holds("[1,{\"a\":1.10}]"));
        assert!(holds("12345678901234567890123"));
        assert!(!holds("[18446744073709551615,-9223372036854775808,\"1.10\",null,true]"));
    }
}
