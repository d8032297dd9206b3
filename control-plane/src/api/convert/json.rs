//! Converts JSON that people write, which is a `google.protobuf.Struct` on the wire.

use orchid_proto::json::{self, JsonError};
use prost::Message as _;
use prost_types::Struct;
use serde_json::Value as Json;
use tonic::Status;

use crate::api::convert::corrupt;
use crate::api::error;
use crate::commands::Diagnostic;
use crate::commands::json_pointer::escape;

/// Maximum size on the wire of a document without long texts, such as one of many small numbers, as
/// a multiple of its maximum size as JSON.
const MAX_WIRE_FACTOR: usize = 16;
/// Maximum size of a member's name, in bytes. Diagnostics repeat names in their pointers.
const MAX_NAME_BYTES: usize = 1024;

/// Decodes a document of a request field. `max_bytes` is its maximum size as JSON. The size is
/// checked here as far as it costs nothing, and exactly where the document is checked.
///
/// # Errors
/// Fails, with a pointer below `pointer`, if the document is too large or too deep, or contains a
/// number that may have lost digits, U+0000, or a long name.
pub(crate) fn from_wire(document: &Struct, pointer: &str, max_bytes: usize) -> Result<Json, Status> {
    let refuse = |diagnostic| error::invalid("INVALID_JSON", diagnostic);
    let size = json::text_bytes(document);
    if size > max_bytes || document.encoded_len() > max_bytes.saturating_mul(MAX_WIRE_FACTOR) {
        let message =
            format!("the document is too large: its texts have {size} bytes; the limit is {max_bytes}");
        return Err(refuse(Diagnostic::new("TOO_LARGE", pointer, message)));
    }
    let document = json::from_struct(document).map_err(|error| refuse(diagnostic(&error, pointer)))?;
    match text_problem(&document) {
        Some(TextProblem { place, code, message }) => {
            Err(refuse(Diagnostic::new(code, format!("{pointer}{place}"), message)))
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

struct TextProblem {
    place: String,
    code: &'static str,
    message: String,
}

/// Returns the first text or name with U+0000, which jsonb cannot store, or the first long name.
fn text_problem(value: &Json) -> Option<TextProblem> {
    let nul = || ("INVALID_VALUE", "the character U+0000 cannot be stored".to_owned());
    let at = |place: String, (code, message)| Some(TextProblem { place, code, message });
    let below = |step: String, problem: TextProblem| {
        let TextProblem { place, code, message } = problem;
        at(format!("/{step}{place}"), (code, message))
    };
    match value {
        Json::String(text) if text.contains('\0') => at(String::new(), nul()),
        Json::Array(elements) => {
            let mut elements = elements.iter().enumerate();
            elements.find_map(|(index, element)| below(index.to_string(), text_problem(element)?))
        }
        Json::Object(members) => members.iter().find_map(|(name, member)| {
            let size = name.len();
            if size > MAX_NAME_BYTES {
                let message = format!("a name has {size} bytes; the limit is {MAX_NAME_BYTES}");
                return at(String::new(), ("TOO_LARGE", message));
            }
            if name.contains('\0') {
                return at(format!("/{}", escape(name)), nul());
            }
            below(escape(name), text_problem(member)?)
        }),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Value;
    use prost_types::value::Kind;
    use serde_json::json;
    use tonic_types::StatusExt as _;

    use super::*;

    const MAX: usize = 10_000;

    fn field(status: &Status) -> String {
        status.get_details_bad_request().unwrap().field_violations[0].field.clone()
    }

    #[test]
    fn integer_that_may_have_lost_digits_is_refused() {
        let number = Value { kind: Some(Kind::NumberValue(9_007_199_254_740_992.0)) };
        let document = Struct { fields: [("id".to_owned(), number)].into() };
        let status = from_wire(&document, "/config/values", MAX).unwrap_err();
        assert_eq!(field(&status), "/config/values/id");
        assert!(status.message().contains("write it as text"));
    }

    #[test]
    fn nul_character_is_refused_in_texts_and_names() {
        for (document, place) in
            [(json!({"a": ["x", "b\u{0}"]}), "/v/a/1"), (json!({"a": {"b\u{0}": 1}}), "/v/a/b\u{0}")]
        {
            let status = from_wire(&json::to_struct(&document).unwrap(), "/v", MAX).unwrap_err();
            assert_eq!(field(&status), place);
        }
    }

    #[test]
    fn large_document_and_long_name_are_refused() {
        for (document, place) in [
            (json!({"a": "x".repeat(MAX)}), "/v"),
            (json!({"a": vec![1; 2 * MAX]}), "/v"),
            (json!({"a": [{"x".repeat(MAX_NAME_BYTES + 1): 1}]}), "/v/a/0"),
        ] {
            let status = from_wire(&json::to_struct(&document).unwrap(), "/v", MAX).unwrap_err();
            assert_eq!(field(&status), place);
        }
    }

    #[test]
    fn whole_numbers_become_integers() {
        let document = json!({"five": 5, "half": 0.5, "deep": [{"n": -1}]});
        assert_eq!(from_wire(&json::to_struct(&document).unwrap(), "", MAX).unwrap(), document);
    }
}
