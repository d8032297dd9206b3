//! Why a run cannot start, and why it stopped.

use std::fmt;

/// What kind of failure it was; says who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The plan or the config did it.
    Config,
    /// It may pass by itself.
    Transient,
    /// The upstream means it.
    Permanent,
    /// The upstream asked for fewer requests.
    RateLimit,
    /// A limit of the plan or of Orchid.
    Limit,
    /// The plan asked for the run's end.
    Aborted,
    /// Orchid itself.
    System,
}

impl ErrorClass {
    /// As messages and the control plane spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorClass::Config => "config",
            ErrorClass::Transient => "transient",
            ErrorClass::Permanent => "permanent",
            ErrorClass::RateLimit => "rate_limit",
            ErrorClass::Limit => "limit",
            ErrorClass::Aborted => "aborted",
            ErrorClass::System => "system",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a run ended without success, or what made it partial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunError {
    /// What kind of failure.
    pub class: ErrorClass,
    /// In upper snake case.
    pub code: String,
    /// In words, with the value that was wrong; secrets redacted.
    pub message: String,
    /// RFC 6901 pointer into the plan document (`/definition/step/url`).
    pub pointer: String,
    /// The upstream's answer, where there was one.
    pub status_code: Option<u16>,
    /// Where in the run: `orders#2`; empty where no step was reached.
    pub step_path: String,
}

/// A job that cannot be started. Its class is `system`: nothing a plan's author wrote leads here.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The config's values are no JSON object.
    #[error("config values do not read: {0}")]
    Config(String),
    /// A context field is not JSON.
    #[error("context field {name:?} does not read: {reason}")]
    Context {
        /// The field.
        name: String,
        /// Why.
        reason: String,
    },
    /// The checkpoint was not written by this engine, or not for this plan.
    #[error("checkpoint does not read: {0}")]
    Checkpoint(String),
}
