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
    content: Content,
}

/// Large bodies pass here: nothing is copied before it is written into its message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    /// An array as it came, brackets included.
    Array(Bytes),
    /// Elements that brackets are still to be put around.
    Elements(Vec<Bytes>),
}

impl MessageBody {
    /// Nothing.
    pub(crate) fn empty() -> MessageBody {
        MessageBody::listed(BodyKind::Empty, Vec::new())
    }

    /// JSON text that is known to parse, passed on as the bytes that came.
    pub(crate) fn json(text: &Bytes) -> MessageBody {
        let text = text.slice_ref(text.trim_ascii());
        match text.first() {
            None | Some(b'n') => MessageBody::empty(),
            Some(b'[') => MessageBody { kind: BodyKind::Array, content: Content::Array(text) },
            Some(b'{') => MessageBody::listed(BodyKind::Object, vec![text]),
            Some(_) => MessageBody::listed(BodyKind::Scalar, vec![text]),
        }
    }

    /// One text.
    pub(crate) fn text(text: &str) -> MessageBody {
        MessageBody::listed(BodyKind::Text, vec![json::string(text).into()])
    }

    /// The one object that stands for bytes, as JSON.
    pub(crate) fn binary(object: Vec<u8>) -> MessageBody {
        MessageBody::listed(BodyKind::Binary, vec![object.into()])
    }

    /// Rows, each as JSON text.
    pub(crate) fn rows(rows: Vec<Bytes>) -> MessageBody {
        MessageBody::listed(BodyKind::Rows, rows)
    }

    /// Elements of a kind, each as JSON text.
    pub(crate) fn listed(kind: BodyKind, elements: Vec<Bytes>) -> MessageBody {
        MessageBody { kind, content: Content::Elements(elements) }
    }

    /// Bytes of the whole array.
    pub(crate) fn size(&self) -> usize {
        match &self.content {
            Content::Array(array) => array.len(),
            Content::Elements(elements) => {
                let commas = elements.len().saturating_sub(1);
                elements.iter().map(Bytes::len).sum::<usize>() + commas + 2
            }
        }
    }

    /// Writes the whole array, brackets included.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match &self.content {
            Content::Array(array) => out.extend_from_slice(array),
            Content::Elements(elements) => {
                out.push(b'[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(element);
                }
                out.push(b']');
            }
        }
    }

    /// The elements of the array; none where they do not read.
    pub(crate) fn elements(&self) -> Option<Vec<Bytes>> {
        match &self.content {
            Content::Array(array) => elements(array),
            Content::Elements(elements) => Some(elements.clone()),
        }
    }

    /// The whole array.
    pub(crate) fn array(&self) -> Vec<u8> {
        let mut array = Vec::with_capacity(self.size());
        self.write(&mut array);
        array
    }
}

/// The elements of a JSON array, as the bytes that they are; none where it is no array.
fn elements(array: &Bytes) -> Option<Vec<Bytes>> {
    let raw: Vec<&RawValue> = serde_json::from_slice(array).ok()?;
    Some(raw.into_iter().map(|value| array.slice_ref(value.get().as_bytes())).collect())
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
            let body = MessageBody::json(&Bytes::from_static(text.as_bytes()));
            assert_eq!((body.kind, body.array().as_slice()), (kind, array.as_bytes()), "{text}");
            assert_eq!(body.size(), array.len());
        }
    }

    #[test]
    fn elements_keep_their_bytes() {
        let elements =
            |json: &'static str| MessageBody::json(&Bytes::from_static(json.as_bytes())).elements();
        let found = elements("[1.00, {\"a\" : 2}]").unwrap();
        assert_eq!(found, [Bytes::from_static(b"1.00"), Bytes::from_static(b"{\"a\" : 2}")]);
        assert_eq!(elements("{}").unwrap(), [Bytes::from_static(b"{}")]);
        let rows = MessageBody::rows(vec![Bytes::from_static(b"1"), Bytes::from_static(b"[]")]);
        assert_eq!((rows.array().as_slice(), rows.size()), (b"[1,[]]".as_slice(), 6));
    }
}
