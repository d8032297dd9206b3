//! What kind of thing an answer's body was, and the array that stands for it in a message.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::json;

/// What `response_body` was before it became an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// An array, as it is.
    Array,
    /// An object: the one element.
    Object,
    /// A text, number or boolean: the one element.
    Scalar,
    /// Rows of `iterate_over`.
    Rows,
    /// No JSON: one text.
    Text,
    /// Bytes: one object with their type, size and base64.
    Binary,
    /// Null, or nothing: no element.
    Empty,
}

impl BodyKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            BodyKind::Array => "array",
            BodyKind::Object => "object",
            BodyKind::Scalar => "scalar",
            BodyKind::Rows => "rows",
            BodyKind::Text => "text",
            BodyKind::Binary => "binary",
            BodyKind::Empty => "empty",
        }
    }
}

/// A body as a message carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageBody {
    pub(crate) kind: BodyKind,
    /// The whole array, brackets included.
    pub(crate) array: Vec<u8>,
}

impl MessageBody {
    /// Nothing.
    pub(crate) fn empty() -> MessageBody {
        MessageBody { kind: BodyKind::Empty, array: b"[]".to_vec() }
    }

    /// JSON text that is known to parse, copied as the bytes that came.
    pub(crate) fn json(text: &[u8]) -> MessageBody {
        let text = text.trim_ascii();
        match text.first() {
            None | Some(b'n') => MessageBody::empty(),
            Some(b'[') => MessageBody { kind: BodyKind::Array, array: text.to_vec() },
            Some(b'{') => MessageBody { kind: BodyKind::Object, array: bracketed(&[text]) },
            Some(_) => MessageBody { kind: BodyKind::Scalar, array: bracketed(&[text]) },
        }
    }

    /// One text.
    pub(crate) fn text(text: &str) -> MessageBody {
        MessageBody { kind: BodyKind::Text, array: bracketed(&[&json::string(text)]) }
    }

    /// The one object that stands for bytes, as JSON.
    pub(crate) fn binary(object: &[u8]) -> MessageBody {
        MessageBody { kind: BodyKind::Binary, array: bracketed(&[object]) }
    }

    /// Rows, each as JSON text.
    pub(crate) fn rows(rows: &[Bytes]) -> MessageBody {
        MessageBody { kind: BodyKind::Rows, array: bracketed(rows) }
    }
}

/// The elements of a JSON array, as the bytes that they are; none where it is no array.
pub(crate) fn elements(array: &[u8]) -> Option<Vec<Bytes>> {
    let raw: Vec<&RawValue> = serde_json::from_slice(array).ok()?;
    Some(raw.into_iter().map(|value| Bytes::copy_from_slice(value.get().as_bytes())).collect())
}

fn bracketed<T: AsRef<[u8]>>(elements: &[T]) -> Vec<u8> {
    let length: usize = elements.iter().map(|element| element.as_ref().len() + 1).sum();
    let mut array = Vec::with_capacity(length + 2);
    array.push(b'[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            array.push(b',');
        }
        array.extend_from_slice(element.as_ref());
    }
    array.push(b']');
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_bytes_and_says_what_it_was() {
        let cases: [(&str, BodyKind, &str); 8] = [
            (" [1.0,\t\"\\u00e9\"] \n", BodyKind::Array, "[1.0,\t\"\\u00e9\"]"),
            ("[]", BodyKind::Array, "[]"),
            ("{ \"a\": 1e2 }", BodyKind::Object, "[{ \"a\": 1e2 }]"),
            ("12345678901234567890123", BodyKind::Scalar, "[12345678901234567890123]"),
            ("\"x\"", BodyKind::Scalar, "[\"x\"]"),
            ("false", BodyKind::Scalar, "[false]"),
            ("null", BodyKind::Empty, "[]"),
            ("", BodyKind::Empty, "[]"),
        ];
        for (text, kind, array) in cases {
            let body = MessageBody::json(text.as_bytes());
            assert_eq!((body.kind, body.array.as_slice()), (kind, array.as_bytes()), "{text}");
        }
    }

    #[test]
    fn elements_keep_their_bytes() {
        let found = elements(b"[1.00, {\"a\" : 2}]").unwrap();
        assert_eq!(found, [Bytes::from_static(b"1.00"), Bytes::from_static(b"{\"a\" : 2}")]);
        assert_eq!(elements(b"{}"), None);
    }
}
