//! Judgement, errors and environments of an async job.

use std::sync::Arc;
use std::time::Duration;

use orchid_plan::{AsyncJob, EvalEnv, Expr, ScopeName, Step, Value};
use url::Url;

use crate::checkpoint::prune::prune;
use crate::error::ErrorClass;
use crate::page::sub_steps::SubSteps;
use crate::program::node::StepNode;
use crate::rules::retry;
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::exit::StepExit;
use crate::state::step_env::StepEnv;
use crate::step::execution::StepExecution;
use crate::step::judged::HeldResponse;
use crate::step::variables;

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

/// Meaning of a poll's response for the job.
pub(crate) enum PollVerdict {
    /// The job goes on.
    Pending,
    /// The result is there.
    Done,
    /// The job failed at the upstream.
    Failed,
}

/// Judges the response to a poll, within its page. `before` is the response to the poll before.
///
/// # Errors
/// Fails if `failed_when` or `done_when` fails.
pub(crate) fn judge<S: SubSteps>(
    cx: &EngineCx<'_>,
    inner: &StepEnv,
    job: &AsyncJob,
    step: &StepExecution<S>,
    before: &Value,
) -> Result<PollVerdict, StepExit> {
    let mut scope = variables::for_request(cx.run, inner, step.position());
    scope.set(ScopeName::Prev, before.clone());
    if let Some(context) = step.latest().held_context() {
        scope.set(ScopeName::Context, context.clone());
    }
    let eval = variables::eval_env(cx.run, inner, step.position(), cx.now);
    let holds = |expr: &Expr, field: &str| {
        expr.is_true(&scope, &eval).map_err(|error| {
            let detail = ErrorDetail::expression(format!("{}/{field}", job.pointer), &error);
            step.error(cx, inner, detail)
        })
    };
    if let Some(failed) = &job.failed_when
        && holds(failed, "failed_when")?
    {
        return Ok(PollVerdict::Failed);
    }
    Ok(if holds(&job.done_when, "done_when")? { PollVerdict::Done } else { PollVerdict::Pending })
}

/// Returns the wait that the response to a submit or poll asks for.
///
/// # Errors
/// Fails if it is longer than the server permits.
pub(crate) fn asked_wait<S: SubSteps>(
    cx: &EngineCx<'_>,
    inner: &StepEnv,
    step: &StepExecution<S>,
) -> Result<Option<Duration>, StepExit> {
    let asked = step.latest().judged().and_then(|judged| judged.asked_wait.clone());
    let checked = asked.map(|asked| retry::check(asked, cx.run.limits.max_wait)).transpose();
    checked.map_err(|error| step.judged_error(cx, inner, error.detail(&step.position().step().pointer)))
}

/// Evaluates the job's `execute_if`.
///
/// # Errors
/// Fails if the expression fails.
pub(crate) fn enters(
    cx: &EngineCx<'_>,
    env: &StepEnv,
    node: &Arc<StepNode>,
    eval: &EvalEnv,
) -> Result<bool, ErrorDetail> {
    let Some(condition) = &node.step.execute_if else { return Ok(true) };
    condition
        .is_true(&variables::enclosing_with_meta(cx.run, env, node), eval)
        .map_err(|error| ErrorDetail::expression(format!("{}/execute_if", node.step.pointer), &error))
}

/// Drops a response that is not the result of the job, except for its writes.
pub(crate) fn drop_held(cx: &mut EngineCx<'_>, inner: &mut StepEnv, held: Option<HeldResponse>) {
    let Some(held) = held else { return };
    if let Some((_, try_id)) = held.exchange.response.stream {
        cx.discard(try_id);
    }
    cx.run.progress.counts.pages += 1;
    if let Some((context, changes)) = held.writes {
        inner.take(context, changes);
    }
}

/// Returns the URL of a submit as the base of relative ones: without query and credentials, so that
/// a checkpoint can hold it.
pub(crate) fn base_url(url: &Url) -> Arc<Url> {
    let mut base = url.clone();
    // Both calls fail only for URLs without a host.
    let _ = base.set_username("");
    let _ = base.set_password(None);
    base.set_query(None);
    Arc::new(base)
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
    env.base_url.clone_from(&inner.base_url);
    env
}
