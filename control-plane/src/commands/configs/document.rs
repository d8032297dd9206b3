//! Validates the values of a config and takes their secrets out.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::schema;
use super::secrets::{MARKER, SecretValues};
use crate::commands::Diagnostic;

/// Maximum size of a config's values, in bytes of JSON.
pub const MAX_VALUES_BYTES: usize = 256 * 1024;

/// Valid values, with their secrets taken out.
pub(crate) struct PreparedValues {
    /// The values, with a marker in place of each secret.
    pub(super) values: Json,
    /// The secrets.
    pub(super) secrets: SecretValues,
}

/// Checks values against a schema. A marker in the values is replaced by the stored secret of
/// `kept`.
///
/// # Errors
/// Fails with all problems at once.
pub(super) fn prepare(
    values: &Json,
    schema: Option<&Json>,
    kept: &SecretValues,
) -> Result<PreparedValues, Vec<Diagnostic>> {
    let size = values.to_string().len();
    if size > MAX_VALUES_BYTES {
        let message = format!("the values have {size} bytes; the limit is {MAX_VALUES_BYTES}");
        return Err(vec![Diagnostic::new("TOO_LARGE", "/values", message)]);
    }
    let secrets_of = |values: &Json| {
        let found = schema.map(|schema| schema::secret_pointers(schema, values)).transpose();
        found.map(Option::unwrap_or_default).map_err(|problem| vec![problem])
    };
    let mut secret = secrets_of(values)?;
    let mut values = values.clone();
    let mut diagnostics = keep(&mut values, &mut secret, kept);
    if let Some(schema) = schema {
        // A stored secret may be larger than its marker, so the work is counted again.
        secret.extend(secrets_of(&values)?);
        diagnostics.extend(schema::diagnostics(schema, &values, &secret));
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let secrets = SecretValues::take_out(&mut values, &secret);
    Ok(PreparedValues { values, secrets })
}

/// Replaces markers by stored secrets. A stored secret stays secret even if the schema no longer
/// marks it.
fn keep(values: &mut Json, secret: &mut BTreeSet<String>, kept: &SecretValues) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let candidates: BTreeSet<String> = secret.iter().cloned().chain(kept.0.keys().cloned()).collect();
    for pointer in candidates {
        let Some(place) = values.pointer_mut(&pointer).filter(|value| value.as_str() == Some(MARKER)) else {
            continue;
        };
        if let Some(value) = kept.0.get(&pointer) {
            place.clone_from(value);
            secret.insert(pointer);
        } else {
            let message =
                format!("{MARKER:?} keeps the stored value, but none is stored yet: write the value");
            diagnostics.push(Diagnostic::new("INVALID_VALUE", format!("/values{pointer}"), message));
        }
    }
    diagnostics
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn schema() -> Json {
        json!({"properties": {"token": {"type": "string", "writeOnly": true, "minLength": 4}}})
    }

    #[test]
    fn marker_keeps_a_secret_but_cannot_create_one() {
        let kept = SecretValues(BTreeMap::from([("/token".to_owned(), json!("hush"))]));
        let prepared = prepare(&json!({"token": MARKER}), Some(&schema()), &kept).ok().unwrap();
        assert_eq!(prepared.values, json!({"token": MARKER}));
        assert_eq!(prepared.secrets.0["/token"], json!("hush"));

        let diagnostics =
            prepare(&json!({"token": MARKER}), Some(&schema()), &SecretValues::default()).err().unwrap();
        assert_eq!(diagnostics[0].pointer, "/values/token");
    }

    #[test]
    fn stored_secret_stays_secret_without_schema() {
        let kept = SecretValues(BTreeMap::from([("/token".to_owned(), json!("hush"))]));
        let prepared = prepare(&json!({"token": MARKER}), None, &kept).ok().unwrap();
        assert_eq!(prepared.values, json!({"token": MARKER}));
        assert_eq!(prepared.secrets.0.len(), 1);
    }

    #[test]
    fn stored_secret_is_checked_against_newest_schema() {
        let kept = SecretValues(BTreeMap::from([("/token".to_owned(), json!("abc"))]));
        let diagnostics = prepare(&json!({"token": MARKER}), Some(&schema()), &kept).err().unwrap();
        assert_eq!(diagnostics[0].pointer, "/values/token");
        assert!(!diagnostics[0].message.contains("abc"), "{}", diagnostics[0].message);
    }
}
