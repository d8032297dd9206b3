//! Errors and environments of an async job.

use orchid_plan::{AsyncJob, Step};

use crate::checkpoint::prune::prune;
use crate::error::ErrorClass;
use crate::page::sub_steps::SubSteps;
use crate::state::error_detail::ErrorDetail;
use crate::state::step_env::StepEnv;
use crate::step::execution::StepExecution;

/// Describes a job that failed by the plan's `failed_when`, after this number of polls.
pub(crate) fn failed(job: &AsyncJob, polls: u64) -> ErrorDetail {
    ErrorDetail {
        class: ErrorClass::Permanent,
        code: "JOB_FAILED",
        pointer: format!("{}/failed_when", job.pointer),
        message: format!("the upstream's job failed, as poll {} says", polls.saturating_sub(1)),
    }
}

/// Describes a job that was not done in time.
pub(crate) fn timed_out(step: &Step) -> ErrorDetail {
    ErrorDetail {
        class: ErrorClass::Transient,
        code: "JOB_TIMEOUT",
        pointer: format!("{}/async_job/max_wait", step.pointer),
        message: "the upstream's job was not done within max_wait".to_owned(),
    }
}

/// Keeps what the job's other steps read of a response.
pub(crate) fn keep_response<S: SubSteps>(inner: &mut StepEnv, id: &str, step: &StepExecution<S>) {
    let paths = step.position().node.needs.finished.as_deref();
    if paths.is_none_or(|paths| !paths.is_empty()) {
        inner.finished.insert(id, prune(&step.position().latest, paths));
    }
}

/// Returns the environment of the downloads: on the level of the other steps, with their own
/// writes.
pub(crate) fn download_env(inner: &StepEnv) -> StepEnv {
    let mut env = inner.below(inner.prefix.clone(), true);
    env.nesting = inner.nesting;
    env
}
