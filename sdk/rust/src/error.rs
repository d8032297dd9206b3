//! The errors of a call, including the details of a `google.rpc.Status`.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The reason why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint is malformed.
    #[error("`{endpoint}` is not an endpoint (host:port, http://host:port or https://host:port): {reason}")]
    InvalidEndpoint {
        /// Endpoint that the caller passed.
        endpoint: String,
        /// Description of the problem.
        reason: String,
    },
    /// No server responds at the endpoint.
    #[error("cannot reach {endpoint}: {}", innermost(source.as_ref()))]
    Unreachable {
        /// Endpoint that was tried.
        endpoint: String,
        /// Reason.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The server responded with an error status.
    #[error(transparent)]
    Status(Box<StatusError>),
}

/// An error status of the server, with its details.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct StatusError {
    /// Status code.
    pub code: Code,
    /// Status message.
    pub message: String,
    /// `ErrorInfo.reason` in upper snake case; empty if the server sent none.
    pub reason: String,
    /// Invalid fields of the request.
    pub violations: Vec<FieldViolation>,
    /// Delay after which a retry can succeed.
    pub retry_after: Option<Duration>,
}

/// One invalid field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Name of the field, or JSON pointer into a document.
    pub field: String,
    /// Description of the problem.
    pub description: String,
}

impl Error {
    /// Returns true if no server responded.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Returns the error status, if a server responded.
    pub fn status_error(&self) -> Option<&StatusError> {
        match self {
            Self::Status(status) => Some(status),
            Self::InvalidEndpoint { .. } | Self::Unreachable { .. } => None,
        }
    }

    /// Returns the status code, if a server responded.
    pub fn code(&self) -> Option<Code> {
        self.status_error().map(|status| status.code)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        // A lost connection and a server that reports `UNAVAILABLE` share the code. Only the former
        // has a transport error as its source.
        let may_be_lost = status.code() == Code::Unavailable && status.details().is_empty();
        match status.source() {
            Some(_) if may_be_lost => {
                Self::Unreachable { endpoint: "the control plane".to_owned(), source: Box::new(status) }
            }
            _ => Self::Status(Box::new(StatusError::from(&status))),
        }
    }
}

impl From<&Status> for StatusError {
    fn from(status: &Status) -> Self {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|request| request.field_violations.as_slice());
        let to_violation = |found: &tonic_types::FieldViolation| FieldViolation {
            field: found.field.clone(),
            description: found.description.clone(),
        };
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
            violations: violations.unwrap_or_default().iter().map(to_violation).collect(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = if self.message.is_empty() { self.code.description() } else { &self.message };
        f.write_str(message)?;
        if !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        for violation in &self.violations {
            write!(f, "\n  {}: {}", violation.field, violation.description)?;
        }
        if let Some(delay) = self.retry_after {
            write!(f, "\n  retry in {} ms", delay.as_millis())?;
        }
        Ok(())
    }
}

/// Returns the text of the last error in a chain, which is the most specific: `Connection refused`
/// rather than `tcp connect error`.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn text_contains_all_details_of_the_status() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info("INVALID_PLAN", "orchid", [])
            .add_bad_request_violation("/definition/step/url", "unknown name `confg`; did you mean config?")
            .add_bad_request_violation("/definition/step/retyr", "there is no such field")
            .set_retry_info(Some(Duration::from_millis(1500)));
        let status = Status::with_error_details(Code::InvalidArgument, "the plan has 2 problems", details);
        let error = Error::from(status);
        assert_eq!(
            error.to_string(),
            "the plan has 2 problems (INVALID_PLAN)\n  /definition/step/url: unknown name `confg`; did you mean config?\n  \
             /definition/step/retyr: there is no such field\n  retry in 1500 ms"
        );
        assert_eq!(error.code(), Some(Code::InvalidArgument));
    }

    #[test]
    fn bare_status_is_described_by_its_code() {
        let error = Error::from(Status::new(Code::NotFound, ""));
        assert_eq!(error.to_string(), Code::NotFound.description());
        assert!(!error.is_unreachable());
    }

    #[test]
    fn server_that_reports_unavailable_was_reached() {
        let error = Error::from(Status::unavailable("postgres is restarting"));
        assert!(!error.is_unreachable());
    }
}
