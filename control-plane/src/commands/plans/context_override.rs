//! The context override of a trigger.

use std::collections::BTreeMap;

use orchid_common::limits::{CONTEXT_FIELD_MAX_BYTES, CONTEXT_MAX_BYTES};
use serde_json::value::RawValue;

use crate::commands::{CommandError, Diagnostic};
use crate::store::error::StoreError;

const POINTER: &str = "/context_override_json";

/// Values that override fields of the persistent context during one execution: a JSON object within
/// the bounds of a context.
pub struct ContextOverride(Vec<u8>);

impl ContextOverride {
    /// Parses the JSON text of a trigger. Values stay text, so that numbers keep every digit.
    ///
    /// # Errors
    /// Fails if the text is not a JSON object, or if the object or one of its fields is too large.
    pub fn parse(text: &str) -> Result<Self, CommandError> {
        let fields = parse_object(text)?;
        if let Some(message) = excess(text, &fields) {
            let diagnostic = Diagnostic::new("TOO_LARGE", POINTER, message);
            return Err(CommandError::invalid("CONTEXT_TOO_LARGE", diagnostic));
        }
        let json =
            serde_json::to_vec(&fields).map_err(|error| StoreError::corrupt("context override", error))?;
        Ok(Self(json))
    }

    /// Returns the object as JSON.
    pub fn as_json(&self) -> &[u8] {
        &self.0
    }
}

fn parse_object(text: &str) -> Result<BTreeMap<String, Box<RawValue>>, CommandError> {
    serde_json::from_str(text).map_err(|error| {
        let diagnostic = Diagnostic::new("INVALID_VALUE", POINTER, format!("not a JSON object: {error}"));
        CommandError::invalid("INVALID_JSON", diagnostic)
    })
}

/// Explains the bound that an override exceeds, if any.
fn excess(text: &str, fields: &BTreeMap<String, Box<RawValue>>) -> Option<String> {
    if text.len() > CONTEXT_MAX_BYTES {
        return Some(format!("the context has {} bytes; the limit is {CONTEXT_MAX_BYTES}", text.len()));
    }
    let (name, value) = fields.iter().find(|(_, value)| value.get().len() > CONTEXT_FIELD_MAX_BYTES)?;
    let size = value.get().len();
    Some(format!("field {name:?} has {size} bytes; the limit is {CONTEXT_FIELD_MAX_BYTES}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn override_keeps_digits_and_must_be_an_object() {
        let text = r#"{"id":12345678901234567890123,"x":"\u0000"}"#;
        assert_eq!(ContextOverride::parse(text).unwrap().as_json(), text.as_bytes());
        for bad in ["[1]", "1", "{", ""] {
            assert!(ContextOverride::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn large_field_is_refused_with_its_name() {
        let text = format!(r#"{{"big":"{}"}}"#, "x".repeat(CONTEXT_FIELD_MAX_BYTES));
        let error = ContextOverride::parse(&text).err().unwrap();
        assert!(error.to_string().contains("\"big\""), "{error}");
    }
}
