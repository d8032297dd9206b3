//! Small pieces of JSON Schema.

use serde_json::{Map, Value, json};

use crate::ScopeName;
use crate::expr::InScope;

/// Bytes of an expression; see the bounds of expressions.
const EXPR_LENGTH: usize = 4096;

/// An object of the language: its fields, those that must be there, and what each of them is. A null counts as a field that
/// is not there.
pub(crate) fn object(words: &str, fields: &[&str], required: &[&str], what: impl Fn(&str) -> Value) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| {
            let schema = what(field);
            let schema = if required.contains(field) { schema } else { or_null(schema) };
            ((*field).to_owned(), schema)
        })
        .collect();
    let mut object = json!({
        "description": words,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

/// The same schema, and null.
pub(crate) fn or_null(mut schema: Value) -> Value {
    if let Some(name) = schema["type"].as_str() {
        schema["type"] = json!([name, "null"]);
    }
    for list in ["enum", "anyOf", "oneOf"] {
        let null = if list == "enum" { Value::Null } else { json!({"type": "null"}) };
        if let Some(list) = schema.get_mut(list).and_then(Value::as_array_mut) {
            list.push(null);
        }
    }
    schema
}

pub(crate) fn with(mut schema: Value, field: &str, value: impl Into<Value>) -> Value {
    schema[field] = value.into();
    schema
}

pub(crate) fn described(words: &str, schema: Value) -> Value {
    with(schema, "description", words)
}

pub(crate) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

/// A reference to an object, where null is none.
pub(crate) fn optional(words: &str, name: &str) -> Value {
    json!({"description": words, "anyOf": [reference(name)]})
}

pub(crate) fn text(words: &str) -> Value {
    json!({"description": words, "type": "string"})
}

pub(crate) fn matching(words: &str, pattern: &str) -> Value {
    with(text(words), "pattern", pattern)
}

pub(crate) fn key(words: &str) -> Value {
    matching(words, "^[a-z0-9][a-z0-9._-]{0,127}$")
}

/// A positive length of time.
pub(crate) fn span(words: &str) -> Value {
    matching(&format!("{words}. Like 90s, 10m, 1h30m, 1d, 2w"), "^([0-9]+[smhdw])+$")
}

/// The name of a parameter.
pub(crate) fn param(words: &str) -> Value {
    with(text(words), "minLength", 1)
}

pub(crate) fn boolean(words: &str, default: bool) -> Value {
    json!({"description": words, "type": "boolean", "default": default})
}

/// An integer that the server bounds.
pub(crate) fn at_least(words: &str, least: u64) -> Value {
    json!({"description": words, "type": "integer", "minimum": least})
}

pub(crate) fn integer(words: &str, least: u64, most: u64) -> Value {
    with(at_least(words, least), "maximum", most)
}

/// One of a few words.
pub(crate) fn choice<'n>(words: &str, names: impl IntoIterator<Item = &'n str>) -> Value {
    let names: Vec<&str> = names.into_iter().collect();
    json!({"description": words, "enum": names})
}

/// The names of a reader's table.
pub(crate) fn names<'n, T>(table: &'n [(&'n str, T)]) -> impl Iterator<Item = &'n str> {
    table.iter().map(|(name, _)| *name)
}

pub(crate) fn list(words: &str, items: &Value) -> Value {
    json!({"description": words, "type": "array", "items": items})
}

/// An expression.
pub(crate) fn expr(words: &str, scope: &InScope) -> Value {
    let words = format!("{words}. An expression; its names: {}", spelled(scope));
    let expr = json!({"description": words, "type": "string", "minLength": 1, "maxLength": EXPR_LENGTH});
    with(expr, "x-orchid-scope", known(scope))
}

/// A map from names to expressions.
pub(crate) fn exprs(words: &str, scope: &InScope) -> Value {
    json!({
        "description": words,
        "type": "object",
        "propertyNames": {"minLength": 1, "maxLength": 128},
        "additionalProperties": expr("The value", scope),
    })
}

/// Anything in whose texts expressions stand between `{{` and `}}`.
pub(crate) fn templates(words: &str, schema: Value, scope: &InScope) -> Value {
    let words = format!("{words}. Between {{{{ and }}}} stand expressions; their names: {}", spelled(scope));
    with(described(&words, schema), "x-orchid-scope", known(scope))
}

fn known(scope: &InScope) -> Value {
    scope.names().iter().map(|name| name.as_str()).collect()
}

fn spelled(scope: &InScope) -> String {
    scope.names().iter().copied().map(ScopeName::as_str).collect::<Vec<_>>().join(", ")
}
