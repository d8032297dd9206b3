//! Meaning of the statuses that calls to the control plane return.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Internal errors after which a call that concerns one execution is given up. With the usual
/// delays between them they take about three seconds.
pub const MAX_INTERNAL_ERRORS: u32 = 5;

/// The reason why a call failed, as far as it decides whether to repeat the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFailure {
    /// The session no longer exists.
    SessionGone,
    /// The control plane is unreachable or busy: the same call may succeed later.
    Passing,
    /// The control plane failed at this call. It most likely fails again, so repetitions have to be
    /// bounded.
    Internal,
    /// The control plane refuses the call. Repeating it is useless.
    Refused,
}

/// Returns why a call failed.
pub fn failure_of(status: &Status) -> CallFailure {
    match status.code() {
        Code::Unauthenticated => CallFailure::SessionGone,
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Cancelled
        // tonic reports some transport errors as Unknown.
        | Code::Unknown => CallFailure::Passing,
        Code::Internal => CallFailure::Internal,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss => CallFailure::Refused,
    }
}

/// Returns whether the status says that the session no longer exists.
pub fn is_session_gone(status: &Status) -> bool {
    failure_of(status) == CallFailure::SessionGone
}

/// Returns the delay that the server requests before the next try; zero if it requests none.
pub fn requested_delay(status: &Status) -> Duration {
    status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default()
}
