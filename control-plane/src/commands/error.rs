//! Why a command did nothing.

use crate::{
    keys::KeyError,
    store::{db::Retryable, error::StoreError},
};

/// One thing that is wrong with what a person wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind, in upper snake case.
    pub code: &'static str,
    /// RFC 6901 pointer to the place.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that is known.
    pub suggestion: Option<String>,
    /// Byte offset in the text at the pointer.
    pub position: Option<u32>,
    /// The names that an expression may begin with there.
    pub in_scope: Vec<String>,
}

impl Diagnostic {
    /// A diagnostic with neither position nor suggestion.
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

    /// Adds what to write instead, if that is known.
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

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no such thing, or it is another tenant's.
    #[error("{what} {name:?} does not exist{hint}")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// As it was named.
        name: String,
        /// The nearest name that exists, in words; may be empty.
        hint: String,
    },
    /// The name is taken.
    #[error("{what} {name:?} exists already")]
    AlreadyExists {
        /// What kind of thing.
        what: &'static str,
        /// As it was named.
        name: String,
    },
    /// What was asked is wrong in itself.
    #[error("{message}")]
    Invalid {
        /// In upper snake case.
        reason: &'static str,
        /// In words.
        message: String,
        /// Each diagnostic by itself.
        diagnostics: Vec<Diagnostic>,
    },
    /// It was changed since it was read.
    #[error("{what} {name:?} was changed since it was read: read it again")]
    EtagMismatch {
        /// What kind of thing.
        what: &'static str,
        /// As it was named.
        name: String,
    },
    /// Things being as they are, it cannot be done.
    #[error("{message}")]
    Refused {
        /// In upper snake case.
        reason: &'static str,
        /// In words.
        message: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something sealed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl CommandError {
    /// A thing that is not there.
    pub fn not_found(what: &'static str, name: impl ToString) -> Self {
        Self::NotFound { what, name: name.to_string(), hint: String::new() }
    }

    /// Something that is wrong at one place.
    pub fn invalid(reason: &'static str, diagnostic: Diagnostic) -> Self {
        Self::Invalid {
            reason,
            message: format!("{}: {}", diagnostic.pointer, diagnostic.message),
            diagnostics: vec![diagnostic],
        }
    }

    /// A document that is wrong, all diagnostics at once; the first is told in the message.
    pub fn invalid_document(reason: &'static str, what: &str, diagnostics: Vec<Diagnostic>) -> Self {
        let first = diagnostics
            .first()
            .map(|diagnostic| format!(", first {}: {}", diagnostic.pointer, diagnostic.message));
        let count = diagnostics.len();
        let noun = if count == 1 { "diagnostic" } else { "diagnostics" };
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
            | Self::Refused { .. }
            | Self::Key(_) => false,
        }
    }
}
