//! What is wrong with a document: every fault with its place, its words and, where there is one, its correction.

use std::fmt;

use serde::Serialize;

/// The kind of a fault. The text form is part of the public contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DiagnosticCode {
    /// A field that the language does not know.
    UnknownField,
    /// A field that must be there and is not.
    Required,
    /// A value of the wrong JSON type.
    WrongType,
    /// A number, length or count outside its bounds.
    OutOfRange,
    /// A value of the right type that means nothing here.
    InvalidValue,
    /// Two fields that cannot stand together, or one that needs another.
    Conflict,
    /// The same name given twice.
    Duplicate,
    /// A template or expression that does not parse.
    Syntax,
    /// The first name of an expression is not in scope there.
    UnknownName,
    /// A function that does not exist.
    UnknownFunction,
    /// A function called with too few or too many arguments.
    WrongArity,
    /// An expression that parses, and means something else than it seems to.
    Trap,
    /// An expression or document beyond its bounds of size or nesting.
    TooLarge,
    /// A secret value that would be kept in messages or context.
    Secret,
    /// Part of the language, and not served by this server yet.
    Unsupported,
}

impl DiagnosticCode {
    /// The code as it is written in answers.
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

/// One fault of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// What kind of fault it is.
    pub code: DiagnosticCode,
    /// RFC 6901 pointer from the plan document: `/definition/step/url`.
    pub pointer: String,
    /// Byte offset in the text of the value at `pointer`, for faults inside expressions and templates.
    pub position: Option<usize>,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to write instead, where that is known.
    pub suggestion: Option<String>,
    /// The names that an expression may begin with at this place, for faults about names.
    pub in_scope: Vec<String>,
}

impl Diagnostic {
    /// A fault with neither position nor suggestion.
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

    /// Adds the byte offset in the text at the pointer.
    #[must_use]
    pub fn at(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }

    /// Adds what to write instead.
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

/// All faults of a document, in the document's order. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Diagnostics(pub Vec<Diagnostic>);

/// What a document says, in quotes; only the beginning of what is long.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 100;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A member's name as a token of a JSON pointer (RFC 6901).
pub(crate) fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
