//! Errors of reading and writing checkpoints.

use orchid_common::limits::{FINISHED_STEPS_MAX_BYTES, RESUME_STATE_MAX_BYTES};
use serde::Deserialize;

/// Version of the layout. A reader accepts only this one.
pub(crate) const VERSION: u32 = 2;

/// A checkpoint that cannot be written or read. The texts end in messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error("the place is {0} bytes, more than {RESUME_STATE_MAX_BYTES}")]
    ResumeStateTooLarge(usize),
    #[error("the values of finished steps are {0} bytes, more than {FINISHED_STEPS_MAX_BYTES}")]
    FinishedValuesTooLarge(usize),
    #[error("{0}")]
    Json(String),
    #[error("version {0} is not {VERSION}")]
    Version(u32),
}

impl CheckpointError {
    /// Creates the error of a state that does not fit the plan or this layout.
    pub(crate) fn invalid(message: &str) -> Self {
        Self::Json(message.to_owned())
    }

    /// Returns whether there is more to write than a checkpoint may hold.
    pub(crate) fn is_too_large(&self) -> bool {
        match self {
            Self::ResumeStateTooLarge(_) | Self::FinishedValuesTooLarge(_) => true,
            Self::Json(_) | Self::Version(_) => false,
        }
    }
}

impl From<serde_json::Error> for CheckpointError {
    fn from(error: serde_json::Error) -> Self {
        // Not the error's own text: it quotes the value, which may be an upstream's, or a secret.
        let problem = match error.classify() {
            serde_json::error::Category::Data => "a value is of another layout",
            serde_json::error::Category::Syntax => "it is not JSON",
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Io => "it cannot be written",
        };
        Self::Json(format!("{problem}, at line {} column {}", error.line(), error.column()))
    }
}

/// Checks the version before the rest is read, so that a document of another layout is reported as
/// such.
///
/// # Errors
/// Fails if the document is not a JSON object with a version, or has another version.
pub(crate) fn check_version(document: &[u8]) -> Result<(), CheckpointError> {
    #[derive(Deserialize)]
    struct VersionedDocument {
        version: u32,
    }
    let VersionedDocument { version } = serde_json::from_slice(document)?;
    if version == VERSION { Ok(()) } else { Err(CheckpointError::Version(version)) }
}
