//! Reasons why a body cannot be read. The messages name the location, never a value of the body.

use orchid_plan::{JsonType, NESTING_MAX, ValueError};

/// A body, or a part of it, that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// Invalid or truncated JSON.
    #[error("the body is no JSON: {0}")]
    Json(String),
    /// A body of another type than JSON, of which the plan reads members.
    #[error(
        "the body is {kind} ({content_type}), and the plan reads members of it: if it is JSON, set \
         response.format to \"json\""
    )]
    NotJson { kind: &'static str, content_type: String },
    /// An invalid line of JSON lines. Lines count from 1.
    #[error("line {line} of the body is no JSON: {what}")]
    Line { line: u64, what: String },
    /// XML that is invalid or exceeds the supported subset. Lines count from 1.
    #[error("the XML does not read at line {line}: {what}")]
    Xml { line: usize, what: String },
    /// A CSV record that does not fit the header or the limits. Lines count from 1.
    #[error("line {line} of the CSV {what}")]
    Csv { line: u64, what: String },
    /// Bytes that are invalid in the encoding.
    #[error("the body is not valid {0}; set response.charset if it uses another encoding")]
    Charset(&'static str),
    /// An encoding label in the plan that is not in the WHATWG Encoding Standard.
    #[error("response.charset {0:?} is not a known encoding")]
    UnknownCharset(String),
    /// A body that is packed, although the plan does not unpack it.
    #[error("the body begins like {0}: response.decompress unpacks \"zip\" and \"gzip\"")]
    Packed(&'static str),
    /// An error in one file of an archive.
    #[error("file {name:?} of the archive: {error}")]
    InFile { name: String, error: Box<DecodeError> },
    /// A row with the member that the plan names for the file's name.
    #[error("a row has the member {0:?} already: choose another response.file_member")]
    FileMemberTaken(String),
    /// A value at the rows' path that is neither a list nor null.
    #[error("the rows are of type {0}, not a list{words}", words = list_of(*.0))]
    NotAList(JsonType),
    /// A member on the path to the rows that occurs twice, so that the path is ambiguous.
    #[error("the body has the member {0:?} twice on the path to the rows")]
    DuplicateMember(String),
    /// Rows at a path that cannot be followed in a stream.
    #[error("the rows of this body cannot be streamed: {0}")]
    NotStreamable(&'static str),
    /// A row larger than the limit.
    #[error("row {row} of the body is larger than {max} bytes")]
    RowTooLarge { row: u64, max: usize },
    /// A body that is larger than the limit once it is converted to JSON.
    #[error("converted to JSON, the body is larger than {0} bytes")]
    TooLarge(usize),
    /// A body whose values take more memory than is allowed.
    #[error(
        "what the plan reads of the body takes more than {0} bytes of memory: read fewer of its members, or \
         take the rows one by one with response.stream"
    )]
    ValuesTooLarge(usize),
    /// JSON with more nesting levels than are read.
    #[error("the body is nested more than {0} levels deep")]
    TooDeep(usize),
}

/// Lists the functions that make rows of a value of this type.
fn list_of(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Object => {
            ": values(…) takes the values of its members, entries(…) their names too, to_array(…) makes it one row"
        }
        _ => "",
    }
}

impl DecodeError {
    /// Returns the code that messages, `ignore_on` and `retry.on` use.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Json(_)
            | Self::NotJson { .. }
            | Self::Line { .. }
            | Self::Xml { .. }
            | Self::Csv { .. }
            | Self::Charset(_)
            | Self::UnknownCharset(_)
            | Self::Packed(_)
            | Self::FileMemberTaken(_)
            | Self::DuplicateMember(_)
            | Self::TooDeep(_) => "DECODE",
            Self::InFile { error, .. } => error.code(),
            Self::NotAList(_) | Self::NotStreamable(_) => "EXPRESSION",
            Self::RowTooLarge { .. } | Self::TooLarge(_) | Self::ValuesTooLarge(_) => "TOO_LARGE",
        }
    }
}

impl From<ValueError> for DecodeError {
    fn from(error: ValueError) -> Self {
        match error {
            ValueError::Syntax { what, position } => Self::Json(format!("{what} at byte {position}")),
            ValueError::TooDeep => Self::TooDeep(NESTING_MAX),
            ValueError::TooLarge { max_bytes } => Self::ValuesTooLarge(max_bytes),
        }
    }
}
