//! Converts JSON that people write, which is a `google.protobuf.Struct` on the wire.

use orchid_proto::json::{self, JsonError};
use prost_types::Struct;
use serde_json::Value as Json;
use tonic::Status;

use crate::api::convert::corrupt;
use crate::api::error;
use crate::commands::Diagnostic;
use crate::commands::json_pointer::escape;

/// Decodes a document of a request field.
///
/// # Errors
/// Fails, with a pointer below `pointer`, on numbers that may have lost digits, on U+0000, and on
/// deep nesting.
pub(crate) fn from_wire(document: &Struct, pointer: &str) -> Result<Json, Status> {
    let refuse = |diagnostic| error::invalid("INVALID_JSON", diagnostic);
    let document = json::from_struct(document).map_err(|error| refuse(diagnostic(&error, pointer)))?;
    match nul(&document) {
        Some(place) => {
            let message = "the character U+0000 cannot be stored";
            Err(refuse(Diagnostic::new("INVALID_VALUE", format!("{pointer}{place}"), message)))
        }
        None => Ok(document),
    }
}

/// Encodes a stored document.
pub(crate) fn to_wire(document: &Json) -> Result<Struct, Status> {
    json::to_struct(document).map_err(|error| corrupt("document", error))
}

fn diagnostic(error: &JsonError, pointer: &str) -> Diagnostic {
    let place = format!("{pointer}{}", error.pointer());
    match error {
        JsonError::IntegerTooLarge { number, .. } => {
            let message = format!(
                "the integer {number} is 2^53 or more and may have lost digits on the way: write it as text"
            );
            Diagnostic::new("OUT_OF_RANGE", place, message)
        }
        JsonError::NotFinite { .. } => Diagnostic::new("OUT_OF_RANGE", place, "the number is not finite"),
        JsonError::TooDeep { .. } => {
            let message = format!("nested deeper than {} levels", json::MAX_DEPTH);
            Diagnostic::new("TOO_LARGE", place, message)
        }
        JsonError::NotAnObject { kind } => {
            Diagnostic::new("WRONG_TYPE", place, format!("must be an object, but is {kind}"))
        }
    }
}

/// Returns the pointer of the first text or name with U+0000, which jsonb cannot store.
fn nul(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => text.contains('\0').then(String::new),
        Json::Array(elements) => {
            let mut elements = elements.iter().enumerate();
            elements.find_map(|(index, element)| Some(format!("/{index}{}", nul(element)?)))
        }
        Json::Object(members) => members.iter().find_map(|(name, member)| {
            let place = format!("/{}", escape(name));
            if name.contains('\0') { Some(place) } else { Some(format!("{place}{}", nul(member)?)) }
        }),
        Json::Null | Json::Bool(_) | Json::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Value;
    use prost_types::value::Kind;
    use serde_json::json;
    use tonic_types::StatusExt as _;

    use super::*;

    fn field(status: &Status) -> String {
        status.get_details_bad_request().unwrap().field_violations[0].field.clone()
    }

    #[test]
    fn integer_that_may_have_lost_digits_is_refused() {
        let number = Value { kind: Some(Kind::NumberValue(9_007_199_254_740_992.0)) };
        let document = Struct { fields: [("id".to_owned(), number)].into() };
        let status = from_wire(&document, "/config/values").unwrap_err();
        assert_eq!(field(&status), "/config/values/id");
        assert!(status.message().contains("write it as text"));
    }

    #[test]
    fn nul_character_is_refused_in_texts_and_names() {
        for (document, place) in
            [(json!({"a": ["x", "b\u{0}"]}), "/v/a/1"), (json!({"a": {"b\u{0}": 1}}), "/v/a/b\u{0}")]
        {
            let status = from_wire(&json::to_struct(&document).unwrap(), "/v").unwrap_err();
            assert_eq!(field(&status), place);
        }
    }

    #[test]
    fn whole_numbers_become_integers() {
        let document = json!({"five": 5, "half": 0.5, "deep": [{"n": -1}]});
        assert_eq!(from_wire(&json::to_struct(&document).unwrap(), "").unwrap(), document);
    }
}
