//! Meaning of the statuses that calls to the control plane return.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Returns whether the status says that the session no longer exists.
pub fn is_session_gone(status: &Status) -> bool {
    status.code() == Code::Unauthenticated
}

/// Returns whether the same call may succeed when repeated.
pub fn is_retryable(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Cancelled
        | Code::Internal
        // tonic reports some transport errors as Internal or Unknown.
        | Code::Unknown => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

/// Returns the delay that the server requests before the next try; zero if it requests none.
pub fn requested_delay(status: &Status) -> Duration {
    status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default()
}
