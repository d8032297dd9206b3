//! The ways in which an attempt ends.

use chrono::{DateTime, Utc};
use orchid_engine::{EndStatus, ErrorClass, ExecutionEnd, ExecutionError};

use crate::convert::ReleaseReason;

/// The end of an attempt, still to be reported.
#[derive(Debug)]
pub(crate) enum AttemptExit {
    /// The execution has ended.
    Complete(ExecutionEnd),
    /// The execution continues later.
    Park {
        /// Earliest time to continue.
        not_before: DateTime<Utc>,
        /// Reason for people: the thing that the execution waits for.
        reason: String,
    },
    /// The execution continues at once on another executor.
    Release(ReleaseReason),
    /// The lease is lost: nothing may be reported.
    LeaseLost,
}

/// Creates the exit of an execution that fails because of Orchid itself, not because of its plan or
/// upstream.
pub(crate) fn system_failure(code: &'static str, message: String) -> AttemptExit {
    AttemptExit::Complete(ExecutionEnd {
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
