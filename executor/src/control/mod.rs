//! The way to the control plane: channels to its replicas, and the session that all calls carry.
//!
//! In: one request. Out: one answer, or a status with whether another try may help. It keeps channels to two replicas and
//! changes over when one does not answer; repeating a call is the caller's, who knows whether it still wants it.

mod replicas;
mod session;

pub use replicas::Replicas;
pub use session::{Limits, Session, SessionCell};

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The session is gone: the server knows it no more.
pub fn is_session_gone(status: &Status) -> bool {
    status.code() == Code::Unauthenticated
}

/// Sending the same again may help.
pub fn is_retryable(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Cancelled
        | Code::Internal
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

/// How long the server asks to wait before the next try.
pub fn asked_delay(status: &Status) -> Duration {
    status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default()
}
