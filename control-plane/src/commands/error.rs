//! Errors of commands.

use crate::keys::KeyError;
use crate::store::db::Retryable;
use crate::store::error::StoreError;

/// A problem in a document or request that a person wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Kind of problem, in upper snake case.
    pub code: &'static str,
    /// RFC 6901 pointer to the place.
    pub pointer: String,
    /// Explanation, with the offending value.
    pub message: String,
    /// Replacement that fixes the problem, if known.
    pub suggestion: Option<String>,
    /// Byte offset in the text at `pointer`.
    pub position: Option<u32>,
    /// Names that an expression at this place may start with.
    pub in_scope: Vec<String>,
}

impl Diagnostic {
    /// Creates a diagnostic without position and suggestion.
    pub fn new(code: &'static str, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            pointer: pointer.into(),
            message: message.into(),
            suggestion: None,
            position: None,
            in_scope: Vec::new(),
        }
    }

    /// Sets the replacement, if known.
    #[must_use]
    pub fn suggest(mut self, suggestion: Option<impl Into<String>>) -> Self {
        self.suggestion = suggestion.map(Into::into);
        self
    }
}

impl From<orchid_plan::Diagnostic> for Diagnostic {
    fn from(diagnostic: orchid_plan::Diagnostic) -> Self {
        let orchid_plan::Diagnostic { code, pointer, position, message, suggestion, in_scope } = diagnostic;
        let position = position.and_then(|position| u32::try_from(position).ok());
        Self { code: code.as_str(), pointer, message, suggestion, position, in_scope }
    }
}

/// Reason why a command changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The resource does not exist, or belongs to another tenant.
    #[error("{what} {name:?} does not exist{hint}")]
    NotFound {
        /// Kind of resource.
        what: &'static str,
        /// Name that the caller used.
        name: String,
        /// Suggestion of the closest existing name, or empty.
        hint: String,
    },
    /// The name is taken.
    #[error("{what} {name:?} already exists")]
    AlreadyExists {
        /// Kind of resource.
        what: &'static str,
        /// Name that the caller used.
        name: String,
    },
    /// The request is invalid.
    #[error("{message}")]
    Invalid {
        /// Reason for programs, in upper snake case.
        reason: &'static str,
        /// Explanation for people.
        message: String,
        /// All problems found.
        diagnostics: Vec<Diagnostic>,
    },
    /// The resource has changed since the caller read it.
    #[error("{what} {name:?} has changed since you read it: read it again")]
    EtagMismatch {
        /// Kind of resource.
        what: &'static str,
        /// Name that the caller used.
        name: String,
    },
    /// Rows that a document was checked against have changed since.
    #[error("other calls keep changing what this one depends on: try again")]
    BasisChanged,
    /// The check of a document did not end.
    #[error("the check of a document stopped")]
    CheckStopped,
    /// The current state does not allow the command.
    #[error("{message}")]
    Refused {
        /// Reason for programs, in upper snake case.
        reason: &'static str,
        /// Explanation for people.
        message: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A secret or token could not be sealed or unsealed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl CommandError {
    /// Returns the error for a missing resource.
    pub fn not_found(what: &'static str, name: impl ToString) -> Self {
        Self::NotFound { what, name: name.to_string(), hint: String::new() }
    }

    /// Returns the error for a request with one problem.
    pub fn invalid(reason: &'static str, diagnostic: Diagnostic) -> Self {
        Self::Invalid {
            reason,
            message: format!("{}: {}", diagnostic.pointer, diagnostic.message),
            diagnostics: vec![diagnostic],
        }
    }

    /// Returns the error for a document with several problems; the message shows the first.
    pub fn invalid_document(reason: &'static str, what: &str, diagnostics: Vec<Diagnostic>) -> Self {
        let first = diagnostics
            .first()
            .map(|diagnostic| format!(", first {}: {}", diagnostic.pointer, diagnostic.message));
        let count = diagnostics.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        let message = format!("{what} has {count} {noun}{}", first.unwrap_or_default());
        Self::Invalid { reason, message, diagnostics }
    }
}

impl Retryable for CommandError {
    fn retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.retryable(),
            Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::Invalid { .. }
            | Self::EtagMismatch { .. }
            | Self::BasisChanged
            | Self::CheckStopped
            | Self::Refused { .. }
            | Self::Key(_) => false,
        }
    }
}
