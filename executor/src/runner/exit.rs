//! The ways in which an attempt ends.

use chrono::{DateTime, Utc};
use orchid_engine::{EndStatus, ErrorClass, ExecutionEnd, ExecutionError};

use crate::convert::{InvalidReport, ReleaseReason};

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
    failure(ErrorClass::System, code.to_owned(), message)
}

/// Creates the exit of an execution whose report was refused: by the limit that it exceeds, or with
/// this code if there is none.
pub(crate) fn refused_report(code: &'static str, refused: InvalidReport) -> AttemptExit {
    let InvalidReport { limit_code, detail } = refused;
    let Some(limit) = limit_code else { return system_failure(code, detail) };
    // The code has a field of its own.
    let message = detail.strip_prefix(limit.as_str()).and_then(|rest| rest.strip_prefix(": "));
    let message = message.unwrap_or(&detail).to_owned();
    failure(ErrorClass::Limit, limit, message)
}

fn failure(class: ErrorClass, code: String, message: String) -> AttemptExit {
    AttemptExit::Complete(ExecutionEnd {
        status: EndStatus::Failed,
        partial: true,
        complete: false,
        at_limit: false,
        error: Some(ExecutionError {
            class,
            code,
            message,
            pointer: String::new(),
            status_code: None,
            step_path: String::new(),
            response_excerpt: String::new(),
        }),
    })
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
            error(refused_report("REPORT_REFUSED", InvalidReport { limit_code, detail: detail.to_owned() }))
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
}
