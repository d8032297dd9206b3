//! What a run did and why it ended, and how both are stored: as the protocol's own messages, so that a newer build's fields pass
//! through an older one's rows. The only place where their stored form is read or written.

use std::collections::BTreeMap;

use orchid_proto::executor::v1 as wire;
use prost::Message as _;
use serde::Serialize;

use crate::store::error::StoreError;

/// Counters of a run, over all its attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExecutionCounts {
    /// HTTP tries sent, auth apart.
    pub requests: i64,
    /// Tries after a first.
    pub retries: i64,
    /// Passes that succeeded.
    pub pages: i64,
    /// Rows of `iterate_over`.
    pub rows: i64,
    /// Messages to the responses topic.
    pub messages: i64,
    /// Decoded body bytes.
    pub bytes: i64,
    /// Messages to the errors topic.
    pub errors: i64,
}

/// Allowed, but probably not meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionWarning {
    /// In upper snake case.
    pub code: String,
    /// Into the plan document.
    pub pointer: String,
    /// What was seen.
    pub message: String,
}

/// What a run did so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionProgress {
    /// Counters.
    pub counts: ExecutionCounts,
    /// Messages to the responses topic, per step.
    pub positions: BTreeMap<String, i64>,
    /// Warnings so far.
    pub warnings: Vec<ExecutionWarning>,
}

/// What went wrong with a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExecutionError {
    /// `config`, `transient`, `permanent`, `rate_limit`, `limit`, `aborted` or `system`.
    pub class: String,
    /// In upper snake case.
    pub code: String,
    /// In words.
    pub message: String,
    /// Into the plan document.
    pub pointer: String,
    /// The upstream's answer, where there was one.
    pub status_code: Option<i32>,
    /// Where in the run.
    pub step_path: String,
}

impl ExecutionProgress {
    /// As it is stored.
    pub fn encode(&self) -> Vec<u8> {
        wire::ExecutionProgress::from(self.clone()).encode_to_vec()
    }

    /// From its stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let stored = wire::ExecutionProgress::decode(bytes)
            .map_err(|error| StoreError::corrupt("run progress", error))?;
        Ok(stored.into())
    }
}

impl ExecutionError {
    /// As it is stored.
    pub fn encode(&self) -> Vec<u8> {
        wire::ExecutionError::from(self.clone()).encode_to_vec()
    }

    /// From its stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let stored =
            wire::ExecutionError::decode(bytes).map_err(|error| StoreError::corrupt("run fault", error))?;
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
            warnings: warnings
                .into_iter()
                .map(|wire::ExecutionWarning { code, pointer, message }| ExecutionWarning {
                    code,
                    pointer,
                    message,
                })
                .collect(),
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
            warnings: warnings
                .into_iter()
                .map(|ExecutionWarning { code, pointer, message }| wire::ExecutionWarning {
                    code,
                    pointer,
                    message,
                })
                .collect(),
        }
    }
}

impl From<wire::ExecutionError> for ExecutionError {
    fn from(fault: wire::ExecutionError) -> Self {
        let wire::ExecutionError { class, code, message, pointer, status_code, step_path } = fault;
        Self { class, code, message, pointer, status_code, step_path }
    }
}

impl From<ExecutionError> for wire::ExecutionError {
    fn from(fault: ExecutionError) -> Self {
        let ExecutionError { class, code, message, pointer, status_code, step_path } = fault;
        Self { class, code, message, pointer, status_code, step_path }
    }
}

#[cfg(test)]
mod tests {
    use super::{ExecutionCounts, ExecutionError, ExecutionProgress, ExecutionWarning};

    #[test]
    fn progress_reads_back() {
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
    fn a_fault_reads_back() {
        let fault = ExecutionError {
            code: "TIMEOUT".to_owned(),
            status_code: Some(504),
            ..ExecutionError::default()
        };
        assert_eq!(ExecutionError::decode(&fault.encode()).unwrap(), fault);
        assert!(ExecutionError::decode(b"\xff").is_err());
    }
}
