//! A response body in the form in which messages carry it: its kind, and always a JSON array.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::json;

/// The kind of a body before it became the array `response_body`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// An array, unchanged.
    Array,
    /// An object, as the only element.
    Object,
    /// A string, number or boolean, as the only element.
    Scalar,
    /// Rows of `iterate_over`.
    Rows,
    /// Text that is not JSON, as one string.
    Text,
    /// Bytes, as one object with their type, size and base64.
    Binary,
    /// Null or no body: no element.
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
    content: ArrayContent,
}

/// The content of the array. Bodies can be large: `Bytes` are shared, and nothing is copied until
/// it is written into a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ArrayContent {
    /// A received array with its brackets.
    Array(Bytes),
    /// Elements without brackets and commas.
    Elements(Vec<Bytes>),
}

impl MessageBody {
    /// Creates an empty body.
    pub(crate) fn empty() -> Self {
        Self::listed(BodyKind::Empty, Vec::new())
    }

    /// Creates a body of valid JSON, whose bytes are kept.
    pub(crate) fn json(text: &Bytes) -> Self {
        let text = text.slice_ref(text.trim_ascii());
        match text.first() {
            // The JSON is valid, so its first byte determines its type.
            None | Some(b'n') => Self::empty(),
            Some(b'[') => Self { kind: BodyKind::Array, content: ArrayContent::Array(text) },
            Some(b'{') => Self::listed(BodyKind::Object, vec![text]),
            Some(_) => Self::listed(BodyKind::Scalar, vec![text]),
        }
    }

    /// Creates a body of one string.
    pub(crate) fn text(text: &str) -> Self {
        Self::listed(BodyKind::Text, vec![json::string(text).into()])
    }

    /// Creates a binary body from the JSON object that describes it.
    pub(crate) fn binary(object: Vec<u8>) -> Self {
        Self::listed(BodyKind::Binary, vec![object.into()])
    }

    /// Creates a body of rows, each as JSON text.
    pub(crate) fn rows(rows: Vec<Bytes>) -> Self {
        Self::listed(BodyKind::Rows, rows)
    }

    /// Creates a body of elements, each as JSON text.
    pub(crate) fn listed(kind: BodyKind, elements: Vec<Bytes>) -> Self {
        Self { kind, content: ArrayContent::Elements(elements) }
    }

    /// Returns the size of the array in bytes.
    pub(crate) fn size(&self) -> usize {
        match &self.content {
            ArrayContent::Array(array) => array.len(),
            ArrayContent::Elements(elements) => {
                // Exact, since it decides whether a message fits and how much to allocate.
                let commas = elements.len().saturating_sub(1);
                elements.iter().map(Bytes::len).sum::<usize>() + commas + 2
            }
        }
    }

    /// Writes the array with its brackets.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match &self.content {
            ArrayContent::Array(array) => out.extend_from_slice(array),
            ArrayContent::Elements(elements) => {
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

    /// Returns the text of a body that was an array.
    pub(crate) fn array_text(&self) -> Option<&Bytes> {
        match &self.content {
            ArrayContent::Array(array) if self.kind == BodyKind::Array => Some(array),
            ArrayContent::Array(_) | ArrayContent::Elements(_) => None,
        }
    }

    /// Returns the elements of the array, or `None` if it is not valid JSON.
    pub(crate) fn elements(&self) -> Option<Vec<Bytes>> {
        match &self.content {
            ArrayContent::Array(array) => split_array(array),
            ArrayContent::Elements(elements) => Some(elements.clone()),
        }
    }

    /// Returns the text of a body of one string.
    pub(crate) fn as_text(&self) -> Option<String> {
        let array = self.array();
        serde_json::from_slice::<[String; 1]>(&array).ok().map(|[text]| text)
    }

    /// Returns the JSON as it was received: without the brackets that messages put around a single
    /// element.
    pub(crate) fn received_json(&self) -> String {
        let array = self.array();
        let inner = match self.kind {
            BodyKind::Array | BodyKind::Rows => array.as_slice(),
            BodyKind::Object | BodyKind::Scalar | BodyKind::Text | BodyKind::Binary | BodyKind::Empty => {
                array.get(1..array.len().saturating_sub(1)).unwrap_or_default()
            }
        };
        String::from_utf8_lossy(inner).into_owned()
    }

    /// Returns the array with its brackets.
    pub(crate) fn array(&self) -> Vec<u8> {
        let mut array = Vec::with_capacity(self.size());
        self.write(&mut array);
        array
    }
}

/// Returns the elements of a JSON array as slices of it, or `None` if it is not a JSON array.
fn split_array(array: &Bytes) -> Option<Vec<Bytes>> {
    let raw: Vec<&RawValue> = serde_json::from_slice(array).ok()?;
    Some(raw.into_iter().map(|value| array.slice_ref(value.get().as_bytes())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_bytes_and_kind() {
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
