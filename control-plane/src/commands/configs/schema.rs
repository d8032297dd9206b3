//! Config schemas: JSON Schema, draft 2020-12, without remote references. Checks values against a
//! schema and finds the secrets among them.

use std::collections::BTreeSet;

use jsonschema::{Draft, Validator};
use serde_json::Value as Json;

use super::schema_diagnostics;
use crate::commands::json_pointer::escape;
use crate::commands::{CommandError, Diagnostic};

/// Maximum number of references followed on the way to one value; it ends the search in recursive
/// schemas.
const MAX_REFS: usize = 32;
const MAX_FAULTS: usize = 100;

/// Checks a config schema.
///
/// # Errors
/// Fails if it is not a JSON Schema or refers to another document.
pub fn check(document: &Json, pointer: &str) -> Result<(), CommandError> {
    compile(document).map(drop).map_err(|mut diagnostic| {
        diagnostic.pointer.insert_str(0, pointer);
        CommandError::invalid("INVALID_SCHEMA", diagnostic)
    })
}

/// Checks values and returns their problems, with pointers relative to the config. Messages never
/// show values below a secret pointer.
pub fn diagnostics(schema: &Json, values: &Json, secret: &BTreeSet<String>) -> Vec<Diagnostic> {
    let validator = match compile(schema) {
        Ok(validator) => validator,
        Err(diagnostic) => return vec![Diagnostic { pointer: "/values".to_owned(), ..diagnostic }],
    };
    let errors = validator.iter_errors(values).take(MAX_FAULTS);
    errors.flat_map(|error| schema_diagnostics::from_error(&error, schema, secret)).collect()
}

/// Returns pointers to the values that a schema marks as secret, by `writeOnly` or `x-secret`. A
/// value is secret if any branch of the schema marks it, even a branch that does not apply.
pub fn secret_pointers(schema: &Json, values: &Json) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    SecretFinder { root: schema, found: &mut found }.visit(schema, values, "", 0);
    found
}

fn compile(schema: &Json) -> Result<Validator, Diagnostic> {
    jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).build(schema).map_err(
        |error| {
            Diagnostic::new(
                "INVALID_VALUE",
                error.instance_path().to_string(),
                format!("not a valid schema: {error}"),
            )
        },
    )
}

struct SecretFinder<'a> {
    root: &'a Json,
    found: &'a mut BTreeSet<String>,
}

impl SecretFinder<'_> {
    fn visit(&mut self, schema: &Json, value: &Json, pointer: &str, refs: usize) {
        let Json::Object(members) = schema else { return };
        if marks_secret(members) {
            self.found.insert(pointer.to_owned());
            return;
        }
        if let Some(target) =
            members.get("$ref").and_then(Json::as_str).and_then(|name| resolve(self.root, name))
            && refs < MAX_REFS
        {
            self.visit(&target, value, pointer, refs + 1);
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for branch in members.get(keyword).and_then(Json::as_array).into_iter().flatten() {
                self.visit(branch, value, pointer, refs);
            }
        }
        for keyword in ["if", "then", "else"] {
            members.get(keyword).into_iter().for_each(|branch| self.visit(branch, value, pointer, refs));
        }
        for branch in members.get("dependentSchemas").and_then(Json::as_object).into_iter().flatten() {
            self.visit(branch.1, value, pointer, refs);
        }
        match value {
            Json::Object(fields) => {
                for (name, field) in fields {
                    self.visit_field(members, name, field, &format!("{pointer}/{}", escape(name)));
                }
            }
            Json::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    self.visit_element(members, index, element, &format!("{pointer}/{index}"));
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }

    fn visit_field(
        &mut self,
        members: &serde_json::Map<String, Json>,
        name: &str,
        field: &Json,
        pointer: &str,
    ) {
        if let Some(schema) = members.get("properties").and_then(|schemas| schemas.get(name)) {
            self.visit(schema, field, pointer, 0);
        }
        // Patterns are not evaluated: a field that might be secret is treated as secret.
        for (_, schema) in members.get("patternProperties").and_then(Json::as_object).into_iter().flatten() {
            self.visit(schema, field, pointer, 0);
        }
        let is_declared = members.get("properties").is_some_and(|schemas| schemas.get(name).is_some());
        for keyword in ["additionalProperties", "unevaluatedProperties"] {
            if let Some(schema) = members.get(keyword).filter(|_| !is_declared) {
                self.visit(schema, field, pointer, 0);
            }
        }
    }

    fn visit_element(
        &mut self,
        members: &serde_json::Map<String, Json>,
        index: usize,
        element: &Json,
        pointer: &str,
    ) {
        let prefix = members.get("prefixItems").and_then(Json::as_array);
        if let Some(schema) = prefix.and_then(|schemas| schemas.get(index)) {
            self.visit(schema, element, pointer, 0);
        }
        for keyword in ["items", "contains", "unevaluatedItems"] {
            members.get(keyword).into_iter().for_each(|schema| self.visit(schema, element, pointer, 0));
        }
    }
}

/// Returns whether a schema marks its value as secret.
pub(super) fn marks_secret(members: &serde_json::Map<String, Json>) -> bool {
    ["writeOnly", "x-secret"].iter().any(|mark| members.get(*mark) == Some(&Json::Bool(true)))
}

/// Resolves a local reference of a schema: a JSON pointer, or an anchor of `$defs`.
pub(super) fn resolve(root: &Json, reference: &str) -> Option<Json> {
    let local = reference.strip_prefix('#')?;
    if local.is_empty() || local.starts_with('/') {
        return root.pointer(local).cloned();
    }
    let definitions = root.get("$defs").and_then(Json::as_object)?;
    definitions.values().find(|schema| schema.get("$anchor").and_then(Json::as_str) == Some(local)).cloned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn invalid_schema_is_refused_with_its_pointer() {
        let error = check(&json!({"properties": {"a": {"type": "strng"}}}), "/schema").unwrap_err();
        let CommandError::Invalid { reason, diagnostics, .. } = error else { panic!("{error}") };
        assert_eq!(reason, "INVALID_SCHEMA");
        assert_eq!(diagnostics[0].pointer, "/schema/properties/a/type");
    }

    #[test]
    fn remote_reference_is_refused() {
        assert!(check(&json!({"$ref": "https://example.com/schema.json"}), "/schema").is_err());
        assert!(check(&json!({"$ref": "file:///etc/passwd"}), "/schema").is_err());
    }

    #[test]
    fn secrets_are_found_in_every_kind_of_subschema() {
        let schema = json!({
            "$defs": {"token": {"type": "string", "writeOnly": true}, "tree": {"properties": {
                "secret": {"x-secret": true}, "children": {"items": {"$ref": "#/$defs/tree"}}}}},
            "properties": {
                "plain": {"type": "string"},
                "token": {"$ref": "#/$defs/token"},
                "a/b": {"properties": {"c~d": {"writeOnly": true}}},
                "list": {"items": {"properties": {"key": {"x-secret": true}}}},
                "tree": {"$ref": "#/$defs/tree"},
            },
            "anyOf": [{"properties": {"either": {"writeOnly": true}}}, {"properties": {"either": {}}}],
            "additionalProperties": {"x-secret": true},
        });
        let values = json!({
            "plain": "p", "token": "t", "a/b": {"c~d": 1}, "list": [{"key": "k"}, {"other": 1}],
            "tree": {"secret": "s", "children": [{"secret": "s"}]}, "either": "e", "unknown": {"x": 1},
        });
        let found: Vec<String> = secret_pointers(&schema, &values).into_iter().collect();
        assert_eq!(
            found,
            [
                "/a~1b/c~0d",
                "/either",
                "/list/0/key",
                "/token",
                "/tree/children/0/secret",
                "/tree/secret",
                "/unknown"
            ]
        );
    }

    #[test]
    fn recursive_schema_terminates() {
        assert!(secret_pointers(&json!({"$ref": "#"}), &json!({"a": 1})).is_empty());
    }
}
