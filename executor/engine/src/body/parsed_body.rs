//! A body after it was read: what expressions and messages see of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use orchid_plan::Value;

use crate::message::body::MessageBody;
use crate::message::envelope::ERROR_TEXT_MAX;
use crate::message::truncate_text;

/// A body that was read.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// JSON, or a format converted to JSON: XML to an object, CSV and JSON lines to a list. `text`
    /// is valid UTF-8 and parses; `value` holds only the parts that expressions read, and takes
    /// about `value_bytes` of memory.
    Json { text: Bytes, value: Value, value_bytes: usize },
    /// Text of a type that is not JSON.
    Text(String),
    /// Bytes of any other type.
    Binary { content_type: String, bytes: Bytes },
    /// No body: a 204, a response to HEAD, or zero bytes.
    Empty,
}

impl Body {
    /// Returns the body as expressions see it.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Json { value, .. } => value.clone(),
            Self::Text(text) => Value::from(text.as_str()),
            Self::Binary { content_type, bytes } => Value::object([
                ("_content_type", Value::from(content_type.as_str())),
                ("_size", Value::from(bytes.len() as u64)),
                ("_base64", Value::from(STANDARD.encode(bytes))),
            ]),
            Self::Empty => Value::null(),
        }
    }

    /// Returns how much memory [`value`](Self::value) takes, approximately.
    pub(crate) fn value_bytes(&self) -> usize {
        match self {
            Self::Json { value_bytes, .. } => *value_bytes,
            Self::Text(text) => text.len(),
            Self::Binary { bytes, .. } => base64::encoded_len(bytes.len(), true).unwrap_or(usize::MAX),
            Self::Empty => 0,
        }
    }

    /// Returns the text of a JSON body.
    pub(crate) fn json_text(&self) -> Option<&Bytes> {
        if let Self::Json { text, .. } = self { Some(text) } else { None }
    }

    /// Returns the size of a body that can be split anywhere: a text, or bytes.
    pub(crate) fn file_bytes(&self) -> Option<usize> {
        match self {
            Self::Text(text) => Some(text.len()),
            Self::Binary { bytes, .. } => Some(bytes.len()),
            Self::Json { .. } | Self::Empty => None,
        }
    }

    /// Converts the body to the form in which an error shows it: of a large text only the
    /// beginning.
    pub(crate) fn to_error_body(&self) -> MessageBody {
        match self {
            Self::Text(text) => MessageBody::text(truncate_text(text, ERROR_TEXT_MAX)),
            Self::Json { .. } | Self::Binary { .. } | Self::Empty => self.to_message_body(),
        }
    }

    /// Converts the body to the form in which a message carries it.
    pub(crate) fn to_message_body(&self) -> MessageBody {
        match self {
            Self::Json { text, .. } => MessageBody::json(text),
            Self::Text(text) => MessageBody::text(text),
            // Messages are JSON: bytes travel in the same form in which expressions see them.
            Self::Binary { .. } => MessageBody::binary(self.value().to_json()),
            Self::Empty => MessageBody::empty(),
        }
    }
}
