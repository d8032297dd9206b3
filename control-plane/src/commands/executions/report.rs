//! What a run reported of itself, as its row keeps it.

use crate::{
    commands::executions::progress::{ExecutionError, ExecutionProgress},
    store::{error::StoreError, executions::Execution},
};

/// What a run did, and what went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionReport {
    /// ExecutionCounts, positions and warnings, over all attempts.
    pub progress: ExecutionProgress,
    /// Why it ended; none while it has not, or where it ended well.
    pub error: Option<ExecutionError>,
}

impl ExecutionReport {
    /// Reads it out of an execution's row.
    pub fn of(execution: &Execution) -> Result<Self, StoreError> {
        let progress = execution.progress.as_deref().map(ExecutionProgress::decode).transpose()?;
        let error = execution.error.as_deref().map(ExecutionError::decode).transpose()?;
        Ok(Self { progress: progress.unwrap_or_default(), error })
    }
}
