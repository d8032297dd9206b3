//! Progress and error of an execution, and their stored form.
//!
//! Both are stored as messages of the executor protocol, so that fields of a newer build pass
//! through the rows of an older one. No other module reads or writes the stored form.

use std::collections::BTreeMap;

use orchid_proto::executor::v1 as wire;
use prost::Message as _;
use serde::Serialize;

use crate::store::error::StoreError;

/// Counters of an execution over all its attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExecutionCounts {
    /// HTTP tries, without those for authentication.
    pub requests: i64,
    /// HTTP tries after the first of a request.
    pub retries: i64,
    /// Pages that succeeded.
    pub pages: i64,
    /// Rows of `iterate_over`.
    pub rows: i64,
    /// Messages to the responses topic.
    pub messages: i64,
    /// Bytes of decoded bodies.
    pub bytes: i64,
    /// Messages to the errors topic.
    pub errors: i64,
}

/// Something that is allowed but probably not meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionWarning {
    /// Code in upper snake case.
    pub code: String,
    /// JSON pointer into the plan document.
    pub pointer: String,
    /// Description of what was seen.
    pub message: String,
}

/// The progress of an execution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionProgress {
    /// Counters.
    pub counts: ExecutionCounts,
    /// Number of messages to the responses topic by step.
    pub positions: BTreeMap<String, i64>,
    /// Warnings so far.
    pub warnings: Vec<ExecutionWarning>,
}

/// The error that ended an execution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExecutionError {
    /// `config`, `transient`, `permanent`, `rate_limit`, `limit`, `aborted` or `system`.
    pub class: String,
    /// Code in upper snake case.
    pub code: String,
    /// Description of what went wrong.
    pub message: String,
    /// JSON pointer into the plan document.
    pub pointer: String,
    /// HTTP status of the upstream's response, if there was one.
    pub status_code: Option<i32>,
    /// Path of the step in the execution.
    pub step_path: String,
    /// Beginning of the response that led to the error; empty if there was none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub response_excerpt: String,
}

impl ExecutionProgress {
    /// Encodes the stored form.
    pub fn encode(&self) -> Vec<u8> {
        wire::ExecutionProgress::from(self.clone()).encode_to_vec()
    }

    /// Decodes the stored form.
    ///
    /// # Errors
    /// The bytes are no such message.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let stored = wire::ExecutionProgress::decode(bytes)
            .map_err(|error| StoreError::corrupt("execution progress", error))?;
        Ok(stored.into())
    }
}

impl ExecutionError {
    /// Encodes the stored form.
    pub fn encode(&self) -> Vec<u8> {
        wire::ExecutionError::from(self.clone()).encode_to_vec()
    }

    /// Decodes the stored form.
    ///
    /// # Errors
    /// The bytes are no such message.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let stored = wire::ExecutionError::decode(bytes)
            .map_err(|error| StoreError::corrupt("execution error", error))?;
        Ok(stored.into())
    }
}

impl From<wire::ExecutionProgress> for ExecutionProgress {
    fn from(progress: wire::ExecutionProgress) -> Self {
        let wire::ExecutionProgress {
            requests,
            retries,
            pages,
            rows,
            messages,
            bytes,
            errors,
            positions,
            warnings,
        } = progress;
        Self {
            counts: ExecutionCounts { requests, retries, pages, rows, messages, bytes, errors },
            positions: positions.into_iter().collect(),
            warnings: warnings.into_iter().map(ExecutionWarning::from).collect(),
        }
    }
}

impl From<ExecutionProgress> for wire::ExecutionProgress {
    fn from(progress: ExecutionProgress) -> Self {
        let ExecutionProgress { counts, positions, warnings } = progress;
        let ExecutionCounts { requests, retries, pages, rows, messages, bytes, errors } = counts;
        Self {
            requests,
            retries,
            pages,
            rows,
            messages,
            bytes,
            errors,
            positions: positions.into_iter().collect(),
            warnings: warnings.into_iter().map(wire::ExecutionWarning::from).collect(),
        }
    }
}

impl From<wire::ExecutionWarning> for ExecutionWarning {
    fn from(warning: wire::ExecutionWarning) -> Self {
        let wire::ExecutionWarning { code, pointer, message } = warning;
        Self { code, pointer, message }
    }
}

impl From<ExecutionWarning> for wire::ExecutionWarning {
    fn from(warning: ExecutionWarning) -> Self {
        let ExecutionWarning { code, pointer, message } = warning;
        Self { code, pointer, message }
    }
}

impl From<wire::ExecutionError> for ExecutionError {
    fn from(error: wire::ExecutionError) -> Self {
        let wire::ExecutionError { class, code, message, pointer, status_code, step_path, response_excerpt } =
            error;
        Self { class, code, message, pointer, status_code, step_path, response_excerpt }
    }
}

impl From<ExecutionError> for wire::ExecutionError {
    fn from(error: ExecutionError) -> Self {
        let ExecutionError { class, code, message, pointer, status_code, step_path, response_excerpt } =
            error;
        Self { class, code, message, pointer, status_code, step_path, response_excerpt }
    }
}

#[cfg(test)]
mod tests {
    use super::{ExecutionCounts, ExecutionError, ExecutionProgress, ExecutionWarning};

    #[test]
    fn stored_progress_decodes_to_the_same() {
        let progress = ExecutionProgress {
            counts: ExecutionCounts { requests: 9, pages: 7, ..ExecutionCounts::default() },
            positions: [("orders".to_owned(), 7)].into(),
            warnings: vec![ExecutionWarning {
                code: "PATH_NEVER_FOUND".to_owned(),
                ..ExecutionWarning::default()
            }],
        };
        assert_eq!(ExecutionProgress::decode(&progress.encode()).unwrap(), progress);
        assert!(ExecutionProgress::decode(b"\xff").is_err());
    }

    #[test]
    fn stored_error_decodes_to_the_same() {
        let error = ExecutionError {
            code: "TIMEOUT".to_owned(),
            status_code: Some(504),
            ..ExecutionError::default()
        };
        assert_eq!(ExecutionError::decode(&error.encode()).unwrap(), error);
        assert!(ExecutionError::decode(b"\xff").is_err());
    }
}
