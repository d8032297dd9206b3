//! What a run reported of itself: the two columns of `plan_executions` that hold an encoded message, because they may quote an upstream
//! and a text column refuses some of what those say.

use orchid_proto::executor::v1::{RunFault, RunProgress};
use prost::Message as _;

use crate::store::{error::StoreError, executions::Execution};

/// What a run did so far, over all attempts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Counts, positions and warnings.
    pub progress: RunProgress,
    /// Why it ended; none while it has not, or where it ended well.
    pub fault: Option<RunFault>,
}

impl Report {
    /// Reads both columns.
    pub fn of(execution: &Execution) -> Result<Self, StoreError> {
        let corrupt = |error| StoreError::corrupt("plan_executions", error);
        let progress = match &execution.progress {
            Some(bytes) => RunProgress::decode(bytes.as_slice()).map_err(corrupt)?,
            None => RunProgress::default(),
        };
        let fault = execution.error.as_deref().map(RunFault::decode).transpose().map_err(corrupt)?;
        Ok(Self { progress, fault })
    }
}
