//! Converts errors of the JSON Schema validator to diagnostics that point at the offending member
//! and never show a secret.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use orchid_common::suggest::closest;
use serde_json::Value as Json;

use crate::commands::Diagnostic;
use crate::commands::json_pointer::escape;

const MAX_MESSAGE_BYTES: usize = 300;
/// Maximum number of unknown members of one object that are reported.
const MAX_UNKNOWN: usize = 20;

/// Converts one error of the validator. Pointers are relative to the config.
pub(super) fn from_error(
    error: &ValidationError<'_>,
    schema: &Json,
    secret: &BTreeSet<String>,
) -> Vec<Diagnostic> {
    let pointer = format!("/values{}", error.instance_path());
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![Diagnostic::new(
                "REQUIRED",
                format!("{pointer}/{}", escape(name)),
                format!("{name:?} is required"),
            )]
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let known = declared_beside(schema, &error.schema_path().to_string());
            let diagnostics = unexpected.iter().take(MAX_UNKNOWN).map(|name| {
                let message =
                    format!("the config schema does not declare {}", shortened(&format_args!("{name:?}")));
                Diagnostic::new("UNKNOWN_FIELD", format!("{pointer}/{}", escape(name)), message)
                    .suggest(closest(name, known.iter().map(String::as_str)))
            });
            diagnostics.collect()
        }
        ValidationErrorKind::Type { .. } => {
            vec![Diagnostic::new("WRONG_TYPE", pointer, message(error, secret))]
        }
        _ => vec![Diagnostic::new("INVALID_VALUE", pointer, message(error, secret))],
    }
}

/// Returns the message of an error. The validator quotes the offending value, so the message is
/// masked if that value is a secret or contains one.
fn message(error: &ValidationError<'_>, secret: &BTreeSet<String>) -> String {
    let place = error.instance_path().to_string();
    let touches = |pointer: &String| is_within(pointer, &place) || is_within(&place, pointer);
    if secret.iter().any(touches) { shortened(&error.masked()) } else { shortened(error) }
}

/// Returns the beginning of a message. The validator quotes the offending value, which may be the
/// whole document, so the rest is not even written.
pub(super) fn shortened(message: &impl fmt::Display) -> String {
    let mut start = MessageStart(String::new());
    // Writing fails once the start is complete.
    let _ = write!(start, "{message}");
    start.0
}

struct MessageStart(String);

impl fmt::Write for MessageStart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let left = MAX_MESSAGE_BYTES.saturating_sub(self.0.len());
        if text.len() <= left {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(left)]);
        Err(fmt::Error)
    }
}

fn is_within(pointer: &str, outer: &str) -> bool {
    pointer.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the property names declared beside the keyword that refused a member.
fn declared_beside(schema: &Json, keyword_path: &str) -> Vec<String> {
    let (parent, _) = keyword_path.rsplit_once('/').unwrap_or_default();
    let properties = schema.pointer(&format!("{parent}/properties")).and_then(Json::as_object);
    properties.map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::commands::configs::schema::{diagnostics, secret_pointers};

    #[test]
    fn diagnostics_point_at_members_and_suggest_names() {
        let schema = json!({
            "type": "object", "required": ["base_url"], "additionalProperties": false,
            "properties": {"base_url": {"type": "string"}, "page_size": {"type": "integer"}},
        });
        let values = json!({"page_size": "ten", "base_ulr": "x"});
        let mut found: Vec<_> = diagnostics(&schema, &values, &secret_pointers(&schema, &values).unwrap())
            .into_iter()
            .map(|diagnostic| (diagnostic.code, diagnostic.pointer, diagnostic.suggestion))
            .collect();
        found.sort();
        assert_eq!(
            found,
            [
                ("REQUIRED", "/values/base_url".to_owned(), None),
                ("UNKNOWN_FIELD", "/values/base_ulr".to_owned(), Some("base_url".to_owned())),
                ("WRONG_TYPE", "/values/page_size".to_owned(), None),
            ]
        );
    }

    #[test]
    fn messages_never_show_a_secret() {
        let schema = json!({
            "properties": {"token": {"type": "integer", "x-secret": true}}, "maxProperties": 1,
            "anyOf": [{"properties": {"token": {"minLength": 99}}}],
        });
        let values = json!({"token": "hunter2", "b": 1});
        let found = diagnostics(&schema, &values, &secret_pointers(&schema, &values).unwrap());
        assert!(found.len() >= 3, "{found:?}");
        assert!(found.iter().all(|diagnostic| !format!("{diagnostic:?}").contains("hunter2")), "{found:?}");
    }
}
