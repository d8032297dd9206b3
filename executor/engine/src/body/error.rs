//! Why a body is not what it should be. The words name the place, and never a value of the body.

use orchid_plan::JsonType;

/// A body, or a part of it, that does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// JSON that is none, or that ends too early.
    #[error("the body is no JSON: {0}")]
    Json(String),
    /// A line of JSON lines that is no JSON. Lines count from 1.
    #[error("line {line} of the body is no JSON: {what}")]
    Line { line: u64, what: String },
    /// XML that is none, or that goes beyond what is read of it. Lines count from 1.
    #[error("the XML does not read at line {line}: {what}")]
    Xml { line: usize, what: String },
    /// CSV whose rows and header do not fit together. Lines count from 1.
    #[error("line {line} of the CSV {what}")]
    Csv { line: u64, what: String },
    /// Bytes that the encoding does not have.
    #[error("the body is not in the encoding {0}: if it is in another one, response.charset says so")]
    Charset(&'static str),
    /// An encoding that nobody knows.
    #[error("response.charset {0:?} is no known encoding")]
    UnknownCharset(String),
    /// What stands where the rows should be is neither a list nor null.
    #[error("the rows are of type {0}, not a list")]
    NotAList(JsonType),
    /// A member on the way to the rows stands there twice, so it is not clear which is meant.
    #[error("the body has the member {0:?} twice on the way to the rows")]
    Repeated(String),
    /// Rows that cannot be taken one by one from where they are.
    #[error("the rows of this body cannot be taken one by one: {0}")]
    NoStream(&'static str),
    /// A row larger than it may be.
    #[error("row {row} of the body has more than {max} bytes")]
    RowTooLarge { row: u64, max: usize },
    /// A body that is larger as JSON than it may be.
    #[error("as JSON the body has more than {0} bytes")]
    TooLarge(usize),
    /// JSON nested deeper than a stream of it may be.
    #[error("the body is nested deeper than {0} levels")]
    TooDeep(usize),
}

impl DecodeError {
    /// The code that messages, `ignore_on` and `retry.on` use.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            DecodeError::Json(_)
            | DecodeError::Line { .. }
            | DecodeError::Xml { .. }
            | DecodeError::Csv { .. }
            | DecodeError::Charset(_)
            | DecodeError::UnknownCharset(_)
            | DecodeError::Repeated(_)
            | DecodeError::TooDeep(_) => "DECODE",
            DecodeError::NotAList(_) | DecodeError::NoStream(_) => "EXPRESSION",
            DecodeError::RowTooLarge { .. } | DecodeError::TooLarge(_) => "TOO_LARGE",
        }
    }

    /// serde_json's words for what is wrong, with the place inside the text where it has one.
    pub(super) fn json(error: &serde_json::Error) -> DecodeError {
        DecodeError::Json(error.to_string())
    }
}
