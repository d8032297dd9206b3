//! Progress of an execution: counts, positions and warnings. Saved with every checkpoint, summed
//! over all attempts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that is counted for an execution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Sums over all steps.
    pub counts: Counts,
    /// Number of messages sent to the responses topic, by step path without numbers
    /// (`issues.comments`).
    pub positions: BTreeMap<String, u64>,
    /// Warnings; each combination of code and pointer occurs once.
    pub warnings: Vec<Warning>,
}

/// Sums over an execution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// HTTP tries sent.
    pub requests: u64,
    /// Tries of a page after its first.
    pub retries: u64,
    /// Pages that succeeded.
    pub pages: u64,
    /// Rows of `iterate_over`.
    pub rows: u64,
    /// Messages to the responses topic.
    pub messages: u64,
    /// Bytes of decoded bodies.
    pub bytes: u64,
    /// Messages to the errors topic.
    pub errors: u64,
}

/// Something that is permitted, but probably not intended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Code in upper snake case.
    pub code: String,
    /// RFC 6901 pointer into the plan document.
    pub pointer: String,
    /// Description.
    pub message: String,
}
