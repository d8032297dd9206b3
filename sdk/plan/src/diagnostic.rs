//! Diagnostics: problems of a plan document, each with its place, an explanation and, if there is
//! one, a correction.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// The kind of a problem. Its text form is part of the public contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DiagnosticCode {
    /// A field that the language does not know.
    UnknownField,
    /// A required field that is missing.
    Required,
    /// A value of the wrong JSON type.
    WrongType,
    /// A number, length or count outside its limits.
    OutOfRange,
    /// A value of the right type that is not allowed here.
    InvalidValue,
    /// Two fields that exclude each other, or one that needs another.
    Conflict,
    /// The same name given twice.
    Duplicate,
    /// A template or expression that does not parse.
    Syntax,
    /// An expression whose first name is not in scope.
    UnknownName,
    /// A function that does not exist.
    UnknownFunction,
    /// A function called with too few or too many arguments.
    WrongArity,
    /// An expression that is valid but does not mean what it seems to mean.
    Trap,
    /// An expression or document that exceeds its limit of size or nesting.
    TooLarge,
    /// A secret that would be kept in messages or in the context.
    Secret,
    /// A part of the language that this version does not support yet.
    Unsupported,
}

impl DiagnosticCode {
    /// Returns the text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownField => "UNKNOWN_FIELD",
            Self::Required => "REQUIRED",
            Self::WrongType => "WRONG_TYPE",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::InvalidValue => "INVALID_VALUE",
            Self::Conflict => "CONFLICT",
            Self::Duplicate => "DUPLICATE",
            Self::Syntax => "SYNTAX",
            Self::UnknownName => "UNKNOWN_NAME",
            Self::UnknownFunction => "UNKNOWN_FUNCTION",
            Self::WrongArity => "WRONG_ARITY",
            Self::Trap => "TRAP",
            Self::TooLarge => "TOO_LARGE",
            Self::Secret => "SECRET",
            Self::Unsupported => "UNSUPPORTED",
        }
    }
}

impl fmt::Display for DiagnosticCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One problem of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Kind of the problem.
    pub code: DiagnosticCode,
    /// JSON pointer (RFC 6901) into the plan document, such as `/definition/step/url`.
    pub pointer: String,
    /// Byte offset in the text at `pointer`, for problems inside expressions and templates.
    pub position: Option<usize>,
    /// Explanation in one sentence, without a full stop.
    pub message: String,
    /// Correction, if it is known.
    pub suggestion: Option<String>,
    /// Names that an expression may start with at this place, for problems with names.
    pub in_scope: Vec<String>,
}

impl Diagnostic {
    /// Creates a diagnostic without a position and a suggestion.
    #[must_use]
    pub fn new(code: DiagnosticCode, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            pointer: pointer.into(),
            position: None,
            message: message.into(),
            suggestion: None,
            in_scope: Vec::new(),
        }
    }

    /// Sets the byte offset in the text at the pointer.
    #[must_use]
    pub fn at(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }

    /// Sets the correction.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pointer)?;
        if let Some(position) = self.position {
            write!(f, " at {position}")?;
        }
        write!(f, ": {} ({})", self.message, self.code)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; write {suggestion}")?;
        }
        if !self.in_scope.is_empty() {
            write!(f, "; in scope: {}", self.in_scope.join(", "))?;
        }
        Ok(())
    }
}

/// All problems of a document, in document order. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Diagnostics(pub Vec<Diagnostic>);

/// Maximum number of diagnostics of one document. More would help no author, and would cost memory
/// and time for a hostile one.
pub(crate) const MAX_DIAGNOSTICS: usize = 200;

/// Maximum number of characters of a document's text that a message shows.
const SHOWN_CHARS: usize = 100;

/// Quotes a text of a document for a message, shortened to its first 100 characters.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Returns a name of a document for a message, shortened to its first 100 characters.
pub(crate) fn shortened(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

/// Escapes a member's name for a JSON pointer (RFC 6901).
pub(crate) fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
