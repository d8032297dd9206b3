//! Builders for pieces of JSON Schema.

use serde_json::{Map, Value, json};

use crate::ScopeName;
use crate::expr::InScope;

/// Maximum length of an expression, as the compiler of expressions enforces it.
const EXPR_MAX_LENGTH: usize = 4096;

/// Returns the schema of an object with these fields. Optional fields may be null, which counts as
/// absent.
pub(crate) fn object(
    words: &str,
    fields: &[&str],
    required: &[&str],
    schema_of: impl Fn(&str) -> Value,
) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| {
            let schema = schema_of(field);
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

/// Returns a schema that accepts null in addition.
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

/// Returns a described reference to an optional object.
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

/// Returns the schema of a positive duration.
pub(crate) fn duration(words: &str) -> Value {
    matching(&format!("{words}, such as 90s, 10m, 1h30m, 1d or 2w"), "^([0-9]+[smhdw])+$")
}

/// Returns the schema of a parameter name.
pub(crate) fn param(words: &str) -> Value {
    with(text(words), "minLength", 1)
}

pub(crate) fn boolean(words: &str, default: bool) -> Value {
    json!({"description": words, "type": "boolean", "default": default})
}

/// Returns the schema of an integer whose upper limit the server sets.
pub(crate) fn at_least(words: &str, least: u64) -> Value {
    json!({"description": words, "type": "integer", "minimum": least})
}

pub(crate) fn integer(words: &str, least: u64, most: u64) -> Value {
    with(at_least(words, least), "maximum", most)
}

/// Returns the schema of one of several names.
pub(crate) fn choice<'n>(words: &str, names: impl IntoIterator<Item = &'n str>) -> Value {
    let names: Vec<&str> = names.into_iter().collect();
    json!({"description": words, "enum": names})
}

/// Returns the names in a reader's table.
pub(crate) fn names<'n, T>(table: &'n [(&'n str, T)]) -> impl Iterator<Item = &'n str> {
    table.iter().map(|(name, _)| *name)
}

pub(crate) fn list(words: &str, items: &Value) -> Value {
    json!({"description": words, "type": "array", "items": items})
}

/// Returns the schema of an expression, with the names in its scope.
pub(crate) fn expr(words: &str, scope: &InScope) -> Value {
    let words = format!("{words}. An expression that may start with: {}", scope_list(scope));
    let expr = json!({"description": words, "type": "string", "minLength": 1, "maxLength": EXPR_MAX_LENGTH});
    with(expr, "x-orchid-scope", scope_names(scope))
}

/// Returns the schema of an object of named expressions.
pub(crate) fn exprs(words: &str, scope: &InScope) -> Value {
    json!({
        "description": words,
        "type": "object",
        "propertyNames": {"minLength": 1, "maxLength": 128},
        "additionalProperties": expr("Value of the field", scope),
    })
}

/// Returns a schema whose texts may hold expressions between `{{` and `}}`.
pub(crate) fn templates(words: &str, schema: Value, scope: &InScope) -> Value {
    let words = format!(
        "{words}. Texts may hold expressions between {{{{ and }}}}, which may start with: {}",
        scope_list(scope)
    );
    with(described(&words, schema), "x-orchid-scope", scope_names(scope))
}

fn scope_names(scope: &InScope) -> Value {
    scope.names().iter().map(|name| name.as_str()).collect()
}

fn scope_list(scope: &InScope) -> String {
    scope.names().iter().copied().map(ScopeName::as_str).collect::<Vec<_>>().join(", ")
}
