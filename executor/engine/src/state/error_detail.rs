//! The cause of an error, before its step and request are known.

use orchid_plan::{EvalError, RenderError, ValueError};

use crate::checkpoint::error::CheckpointError;
use crate::error::ErrorClass;
use crate::state::context::ContextTooLarge;

/// Class, code, pointer and message of an error.
pub(crate) struct ErrorDetail {
    pub(crate) class: ErrorClass,
    pub(crate) code: &'static str,
    /// RFC 6901 pointer into the plan document.
    pub(crate) pointer: String,
    pub(crate) message: String,
}

impl ErrorDetail {
    /// Returns whether the error ends the whole execution even if it happened in one row of many:
    /// the plan's own `abort_…`, bounds that hold for the whole execution, and errors of Orchid
    /// itself.
    pub(crate) fn ends_execution(&self) -> bool {
        match self.class {
            ErrorClass::Aborted | ErrorClass::System => true,
            ErrorClass::Limit => {
                // Limits of a single row, such as MESSAGE_TOO_LARGE, fail only that row.
                matches!(self.code, "CONTEXT_TOO_LARGE" | "CHECKPOINT_TOO_LARGE" | "TOO_MANY_CURSORS")
            }
            // Every other row would be told to wait as long.
            ErrorClass::RateLimit => self.code == "WAIT_TOO_LONG",
            ErrorClass::Config | ErrorClass::Transient | ErrorClass::Permanent => false,
        }
    }

    /// Returns whether the response itself is the reason, so that its words explain the error. Of
    /// an error in the plan or in Orchid they do not, and they may be anybody's data.
    pub(crate) fn blames_response(&self) -> bool {
        matches!(
            self.code,
            "HTTP_STATUS" | "DECODE" | "TOO_LARGE" | "ABORT_ON" | "ABORT_WHEN" | "IGNORED" | "JOB_FAILED"
        )
    }

    /// Creates the error of a context write that is too large.
    pub(crate) fn context(pointer: String, error: &ContextTooLarge) -> Self {
        Self { class: ErrorClass::Limit, code: "CONTEXT_TOO_LARGE", pointer, message: error.to_string() }
    }

    /// Creates the error of an expression that failed.
    pub(crate) fn expression(pointer: String, error: &EvalError) -> Self {
        Self { class: ErrorClass::Config, code: "EXPRESSION", pointer, message: error.to_string() }
    }

    /// Creates the error of a value that cannot be read as JSON.
    pub(crate) fn unreadable(pointer: String, what: &str, error: &ValueError) -> Self {
        let message = format!("{what} cannot be read: {error}");
        let code = match error {
            ValueError::Syntax { .. } | ValueError::TooDeep => "DECODE",
            ValueError::TooLarge { .. } => "TOO_LARGE",
        };
        Self { class: ErrorClass::Permanent, code, pointer, message }
    }

    /// Creates the error of a request that could not be rendered.
    pub(crate) fn rendering(error: RenderError) -> Self {
        Self {
            class: ErrorClass::Config,
            code: error.code.as_str(),
            pointer: error.pointer,
            message: error.message,
        }
    }

    /// Creates the error of a URL that the config does not permit.
    pub(crate) fn host(pointer: String, message: String) -> Self {
        Self { class: ErrorClass::Config, code: "HOST_NOT_ALLOWED", pointer, message }
    }

    /// Creates the error of a checkpoint that is too large or cannot be written.
    pub(crate) fn checkpoint(pointer: &str, error: &CheckpointError) -> Self {
        let (class, code) = if error.is_too_large() {
            (ErrorClass::Limit, "CHECKPOINT_TOO_LARGE")
        } else {
            (ErrorClass::System, "CHECKPOINT")
        };
        Self { class, code, pointer: pointer.to_owned(), message: error.to_string() }
    }
}
