//! How a run leaves its loop.

use chrono::{DateTime, Utc};
use orchid_engine::{EndStatus, ErrorClass, ExecutionEnd, ExecutionError};

use crate::report::ReleaseReason;

/// What is left to report.
#[derive(Debug)]
pub(crate) enum Exit {
    /// It ended.
    Complete(ExecutionEnd),
    /// It goes on later.
    Park {
        /// From when.
        not_before: DateTime<Utc>,
        /// What it waits for.
        reason: String,
    },
    /// Somebody else goes on now.
    Release(ReleaseReason),
    /// The lease is gone: report nothing.
    Lost,
}

/// A run that Orchid itself could not go on with.
pub(crate) fn system_failure(code: &'static str, message: String) -> Exit {
    Exit::Complete(ExecutionEnd {
        status: EndStatus::Failed,
        partial: true,
        complete: false,
        error: Some(ExecutionError {
            class: ErrorClass::System,
            code: code.to_owned(),
            message,
            pointer: String::new(),
            status_code: None,
            step_path: String::new(),
        }),
    })
}
