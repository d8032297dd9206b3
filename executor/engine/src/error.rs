//! Errors that end an execution, or that prevent an attempt from starting.

use std::fmt;

/// Class of a failure: tells who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The plan or the config is wrong.
    Config,
    /// The failure may go away by itself.
    Transient,
    /// The upstream refuses the request for good.
    Permanent,
    /// The upstream asked for fewer requests.
    RateLimit,
    /// A limit of the plan or of Orchid was reached.
    Limit,
    /// The plan itself ended the execution.
    Aborted,
    /// Orchid failed.
    System,
}

impl ErrorClass {
    /// Returns the name used in messages and by the control plane.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::RateLimit => "rate_limit",
            Self::Limit => "limit",
            Self::Aborted => "aborted",
            Self::System => "system",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error that ended an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionError {
    /// Class of the failure.
    pub class: ErrorClass,
    /// Code in upper snake case.
    pub code: String,
    /// Description with the value that was wrong; secrets are redacted.
    pub message: String,
    /// RFC 6901 pointer into the plan document (`/definition/step/url`).
    pub pointer: String,
    /// Status code of the upstream's response, if there was one.
    pub status_code: Option<u16>,
    /// Path of the step (`orders#2`); empty if the execution reached none.
    pub step_path: String,
    /// The first KiB of the response that led to the error, on one line and with secrets redacted;
    /// empty if there was none, or it was neither text nor JSON.
    pub response_excerpt: String,
}

/// An attempt that cannot start. Its class is `system`: nothing in a plan leads here.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The config's values are not a JSON object.
    #[error("cannot read config values: {0}")]
    Config(String),
    /// A context field is not JSON.
    #[error("cannot read context field {name:?}: {reason}")]
    Context {
        /// The field.
        name: String,
        /// Description of the error.
        reason: String,
    },
    /// The checkpoint was written by another version of the engine, or for another plan.
    #[error("cannot read checkpoint: {0}")]
    Checkpoint(String),
}
