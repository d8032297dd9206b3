//! Reads `async_job`: a step that consists of submit, poll, download and cancel steps.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;

use super::context::ReadContext;
use super::object::ObjectReader;
use super::step_fields::{self, refuse};
use super::step_position::{StepPosition, StepRole, StepScopes};
use crate::{
    AsyncJob, Diagnostic, DiagnosticCode, EmitMode, OutcomeRules, ResponseRules, RetryPolicy, Step,
    StepAction,
};

pub(crate) const FIELDS: &[&str] =
    &["submit", "poll", "done_when", "failed_when", "result", "download", "cancel", "poll_wait", "max_wait"];

/// The choices of `result`: whether the response to the last poll is the job's result, instead of
/// what `download` fetches.
pub(crate) const RESULTS: &[(&str, bool)] = &[("download", false), ("poll", true)];

/// Fields that a step may have beside `async_job`; all others belong into the steps of the job.
pub(crate) const FIELDS_BESIDE_JOB: &[&str] =
    &["id", "auth_flow", "execute_if", "for_each", "concurrency", "stop_on_error", "async_job"];

const POLL_WAIT: TimeDelta = TimeDelta::seconds(10);
const MAX_WAIT: TimeDelta = TimeDelta::hours(2);
/// Longest time that a job may wait.
const LONGEST_WAIT: TimeDelta = TimeDelta::days(7);

/// Reads the next step of a list. Async jobs consist of steps, which may be async jobs in turn; the
/// reader of steps passes itself, so that the modules don't depend on each other.
type ReadNextStep = fn(&Value, &str, &mut StepPosition, &mut ReadContext<'_>) -> Option<Arc<Step>>;

pub(super) fn read(
    object: &ObjectReader<'_>,
    position: &StepPosition,
    read_next: ReadNextStep,
    context: &mut ReadContext<'_>,
) -> Option<Step> {
    let inside: Vec<&str> =
        step_fields::FIELDS.iter().filter(|field| !FIELDS_BESIDE_JOB.contains(field)).copied().collect();
    refuse(
        object,
        &inside,
        "is not allowed beside async_job: move it into submit, poll or download",
        context,
    );
    let id = step_fields::id(object, position, context);
    let auth_flow = step_fields::auth_flow(object, position, context);
    let scopes = StepScopes::of(position, object);
    let execute_if = object.expr("execute_if", &scopes.before_first_page, context);
    let for_each = object.expr("for_each", &scopes.before_items.storing(), context);
    let (concurrency, stop_on_error) = step_fields::fan_out(object, context);
    let inner = position.inside_job(object, auth_flow.clone());
    let job = job(object, position, inner, read_next, context);
    Some(Step {
        id,
        pointer: object.pointer.clone(),
        action: StepAction::Job(Box::new(job?)),
        auth_flow,
        execute_if,
        for_each,
        timeout: Duration::from_secs(30),
        retry: RetryPolicy::default(),
        outcome: OutcomeRules::default(),
        while_expr: None,
        break_when: None,
        paginate: None,
        single_page: true,
        window: None,
        cursor: None,
        conditional: false,
        set_context: Vec::new(),
        extract: Vec::new(),
        rows: None,
        sub_steps: Vec::new(),
        concurrency,
        stop_on_error,
        emit: EmitMode::None,
        response: ResponseRules::default(),
        reads: context.take_reads(),
    })
}

fn job(
    step: &ObjectReader<'_>,
    position: &StepPosition,
    mut inner: StepPosition,
    read_next: ReadNextStep,
    context: &mut ReadContext<'_>,
) -> Option<AsyncJob> {
    let pointer = step.at("async_job");
    let object = ObjectReader::open(step.get("async_job")?, &pointer, FIELDS, context)?;
    let submit = single(StepRole::Fixed("submit"), "submit", &object, &mut inner, read_next, context);
    let result_in_poll = object.choice("result", RESULTS, context).unwrap_or(false);
    let role = if result_in_poll { StepRole::ResultPoll } else { StepRole::Fixed("poll") };
    let poll = single(role, "poll", &object, &mut inner, read_next, context);
    // The conditions run after a poll, so its response is in scope, at the place of the job's step.
    let after_poll = position.after(&inner.earlier);
    let scopes = StepScopes::of(&after_poll, step);
    object.require("done_when", context);
    let done_when = object.expr("done_when", &scopes.in_page, context);
    let failed_when = object.expr("failed_when", &scopes.in_page, context);
    let download = if result_in_poll {
        no_download(&object, context);
        Some(Vec::new())
    } else {
        download(&object, &mut inner.clone(), read_next, context)
    };
    let cancel = object.has("cancel").then(|| {
        let role = StepRole::Fixed("cancel");
        single(role, "cancel", &object, &mut inner, read_next, context)
    });
    let (poll_wait, max_wait) = waits(&object, context);
    Some(AsyncJob {
        submit: submit?,
        poll: poll?,
        done_when: done_when?,
        failed_when,
        result_in_poll,
        download: download?,
        cancel: match cancel {
            Some(cancel) => Some(cancel?),
            None => None,
        },
        poll_wait,
        max_wait,
        pointer,
    })
}

/// Reads a step that is one request under a fixed id.
fn single(
    role: StepRole,
    name: &'static str,
    object: &ObjectReader<'_>,
    inner: &mut StepPosition,
    read_next: ReadNextStep,
    context: &mut ReadContext<'_>,
) -> Option<Arc<Step>> {
    let Some(value) = object.require(name, context) else {
        inner.earlier.push(name.to_owned());
        return None;
    };
    let mut position = inner.with_role(role);
    let step = read_next(value, &object.at(name), &mut position, context);
    inner.earlier = position.earlier;
    step
}

/// Reports downloads that would never run.
fn no_download(object: &ObjectReader<'_>, context: &mut ReadContext<'_>) {
    if object.list("download", context).is_some_and(|steps| !steps.is_empty()) {
        let words = "the result is that of poll, so download never runs: remove one of the two";
        context.conflict(object.at("download"), words);
    }
}

fn download(
    object: &ObjectReader<'_>,
    inner: &mut StepPosition,
    read_next: ReadNextStep,
    context: &mut ReadContext<'_>,
) -> Option<Vec<Arc<Step>>> {
    if !object.has("download") {
        let words = "download is required, unless result is \"poll\" and the last poll returns the result";
        context.report(Diagnostic::new(DiagnosticCode::Required, object.pointer.clone(), words));
        return None;
    }
    let values = object.list("download", context)?;
    if values.is_empty() {
        let words = "download is empty: at least one step is required, which fetches the job's result";
        context.report(Diagnostic::new(DiagnosticCode::OutOfRange, object.at("download"), words));
    }
    let mut steps = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        let pointer = format!("{}/{index}", object.at("download"));
        if value.get("async_job").is_some_and(|job| !job.is_null()) {
            context.conflict(format!("{pointer}/async_job"), "a download must not be an async job itself");
            continue;
        }
        let last = index + 1 == values.len();
        let mut position = inner.with_role(if last { StepRole::LastDownload } else { StepRole::Download });
        steps.extend(read_next(value, &pointer, &mut position, context));
        inner.earlier = position.earlier;
    }
    (steps.len() == values.len() && !steps.is_empty()).then_some(steps)
}

fn waits(object: &ObjectReader<'_>, context: &mut ReadContext<'_>) -> (Duration, Duration) {
    let mut wait = |field: &str, default: TimeDelta| {
        let wait = object.duration(field, context).unwrap_or(default);
        if wait > LONGEST_WAIT {
            let words = format!("exceeds the maximum of {} days", LONGEST_WAIT.num_days());
            context.report(Diagnostic::new(DiagnosticCode::OutOfRange, object.at(field), words));
        }
        wait
    };
    let poll_wait = wait("poll_wait", POLL_WAIT);
    let max_wait = wait("max_wait", MAX_WAIT.max(poll_wait).min(LONGEST_WAIT));
    if object.has("max_wait") && max_wait < poll_wait {
        context.conflict(
            object.at("max_wait"),
            "max_wait is shorter than poll_wait, so that the job would never be polled",
        );
    }
    (poll_wait.to_std().unwrap_or_default(), max_wait.to_std().unwrap_or_default())
}
