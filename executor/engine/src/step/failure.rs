//! The errors that responses are reported as.

use orchid_plan::Step;

use crate::error::ErrorClass;
use crate::page::exchange::TryResponse;
use crate::rules::outcome::{AbortCause, TryFailure};
use crate::state::error_detail::ErrorDetail;

/// Describes a response on which the plan ends the execution.
pub(crate) fn abort_detail(step: &Step, cause: AbortCause, response: &TryResponse) -> ErrorDetail {
    let (code, field) = match cause {
        AbortCause::On => ("ABORT_ON", "abort_on"),
        AbortCause::When => ("ABORT_WHEN", "abort_when"),
    };
    let answered = match (response.tried.failure, response.tried.status) {
        (Some(failure @ (TryFailure::Fetch(_) | TryFailure::Decode(_))), _) => {
            format!("{} ({})", response.problem, failure.code())
        }
        (Some(TryFailure::Status) | None, Some(status)) => format!("the upstream answered {status}"),
        (Some(TryFailure::Status) | None, None) => "no answer".to_owned(),
    };
    ErrorDetail {
        class: ErrorClass::Aborted,
        code,
        pointer: format!("{}/{field}", step.pointer),
        message: format!("{field} ended the run: {answered}"),
    }
}

/// Describes a failed or ignored response. One that only `ignore_when` objects to has the code
/// IGNORED.
pub(crate) fn failure_detail(step: &Step, response: &TryResponse, transient: bool) -> ErrorDetail {
    let class = response.tried.class(transient);
    let pointer = step.pointer.clone();
    match response.tried.failure {
        Some(failure) => {
            ErrorDetail { class, code: failure.code(), pointer, message: response.problem.clone() }
        }
        None => {
            let status = response.tried.status.unwrap_or_default();
            let message = format!("the plan ignores this answer with status {status}");
            ErrorDetail { class, code: "IGNORED", pointer, message }
        }
    }
}
