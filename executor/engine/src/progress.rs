//! What a run did so far: counts, positions and warnings. Saved with every checkpoint, over all attempts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that is counted of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Sums over all steps.
    pub counts: Counts,
    /// Messages to the responses topic, per step id path without numbers.
    pub positions: BTreeMap<String, u64>,
    /// What is allowed, but probably not meant; each code and pointer once.
    pub warnings: Vec<Warning>,
}

/// Sums of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// HTTP tries sent.
    pub requests: u64,
    /// Tries after the first of a pass.
    pub retries: u64,
    /// Passes that succeeded.
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

/// Something that is allowed, but probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// In upper snake case.
    pub code: String,
    /// RFC 6901 pointer into the plan document.
    pub pointer: String,
    /// What was seen.
    pub message: String,
}
