//! Config schemas: JSON Schema, draft 2020-12, without remote references. Checks values against a
//! schema and finds the secrets among them.
//!
//! Both documents are written by users. So a check first counts its work, and refuses what would
//! take too long; the validator itself has no such limit.

mod declared;
mod graph;
mod violations;
mod walk;

use std::collections::BTreeSet;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value as Json;

pub use self::graph::MAX_SCHEMA_BYTES;
use self::graph::SchemaGraph;
use crate::commands::{CommandError, Diagnostic};

const MAX_FAULTS: usize = 100;
/// Maximum size of a compiled regular expression, in bytes.
const PATTERN_COMPILED_BYTES: usize = 256 * 1024;
/// Maximum number of steps back in one match of a regular expression.
const PATTERN_BACKTRACKS: usize = 10_000;

/// Checks a config schema.
///
/// # Errors
/// Fails if it is not a JSON Schema, refers to another document, or is too complex.
pub fn check(document: &Json, pointer: &str) -> Result<(), CommandError> {
    let checked = SchemaGraph::build(document).and_then(|_| compile(document));
    checked.map(drop).map_err(|mut diagnostic| {
        diagnostic.pointer.insert_str(0, pointer);
        CommandError::invalid("INVALID_SCHEMA", diagnostic)
    })
}

/// Returns the paths, relative to the config's values, of members that a schema marks as secret. If
/// the schema was saved before schemas were limited and exceeds the limits, this is the path of all
/// values.
pub fn declared_secrets(document: &Json) -> Vec<Vec<String>> {
    SchemaGraph::build(document).map_or_else(|_| vec![Vec::new()], |graph| declared::declared_secrets(&graph))
}

/// Returns pointers to the values that a schema marks as secret.
///
/// # Errors
/// Fails, with a pointer relative to the config, if checking the values against the schema would
/// take too long.
pub fn secret_pointers(schema: &Json, values: &Json) -> Result<BTreeSet<String>, Diagnostic> {
    let found = SchemaGraph::build(schema).and_then(|graph| walk::secret_pointers(&graph, values));
    // The pointer may lead into the schema, which is another document.
    found.map_err(|problem| Diagnostic { pointer: "/values".to_owned(), ..problem })
}

/// Checks values and returns their problems, with pointers relative to the config. Messages never
/// show values below a secret pointer, which [`secret_pointers`] has returned for this schema.
pub fn diagnostics(schema: &Json, values: &Json, secret: &BTreeSet<String>) -> Vec<Diagnostic> {
    let validator = match compile(schema) {
        Ok(validator) => validator,
        Err(diagnostic) => return vec![Diagnostic { pointer: "/values".to_owned(), ..diagnostic }],
    };
    let errors = validator.iter_errors(values).take(MAX_FAULTS);
    errors.flat_map(|error| violations::from_error(&error, schema, secret)).take(MAX_FAULTS).collect()
}

fn compile(schema: &Json) -> Result<Validator, Diagnostic> {
    let patterns =
        PatternOptions::fancy_regex().size_limit(PATTERN_COMPILED_BYTES).backtrack_limit(PATTERN_BACKTRACKS);
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| {
            Diagnostic::new(
                "INVALID_VALUE",
                error.instance_path().to_string(),
                format!("not a valid schema: {}", violations::shortened(&error)),
            )
        })
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
}
