//! Describes how an execution ends: the error of a limit, and the warnings.

use crate::checkpoint::error::CheckpointError;
use crate::error::ErrorClass;
use crate::input::CurrentTime;
use crate::progress::Warning;
use crate::rules::more_offered;
use crate::state::error_detail::ErrorDetail;
use crate::state::execution::ExecutionState;
use crate::state::exit::{ErrorContext, StepError};
use crate::state::location::StepLocation;
use crate::state::offered_pages;
use crate::state::path_check::PathCheck;
use crate::state::plan_limit::PlanLimit;
use crate::tree::sequence::StepSequence;

/// Creates the error of a limit; `location` is `None` if it was not reached in a particular step.
pub(crate) fn limit_error(
    run: &ExecutionState,
    root: &StepSequence,
    limit: PlanLimit,
    location: Option<Box<StepLocation>>,
) -> StepError {
    let detail = ErrorDetail {
        class: ErrorClass::Limit,
        code: limit.code(),
        pointer: limit.pointer().to_owned(),
        message: limit.message(&run.definition),
    };
    match location {
        Some(location) => StepError::new(&run.redactor, *location, detail, ErrorContext::default()),
        None => {
            let context = ErrorContext { sent: root.request_in_progress(), ..ErrorContext::default() };
            StepError::new(&run.redactor, root.location(), detail, context)
        }
    }
}

/// Creates the error of a checkpoint that is too large, or cannot be written.
pub(crate) fn checkpoint_error(
    run: &ExecutionState,
    root: &StepSequence,
    error: &CheckpointError,
) -> StepError {
    let detail = ErrorDetail::checkpoint(&root.node().step.pointer, error);
    StepError::new(&run.redactor, root.location(), detail, ErrorContext::default())
}

/// Warns of a limit that the plan permits.
pub(crate) fn warn_of_limit(run: &mut ExecutionState, limit: PlanLimit) {
    let message = format!("{}; the next run goes on from here", limit.message(&run.definition));
    run.warn(Warning { code: "LIMIT_REACHED".to_owned(), pointer: limit.pointer().to_owned(), message });
}

/// Warns that the execution starts from the beginning, although one before it ended at a limit.
pub(crate) fn warn_of_fresh_start(run: &mut ExecutionState, reason: String) {
    if !reason.is_empty() {
        let pointer = "/definition/on_limit".to_owned();
        run.warn(Warning { code: "CONTINUATION_DROPPED".to_owned(), pointer, message: reason });
    }
}

/// Warns that the broker's limit is lower than the setting.
pub(crate) fn warn_of_broker_limit(run: &mut ExecutionState, size: usize) {
    let message = format!(
        "the broker refused a message of {size} bytes, which is sent again in smaller ones: set \
         kafka.message_max_bytes to the limit of the topic"
    );
    run.warn(Warning { code: "BROKER_LIMIT".to_owned(), pointer: "/definition".to_owned(), message });
}

/// Warns of what the responses of the execution showed together: paths that none of them had, and
/// pages that look cut off.
pub(crate) fn warn_of_responses(run: &mut ExecutionState) {
    let warnings: Vec<Warning> = run.watches.iter().flat_map(PathCheck::warnings).collect();
    warnings.into_iter().for_each(|warning| run.warn(warning));
    warn_of_full_pages(run);
}

/// Warns of steps whose pages the API seems to have cut off.
fn warn_of_full_pages(run: &mut ExecutionState) {
    let nodes = run.program.nodes.iter().zip(&run.watches);
    let cut_off: Vec<_> =
        nodes.filter_map(|(node, watch)| Some((node.clone(), watch.cut_off_at()?))).collect();
    for (node, rows) in cut_off {
        let sign = format!(
            "a page has {rows} rows, a usual size of a full page, and nothing says that it is the last one"
        );
        offered_pages::warn(run, &node, &sign, more_offered::PAGE_ADVICE);
    }
}

/// Warns of limits that are nearly used up.
pub(crate) fn warn_of_near_limits(run: &mut ExecutionState, now: CurrentTime) {
    if let Some(max) = run.definition.max_requests {
        run.warn_if_near(PlanLimit::Requests, run.progress.counts.requests, max);
    }
    let max = run.definition.max_execution;
    let used = max.saturating_sub(run.time_left(now));
    run.warn_if_near(PlanLimit::ExecutionTime, used.as_secs(), max.as_secs());
}
