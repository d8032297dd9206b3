//! Bodies of answers: from bytes to values and rows.
//!
//! In: a decompressed body, whole or in pieces, its content type, and the step's rules. Out: a [`Body`] as expressions and
//! messages see it, or its [`RowReader`] one by one, each as the bytes that came. Nothing here does I/O, and nothing holds more
//! than it was told it may.

mod charset;
mod error;
mod kind;
mod raw_list;
mod reading;
mod rows;
mod stream;
mod xml;

#[cfg(test)]
mod properties;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use orchid_plan::Value;

pub(crate) use self::error::DecodeError;
pub(crate) use self::reading::BodyReader;
pub(crate) use self::rows::{NextRow, RowReader};
pub(crate) use self::stream::{RowDecoder, RowFormat};
use crate::message::body::MessageBody;

/// A body that was read.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// JSON, or what was made JSON: an object of XML, a list of CSV and JSON lines. The text is UTF-8 and parses; of the
    /// tree there is as much as somebody reads.
    Json { text: Bytes, value: Value },
    /// Text that is no JSON.
    Text(String),
    /// Anything else.
    Binary { content_type: String, bytes: Bytes },
    /// No body: 204, HEAD, or no byte.
    Empty,
}

impl Body {
    /// What a body is worth whose format does not matter: that of a failed, ignored or accepted answer.
    pub(crate) fn read_lenient(reading: &BodyReader<'_>, bytes: &Bytes) -> Body {
        reading.read(bytes).unwrap_or_else(|_| Body::Text(reading.text(bytes)))
    }

    /// As expressions see it.
    pub(crate) fn value(&self) -> Value {
        match self {
            Body::Json { value, .. } => value.clone(),
            Body::Text(text) => Value::from(text.as_str()),
            Body::Binary { content_type, bytes } => Value::object([
                ("_content_type", Value::from(content_type.as_str())),
                ("_size", Value::from(bytes.len() as u64)),
                ("_base64", Value::from(STANDARD.encode(bytes))),
            ]),
            Body::Empty => Value::null(),
        }
    }

    /// Its text, where it is JSON.
    pub(crate) fn json_text(&self) -> Option<&Bytes> {
        if let Body::Json { text, .. } = self { Some(text) } else { None }
    }

    /// As a message carries it.
    pub(crate) fn to_message_body(&self) -> MessageBody {
        match self {
            Body::Json { text, .. } => MessageBody::json(text),
            Body::Text(text) => MessageBody::text(text),
            Body::Binary { .. } => MessageBody::binary(self.value().to_json()),
            Body::Empty => MessageBody::empty(),
        }
    }
}
