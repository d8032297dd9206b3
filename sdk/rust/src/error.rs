//! What can go wrong with a call, in words: a `google.rpc.Status` with its details unpacked.

use std::{error::Error as StdError, fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// A call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint cannot be one.
    #[error("`{endpoint}` is not an endpoint (host:port, http://host:port or https://host:port): {reason}")]
    InvalidEndpoint {
        /// As it was given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers there.
    #[error("cannot reach {endpoint}: {}", innermost(source.as_ref()))]
    Unreachable {
        /// Where.
        endpoint: String,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The server answered, and said no.
    #[error(transparent)]
    Status(Box<StatusError>),
}

/// What a server said when it refused a call.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct StatusError {
    /// The status code.
    pub code: Code,
    /// The status message.
    pub message: String,
    /// `ErrorInfo.reason`, in upper snake case; empty where the server gave none.
    pub reason: String,
    /// Faults of the request, by field or JSON pointer.
    pub violations: Vec<FieldViolation>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
}

/// One fault of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The field, or the JSON pointer into the document.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Error {
    /// Whether no server answered at all.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// What the server said, where one answered.
    pub fn status_error(&self) -> Option<&StatusError> {
        match self {
            Self::Status(refusal) => Some(refusal),
            Self::InvalidEndpoint { .. } | Self::Unreachable { .. } => None,
        }
    }

    /// The status code, where a server answered.
    pub fn code(&self) -> Option<Code> {
        self.status_error().map(|refusal| refusal.code)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let lost = status.code() == Code::Unavailable && status.details().is_empty();
        match status.source() {
            Some(_) if lost => {
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
        let violation = |found: &tonic_types::FieldViolation| FieldViolation {
            field: found.field.clone(),
            description: found.description.clone(),
        };
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
            violations: violations.unwrap_or_default().iter().map(violation).collect(),
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
            write!(f, "\n  try again in {} ms", delay.as_millis())?;
        }
        Ok(())
    }
}

/// The last error of a chain says what really happened: `tcp connect error` is less than `Connection refused`.
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
    fn everything_that_the_server_said_is_in_the_text() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info("INVALID_PLAN", "orchid", [])
            .add_bad_request_violation("/definition/step/url", "unknown name `confg`; did you mean config?")
            .add_bad_request_violation("/definition/step/retyr", "there is no such field")
            .set_retry_info(Some(Duration::from_millis(1500)));
        let status = Status::with_error_details(Code::InvalidArgument, "the plan has 2 faults", details);
        let error = Error::from(status);
        assert_eq!(
            error.to_string(),
            "the plan has 2 faults (INVALID_PLAN)\n  /definition/step/url: unknown name `confg`; did you mean config?\n  \
             /definition/step/retyr: there is no such field\n  try again in 1500 ms"
        );
        assert_eq!(error.code(), Some(Code::InvalidArgument));
    }

    #[test]
    fn a_bare_status_says_its_code_in_words() {
        let error = Error::from(Status::new(Code::NotFound, ""));
        assert_eq!(error.to_string(), Code::NotFound.description());
        assert!(!error.is_unreachable());
    }

    #[test]
    fn a_server_that_says_unavailable_was_reached() {
        let error = Error::from(Status::unavailable("postgres is restarting"));
        assert!(!error.is_unreachable());
    }
}
