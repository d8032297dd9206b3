//! `async_job`: a step that is several, in the order in which they are asked.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;

use super::context::Context;
use super::level::{Level, Role, Scopes};
use super::object::Object;
use super::step;
use crate::{
    AsyncJob, Diagnostic, DiagnosticCode, EmitMode, OutcomeRules, ResponseRules, RetryPolicy, Step,
    StepAction,
};

pub(crate) const FIELDS: &[&str] =
    &["submit", "poll", "done_when", "failed_when", "download", "cancel", "poll_wait", "max_wait"];

/// What the step of a job can have beside it: the rest belongs to the steps inside.
pub(crate) const BESIDE: &[&str] =
    &["id", "auth_flow", "execute_if", "for_each", "concurrency", "stop_on_error", "async_job"];

const POLL_WAIT: TimeDelta = TimeDelta::seconds(10);
const MAX_WAIT: TimeDelta = TimeDelta::hours(2);
/// No job waits longer: a run ends with the server's patience.
const MOST: TimeDelta = TimeDelta::days(7);

pub(super) fn read(object: &Object<'_>, level: &Level, context: &mut Context<'_>) -> Option<Step> {
    let inside: Vec<&str> = step::FIELDS.iter().filter(|field| !BESIDE.contains(field)).copied().collect();
    step::refuse(object, &inside, "belongs into submit, poll or download of the async job", context);
    let id = step::id(object, level, context);
    let auth_flow = step::auth_flow(object, level, context);
    let scopes = Scopes::of(level, object);
    let execute_if = object.expr("execute_if", &scopes.before, context);
    let for_each = object.expr("for_each", &scopes.around.storing(), context);
    let (concurrency, stop_on_error) = step::fan_out(object, context);
    let inner = level.inside_job(object, auth_flow.clone());
    let job = job(object, level, inner, context);
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

fn job(step: &Object<'_>, level: &Level, mut inner: Level, context: &mut Context<'_>) -> Option<AsyncJob> {
    let pointer = step.at("async_job");
    let object = Object::open(step.get("async_job")?, &pointer, FIELDS, context)?;
    let submit = fixed("submit", &object, &mut inner, context);
    let poll = fixed("poll", &object, &mut inner, context);
    // What is asked after a poll sees its answer, and stands where the job's step stands.
    let asked = level.after(&inner.earlier);
    let scopes = Scopes::of(&asked, step);
    object.require("done_when", context);
    let done_when = object.expr("done_when", &scopes.within, context);
    let failed_when = object.expr("failed_when", &scopes.within, context);
    let download = download(&object, &mut inner.clone(), context);
    let cancel = object.has("cancel").then(|| fixed("cancel", &object, &mut inner, context));
    let (poll_wait, max_wait) = waits(&object, context);
    Some(AsyncJob {
        submit: submit?,
        poll: poll?,
        done_when: done_when?,
        failed_when,
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

/// One of the steps that are one request under a fixed id.
fn fixed(
    name: &'static str,
    object: &Object<'_>,
    inner: &mut Level,
    context: &mut Context<'_>,
) -> Option<Arc<Step>> {
    let Some(value) = object.require(name, context) else {
        inner.earlier.push(name.to_owned());
        return None;
    };
    let mut level = inner.of(Role::Fixed(name));
    let step = step::read_next(value, &object.at(name), &mut level, context);
    inner.earlier = level.earlier;
    step
}

fn download(object: &Object<'_>, inner: &mut Level, context: &mut Context<'_>) -> Option<Vec<Arc<Step>>> {
    object.require("download", context)?;
    let values = object.list("download", context)?;
    if values.is_empty() {
        let words = "at least one step is needed: what the job made is fetched by it";
        context.report(Diagnostic::new(DiagnosticCode::OutOfRange, object.at("download"), words));
    }
    let mut steps = Vec::with_capacity(values.len());
    for (place, value) in values.iter().enumerate() {
        let pointer = format!("{}/{place}", object.at("download"));
        if value.get("async_job").is_some_and(|job| !job.is_null()) {
            context.conflict(format!("{pointer}/async_job"), "a job is not downloaded by another job");
            continue;
        }
        let last = place + 1 == values.len();
        let mut level = inner.of(if last { Role::LastDownload } else { Role::Download });
        steps.extend(step::read_next(value, &pointer, &mut level, context));
        inner.earlier = level.earlier;
    }
    (steps.len() == values.len() && !steps.is_empty()).then_some(steps)
}

fn waits(object: &Object<'_>, context: &mut Context<'_>) -> (Duration, Duration) {
    let mut wait = |field: &str, default: TimeDelta| {
        let wait = object.span(field, context).unwrap_or(default);
        if wait > MOST {
            let words = format!("a job waits {} days at most", MOST.num_days());
            context.report(Diagnostic::new(DiagnosticCode::OutOfRange, object.at(field), words));
        }
        wait
    };
    let poll_wait = wait("poll_wait", POLL_WAIT);
    let max_wait = wait("max_wait", MAX_WAIT.max(poll_wait).min(MOST));
    if object.has("max_wait") && max_wait < poll_wait {
        context.conflict(object.at("max_wait"), "max_wait is less than poll_wait");
    }
    (poll_wait.to_std().unwrap_or_default(), max_wait.to_std().unwrap_or_default())
}
