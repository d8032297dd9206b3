//! Holds the schema against the readers: every definition that a test compiles must match it.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::draft202012::new(&super::plan::schema()).unwrap());

/// Returns what the schema refuses in a plan document.
pub(crate) fn violations(document: &Value) -> Vec<String> {
    VALIDATOR.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Asserts that the schema accepts a definition which the readers accept.
pub(crate) fn assert_accepts(definition: &Value) {
    let violations = violations(&json!({"key": "a", "integration": "b", "definition": definition}));
    assert!(
        violations.is_empty(),
        "the readers accept it, the schema does not: {violations:#?}\n{definition}"
    );
}
