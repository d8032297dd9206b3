//! The ways in which an attempt ends.

use chrono::{DateTime, Utc};
use orchid_engine::{EndStatus, ErrorClass, ExecutionEnd, ExecutionError};

use crate::convert::{InvalidReport, ReleaseReason};

/// Characters that are kept of the error of a refused report.
const MAX_REAL_MESSAGE_CHARS: usize = 2000;

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
    /// This executor cannot compile or resume the execution, so another one may try.
    Unsupported(ExecutionError),
    /// The lease is lost: nothing may be reported.
    LeaseLost,
}

impl AttemptExit {
    /// Returns the error that ended the execution, or that would end it.
    pub(crate) fn error(&self) -> Option<&ExecutionError> {
        match self {
            Self::Complete(end) => end.error.as_ref(),
            Self::Unsupported(error) => Some(error),
            Self::Park { .. } | Self::Release(_) | Self::LeaseLost => None,
        }
    }
}

/// Creates the exit of an execution that fails because of Orchid itself, not because of its plan or
/// upstream.
pub(crate) fn system_failure(code: &'static str, message: String) -> AttemptExit {
    failure(error(ErrorClass::System, code.to_owned(), message))
}

/// Creates the exit of an execution that this executor cannot compile or resume.
pub(crate) fn unsupported(code: &'static str, message: String) -> AttemptExit {
    AttemptExit::Unsupported(error(ErrorClass::System, code.to_owned(), message))
}

/// Creates the exit of an execution whose report was refused: by the limit that it exceeds, or with
/// this code if there is none. `real` is the error of the refused report, which stays readable.
pub(crate) fn refused_report(
    code: &'static str,
    refused: InvalidReport,
    real: Option<&ExecutionError>,
) -> AttemptExit {
    let InvalidReport { limit_code, detail } = refused;
    let mut error = match limit_code {
        None => error(ErrorClass::System, code.to_owned(), detail),
        Some(limit) => {
            // The code has a field of its own.
            let message = detail.strip_prefix(limit.as_str()).and_then(|rest| rest.strip_prefix(": "));
            let message = message.unwrap_or(&detail).to_owned();
            error(ErrorClass::Limit, limit, message)
        }
    };
    if let Some(real) = real {
        let message = printable(&real.message);
        error.message = format!("{}; the execution had failed with {}: {message}", error.message, real.code);
        error.pointer.clone_from(&real.pointer);
        error.step_path.clone_from(&real.step_path);
        error.status_code = real.status_code;
    }
    failure(error)
}

/// Returns the beginning of a text, without the characters that may have made the report
/// unacceptable.
fn printable(text: &str) -> String {
    let printable = |char: char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
    text.chars().take(MAX_REAL_MESSAGE_CHARS).map(printable).collect()
}

fn failure(error: ExecutionError) -> AttemptExit {
    AttemptExit::Complete(ExecutionEnd {
        status: EndStatus::Failed,
        partial: true,
        complete: false,
        at_limit: false,
        error: Some(error),
    })
}

fn error(class: ErrorClass, code: String, message: String) -> ExecutionError {
    ExecutionError {
        class,
        code,
        message,
        pointer: String::new(),
        status_code: None,
        step_path: String::new(),
        response_excerpt: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(exit: AttemptExit) -> (ErrorClass, String, String) {
        let AttemptExit::Complete(ExecutionEnd { error: Some(error), .. }) = exit else { panic!("{exit:?}") };
        (error.class, error.code, error.message)
    }

    #[test]
    fn refusal_by_a_limit_is_an_error_of_that_limit() {
        let refused = |limit_code: Option<&str>, detail: &str| {
            let limit_code = limit_code.map(str::to_owned);
            let refused = InvalidReport { limit_code, detail: detail.to_owned() };
            error(refused_report("REPORT_REFUSED", refused, None))
        };
        assert_eq!(
            refused(Some("TOO_MANY_CURSORS"), "TOO_MANY_CURSORS: the plan would keep 100001 cursors"),
            (
                ErrorClass::Limit,
                "TOO_MANY_CURSORS".to_owned(),
                "the plan would keep 100001 cursors".to_owned()
            )
        );
        assert_eq!(
            refused(None, "field \"a\" is not JSON"),
            (ErrorClass::System, "REPORT_REFUSED".to_owned(), "field \"a\" is not JSON".to_owned())
        );
    }

    #[test]
    fn refused_report_keeps_its_real_error() {
        let real = ExecutionError {
            code: "UNREADABLE_BODY".to_owned(),
            message: "unknown entity \"x\0y\"".to_owned(),
            step_path: "orders".to_owned(),
            status_code: Some(200),
            ..super::error(ErrorClass::Permanent, String::new(), String::new())
        };
        let refused = InvalidReport::unreadable("internal error, trace 7".to_owned());
        let AttemptExit::Complete(end) = refused_report("REPORT_REFUSED", refused, Some(&real)) else {
            panic!("it ends the execution")
        };
        let error = end.error.unwrap();
        assert_eq!((error.class, error.code.as_str()), (ErrorClass::System, "REPORT_REFUSED"));
        assert_eq!(
            error.message,
            "internal error, trace 7; the execution had failed with UNREADABLE_BODY: \
             unknown entity \"x\u{fffd}y\""
        );
        assert_eq!((error.step_path.as_str(), error.status_code), ("orders", Some(200)));
    }
}
