//! What an answer's body is, by the step's rules and the content type.
//!
//! In: the decoded bytes. Out: JSON that is known to parse, a text, bytes, or nothing; the bytes stay as they came.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use orchid_plan::{ResponseFormat, Value};

use crate::message::body::MessageBody;

/// A body that was read.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// JSON: the bytes, and as much of the tree as somebody reads.
    Json { text: Bytes, value: Value },
    /// Text that is no JSON.
    Text(String),
    /// Anything else.
    Binary { content_type: String, bytes: Bytes },
    /// No body: 204, HEAD, or no byte.
    Empty,
}

/// A body that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("the body is no JSON: {0}")]
    Json(String),
    #[error("the body is no UTF-8: {0}")]
    Utf8(#[from] std::str::Utf8Error),
    #[error("a body of type {0} is not read yet")]
    NotRead(String),
}

/// What a body is taken for.
enum Taken {
    Json,
    JsonOrText,
    Text,
    Binary,
    NotRead,
}

/// How to read a body.
pub(crate) struct Reading<'a> {
    pub(crate) rules: &'a orchid_plan::ResponseRules,
    pub(crate) content_type: &'a str,
    /// 204, HEAD and the like.
    pub(crate) bodiless: bool,
    /// The parts of a JSON body that are needed as values, from its top; none: all of it.
    pub(crate) paths: Option<Vec<&'a [String]>>,
}

mod rows;
pub(crate) use rows::{NextRow, RowDecoder, Rows, RowsError};

impl Reading<'_> {
    pub(crate) fn decoder(
        &self,
        _path: &orchid_plan::PlainPath,
        _max_row_bytes: usize,
    ) -> Result<Option<RowDecoder>, DecodeError> {
        Ok(None)
    }

    /// Reads a body.
    pub(crate) fn read(&self, bytes: &Bytes) -> Result<Body, DecodeError> {
        if self.bodiless || bytes.is_empty() {
            return Ok(Body::Empty);
        }
        let kind = self.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let taken = match self.rules.format {
            ResponseFormat::Json => Taken::Json,
            ResponseFormat::Auto => by_content_type(&kind),
            ResponseFormat::Text => Taken::Text,
            ResponseFormat::Binary => Taken::Binary,
            ResponseFormat::Jsonl | ResponseFormat::Xml | ResponseFormat::Csv => Taken::NotRead,
        };
        match taken {
            Taken::Json => self.json(bytes),
            Taken::JsonOrText => self.json(bytes).or_else(|_| Ok(text(bytes))),
            Taken::Text => Ok(text(bytes)),
            Taken::Binary => Ok(Body::Binary { content_type: kind, bytes: bytes.clone() }),
            Taken::NotRead => Err(DecodeError::NotRead(kind)),
        }
    }

    fn json(&self, bytes: &Bytes) -> Result<Body, DecodeError> {
        let start = bytes.len() - bytes.strip_prefix(BOM).unwrap_or(bytes).len();
        let json = bytes.slice(start..);
        std::str::from_utf8(&json)?;
        let value = match &self.paths {
            Some(paths) => Value::parse_paths(&json, paths.iter().copied()),
            None => Value::parse(&json),
        };
        let value = value.map_err(|error| DecodeError::Json(error.to_string()))?;
        Ok(Body::Json { text: json, value })
    }
}

/// The byte order mark that some servers put before UTF-8 (RFC 8259 lets a parser pass over it).
const BOM: &[u8] = b"\xEF\xBB\xBF";

fn by_content_type(kind: &str) -> Taken {
    match kind {
        "" => Taken::JsonOrText,
        "application/json" | "text/json" => Taken::Json,
        "application/xml"
        | "text/xml"
        | "text/csv"
        | "application/csv"
        | "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/json-lines"
        | "application/jsonlines" => Taken::NotRead,
        _ if kind.ends_with("+json") => Taken::Json,
        _ if kind.ends_with("+xml") && kind.starts_with("application/") => Taken::NotRead,
        _ if kind.starts_with("text/") => Taken::Text,
        _ => Taken::Binary,
    }
}

fn text(bytes: &Bytes) -> Body {
    Body::Text(String::from_utf8_lossy(bytes).into_owned())
}

impl Body {
    /// What a body is worth whose format does not matter: that of a failed, ignored or accepted answer.
    pub(crate) fn lenient(reading: &Reading<'_>, bytes: &Bytes) -> Body {
        reading.read(bytes).unwrap_or_else(|_| text(bytes))
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

    /// As a message carries it.
    pub(crate) fn message(&self) -> MessageBody {
        match self {
            Body::Json { text, .. } => MessageBody::json(text),
            Body::Text(text) => MessageBody::text(text),
            Body::Binary { .. } => MessageBody::binary(&self.value().to_json()),
            Body::Empty => MessageBody::empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orchid_plan::ResponseRules;

    fn read(content_type: &str, body: &'static str) -> Result<Body, DecodeError> {
        let rules = ResponseRules::default();
        let reading = Reading { rules: &rules, content_type, bodiless: false, paths: None };
        reading.read(&Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn the_content_type_says_what_a_body_is() {
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json", ""] {
            assert!(matches!(read(json, "{}"), Ok(Body::Json { .. })), "{json}");
        }
        assert!(matches!(read("", "no json"), Ok(Body::Text(_))));
        assert!(matches!(read("text/plain", "{}"), Ok(Body::Text(_))));
        assert!(matches!(read("image/png", "{}"), Ok(Body::Binary { .. })));
        assert!(matches!(read("application/json", ""), Ok(Body::Empty)));
    }

    #[test]
    fn what_does_not_read_is_an_error() {
        assert!(matches!(read("application/json", "{"), Err(DecodeError::Json(_))));
        assert!(matches!(read("text/csv", "a,b"), Err(DecodeError::NotRead(_))));
        let rules = ResponseRules { format: ResponseFormat::Json, ..ResponseRules::default() };
        let reading =
            Reading { rules: &rules, content_type: "text/plain", bodiless: false, paths: Some(vec![]) };
        assert!(matches!(reading.read(&Bytes::from_static(b"\"\xFF\"")), Err(DecodeError::Utf8(_))));
        assert!(matches!(reading.read(&Bytes::from_static(b"[1,]")), Err(DecodeError::Json(_))));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_json() {
        let Ok(Body::Json { text, .. }) = read("application/json", "\u{feff}[1]") else { panic!() };
        assert_eq!(text, "[1]");
    }
}
