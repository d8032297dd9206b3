//! Progress and error of an execution, as executors reported them.

use crate::commands::executions::progress::{ExecutionError, ExecutionProgress};
use crate::store::error::StoreError;
use crate::store::executions::Execution;

/// Progress and error of an execution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionReport {
    /// Counts, positions and warnings, over all attempts.
    pub progress: ExecutionProgress,
    /// Error that ended the execution; none while it is active or after success.
    pub error: Option<ExecutionError>,
}

impl ExecutionReport {
    /// Decodes the report of an execution's row.
    ///
    /// # Errors
    /// Fails if a column cannot be decoded.
    pub fn of(execution: &Execution) -> Result<Self, StoreError> {
        let progress = execution.progress.as_deref().map(ExecutionProgress::decode).transpose()?;
        let error = execution.error.as_deref().map(ExecutionError::decode).transpose()?;
        Ok(Self { progress: progress.unwrap_or_default(), error })
    }
}
