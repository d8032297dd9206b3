//! An async job of the upstream's: submitted once, polled until it is done, then downloaded.
//!
//! In: a beginning, or what came for the step of it that is under way. Out: how far it came; between polls the run is handed
//! back, so that a job holds no executor. It never submits twice what a checkpoint knows to be submitted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use orchid_plan::{AsyncJob, EvalEnv, Expr, ScopeName, StepAction, Value};

use crate::checkpoint::deferred_writes::DeferredWrites;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{RawJson, decode_or_null, decode_value, encode_map, encode_unless_null};
use crate::checkpoint::prune::prune;
use crate::checkpoint::step_state::{AsyncJobPhase, AsyncJobState};
use crate::error::ErrorClass;
use crate::input::TimerId;
use crate::page::sub_steps::{PendingCancel, SubSteps};
use crate::program::node::{AsyncJobNodes, StepNode};
use crate::rules::repeat_guard::fingerprint;
use crate::state::context;
use crate::state::deferred_writes;
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::event::StepEvent;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::location::StepLocation;
use crate::state::status::{DeferredWait, StepStatus};
use crate::state::step_env::StepEnv;
use crate::step::execution::StepExecution;
use crate::step::variables;
use crate::tree::cancel_scope::CancelScope;

/// A shorter wait between polls is not worth handing the run back.
const SHORT: Duration = Duration::from_secs(1);

/// A job in one place.
pub(crate) struct AsyncJobExecution<S> {
    node: Arc<StepNode>,
    item: Option<u64>,
    asked: bool,
    phase: JobPhase<S>,
    /// What the job's own steps see; none before it begins.
    inner: Option<Box<StepEnv>>,
    /// Polls so far, and the answer of the last one.
    polls: u64,
    last_poll: Value,
    /// When the submit was answered.
    since: Option<DateTime<Utc>>,
    /// When the next poll is due.
    due: Option<DateTime<Utc>>,
    /// What the last download left.
    latest: Value,
    gathered: Vec<Bytes>,
    /// What `cancel` reads of what is around the job, while that has not begun again.
    around: Option<CancelScope>,
}

/// What a job does.
enum JobPhase<S> {
    Submit(Box<StepExecution<S>>),
    /// For its next poll.
    Wait,
    Waiting(TimerId),
    Poll(Box<StepExecution<S>>),
    Download(Box<S>),
    /// It took too long: the upstream is told, then the step fails.
    GiveUp(Box<StepExecution<S>>),
    Over,
}

impl<S: SubSteps> AsyncJobExecution<S> {
    pub(crate) fn new(node: &Arc<StepNode>, item: Option<u64>) -> Self {
        let phase = node
            .job
            .as_ref()
            .map_or(JobPhase::Over, |job| JobPhase::Submit(Box::new(StepExecution::new(&job.submit, None))));
        Self {
            node: node.clone(),
            item,
            asked: false,
            phase,
            inner: None,
            polls: 0,
            last_poll: Value::null(),
            since: None,
            due: None,
            latest: Value::null(),
            gathered: Vec::new(),
            around: None,
        }
    }

    pub(crate) fn resume(
        node: &Arc<StepNode>,
        item: Option<u64>,
        env: &StepEnv,
        place: AsyncJobState,
        lists: &BTreeMap<String, Value>,
    ) -> Result<Self, CheckpointError> {
        let bad = CheckpointError::invalid;
        let time = |ms: Option<i64>| {
            ms.map(|ms| DateTime::from_timestamp_millis(ms).ok_or_else(|| bad("a time of its job is none")))
                .transpose()
        };
        let mut job = Self::new(node, item);
        let nodes = node.job.as_ref().ok_or_else(|| bad("its step is no job in the plan"))?;
        let mut inner = job.inner_env(env);
        for (id, value) in &place.finished {
            inner.finished.insert(id, decode_value(value)?);
        }
        let (writes, cursors) = deferred_writes::decode(place.deferred);
        inner.merge(writes).map_err(|error| CheckpointError::Json(error.to_string()))?;
        inner.cursors = cursors;
        let step = |node: &Arc<StepNode>, page: u64| match place.step.clone() {
            Some(step) => StepExecution::resume(node, None, *step).map(Box::new),
            None => Ok(Box::new(StepExecution::at_page(node, page))),
        };
        job.phase = match place.phase {
            AsyncJobPhase::Submit => JobPhase::Submit(step(&nodes.submit, 0)?),
            AsyncJobPhase::Wait => JobPhase::Wait,
            AsyncJobPhase::Poll => JobPhase::Poll(step(&nodes.poll, place.polls)?),
            AsyncJobPhase::Download => match place.download {
                Some(download) => {
                    let env = download_env(&inner);
                    JobPhase::Download(Box::new(S::resume(&nodes.download, env, *download, lists)?))
                }
                None => return Err(bad("its download has no place")),
            },
        };
        (job.asked, job.polls, job.inner) = (place.entered, place.polls, Some(Box::new(inner)));
        (job.since, job.due) = (time(place.submitted_ms)?, time(place.due_ms)?);
        job.last_poll = decode_or_null(place.last_poll.as_deref())?;
        job.around = place.cancel_scope.as_ref().map(CancelScope::resume).transpose()?;
        Ok(job)
    }

    pub(crate) fn state(&self, whole: bool) -> Result<AsyncJobState, CheckpointError> {
        let (phase, step) = match &self.phase {
            JobPhase::Submit(step) => (AsyncJobPhase::Submit, Some(Box::new(step.state(whole)?))),
            JobPhase::Poll(step) => (AsyncJobPhase::Poll, Some(Box::new(step.state(whole)?))),
            JobPhase::Wait | JobPhase::Waiting(_) | JobPhase::GiveUp(_) | JobPhase::Over => {
                (AsyncJobPhase::Wait, None)
            }
            JobPhase::Download(_) => (AsyncJobPhase::Download, None),
        };
        let download = match &self.phase {
            JobPhase::Download(sequence) => Some(Box::new(sequence.state(whole)?)),
            _ => None,
        };
        let finished = self.inner.iter().flat_map(|inner| inner.finished.own());
        let finished: BTreeMap<String, Value> =
            finished.map(|(id, value)| (id.to_owned(), value.clone())).collect();
        let carried = match &self.inner {
            Some(inner) => deferred_writes::encode(&inner.writes, &inner.cursors)?,
            None => DeferredWrites::default(),
        };
        Ok(AsyncJobState {
            entered: self.asked,
            phase,
            polls: self.polls,
            submitted_ms: self.since.map(|since| since.timestamp_millis()),
            due_ms: self.due.map(|due| due.timestamp_millis()),
            last_poll: self.last_poll()?,
            finished: encode_map(&finished)?,
            step,
            download,
            deferred: carried,
            cancel_scope: self.around().as_ref().map(CancelScope::state).transpose()?,
        })
    }

    /// What the next poll reads of the last one's answer.
    fn last_poll(&self) -> Result<Option<RawJson>, CheckpointError> {
        let paths = self.node.job.as_ref().and_then(|job| job.poll.needs.carried.as_deref());
        let latest = prune(&self.last_poll, paths);
        encode_unless_null(&latest)
    }

    /// What `cancel` reads of what is around the job; none where there is nothing around, or nothing to cancel.
    fn around(&self) -> Option<CancelScope> {
        let cancel = self.node.job.as_ref().and_then(|job| job.cancel.as_ref());
        let (Some(inner), Some(cancel), true) = (&self.inner, cancel, self.works_upstream()) else {
            return None;
        };
        let anything = !inner.items.is_empty() || inner.nesting > 1;
        self.around.clone().or_else(|| anything.then(|| CancelScope::of(inner, &cancel.step)))
    }

    pub(crate) fn start(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        if !self.asked {
            if let Some(condition) = &self.node.step.execute_if {
                let runs = condition
                    .is_true(
                        &variables::enclosing_with_meta(cx.run, env, &self.node),
                        &self.eval_env(cx, env),
                    )
                    .map_err(|error| {
                        let pointer = format!("{}/execute_if", self.node.step.pointer);
                        self.fault(cx, env, ErrorDetail::expression(pointer, &error))
                    })?;
                if !runs {
                    return Ok(StepStatus::Skipped);
                }
            }
            self.asked = true;
        }
        self.around = None;
        let mut inner = match self.inner.take() {
            Some(inner) => inner,
            None => Box::new(self.inner_env(env)),
        };
        let flow = match &mut self.phase {
            JobPhase::Submit(step) | JobPhase::Poll(step) | JobPhase::GiveUp(step) => {
                step.start(cx, &mut inner)
            }
            JobPhase::Download(sequence) => sequence.start(cx),
            JobPhase::Wait | JobPhase::Waiting(_) => self.poll_when_due(cx, &mut inner),
            JobPhase::Over => Ok(StepStatus::Done),
        };
        self.inner = Some(inner);
        self.proceed(cx, env, flow)
    }

    pub(crate) fn deliver(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        route: &[u64],
        event: StepEvent,
    ) -> Result<StepStatus, StepExit> {
        let Some(mut inner) = self.inner.take() else { return Ok(StepStatus::InFlight) };
        let flow = match (&mut self.phase, event) {
            (JobPhase::Submit(step) | JobPhase::Poll(step) | JobPhase::GiveUp(step), event) => {
                step.deliver(cx, &mut inner, route, event)
            }
            (JobPhase::Download(sequence), event) => sequence.deliver(cx, route, event),
            (JobPhase::Waiting(waiting), StepEvent::TimerFired { timer_id }) if *waiting == timer_id => {
                self.poll(cx, &mut inner)
            }
            (JobPhase::Wait, _) => Ok(self.due.map_or(StepStatus::InFlight, |due| self.idle(cx, due))),
            (JobPhase::Waiting(_) | JobPhase::Over, _) => Ok(StepStatus::InFlight),
        };
        self.inner = Some(inner);
        self.proceed(cx, env, flow)
    }

    /// Goes on from what the step under way came to.
    fn proceed(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut flow: Result<StepStatus, StepExit>,
    ) -> Result<StepStatus, StepExit> {
        loop {
            let skipped = match flow {
                Ok(flow @ (StepStatus::InFlight | StepStatus::Deferred(_))) => return Ok(flow),
                Ok(StepStatus::Done) => false,
                Ok(StepStatus::Skipped) => true,
                Err(_) if matches!(self.phase, JobPhase::GiveUp(_)) => false,
                Err(halt) => return Err(halt),
            };
            let Some(mut inner) = self.inner.take() else { return Ok(StepStatus::Done) };
            let phase = std::mem::replace(&mut self.phase, JobPhase::Over);
            cx.run.moved |= env.durable;
            let next = match phase {
                JobPhase::Submit(step) => self.submitted(cx, &mut inner, &step, skipped),
                JobPhase::Poll(step) => self.polled(cx, env, &mut inner, *step),
                JobPhase::Download(sequence) => {
                    self.downloaded(&mut inner, *sequence);
                    Ok(None)
                }
                JobPhase::GiveUp(_) => Err(self.gave_up(cx, env)),
                JobPhase::Wait | JobPhase::Waiting(_) | JobPhase::Over => Ok(None),
            };
            self.inner = Some(inner);
            match next? {
                Some(next) => flow = Ok(next),
                None => return self.over(cx, env),
            }
        }
    }

    /// Hands on what its steps wrote.
    fn over(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        if let Some(inner) = &mut self.inner {
            let writes = std::mem::take(&mut inner.writes);
            env.merge(writes).map_err(|error| {
                self.fault(cx, env, ErrorDetail::context(self.node.step.pointer.clone(), &error))
            })?;
        }
        let cursors = self.inner.as_mut().map(|inner| std::mem::take(&mut inner.cursors));
        cursors.into_iter().flatten().for_each(|cursor| cx.save_cursor(env, cursor.into()));
        Ok(if self.since.is_some() { StepStatus::Done } else { StepStatus::Skipped })
    }

    /// None: there is nothing to poll.
    fn submitted(
        &mut self,
        cx: &mut EngineCx<'_>,
        inner: &mut StepEnv,
        step: &StepExecution<S>,
        skipped: bool,
    ) -> Result<Option<StepStatus>, StepExit> {
        if skipped || step.is_ignored() {
            return Ok(None);
        }
        keep(inner, "submit", step);
        self.since = Some(cx.now.wall);
        self.wait(cx).map(Some)
    }

    fn polled(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &StepEnv,
        inner: &mut StepEnv,
        mut step: StepExecution<S>,
    ) -> Result<Option<StepStatus>, StepExit> {
        let StepAction::Job(job) = &self.node.step.clone().action else { return Ok(None) };
        // What is asked about it is asked within its pass.
        self.polls = step.rewind_to(self.polls);
        let before = std::mem::replace(&mut self.last_poll, step.position().latest.clone());
        keep(inner, "poll", &step);
        if !step.is_ignored() {
            let holds = |expr: &Expr, field: &str| {
                let scope = variables::for_request(cx.run, inner, step.position())
                    .with(ScopeName::Prev, before.clone());
                expr.is_true(&scope, &variables::eval_env(cx.run, inner, step.position(), cx.now)).map_err(
                    |error| {
                        step.error(
                            cx,
                            inner,
                            ErrorDetail::expression(format!("{}/{field}", job.pointer), &error),
                        )
                    },
                )
            };
            if let Some(failed) = &job.failed_when
                && holds(failed, "failed_when")?
            {
                let what = ErrorDetail {
                    class: ErrorClass::Permanent,
                    code: "JOB_FAILED",
                    pointer: format!("{}/failed_when", job.pointer),
                    message: format!(
                        "the upstream's job failed, as poll {} says",
                        self.polls.saturating_sub(1)
                    ),
                };
                return Err(step.judged_error(cx, inner, what));
            }
            if holds(&job.done_when, "done_when")? {
                return self.download(cx, inner);
            }
        }
        if self.is_late(cx, job) {
            return self.give_up(cx, env, inner);
        }
        self.wait(cx).map(Some)
    }

    fn download(
        &mut self,
        cx: &mut EngineCx<'_>,
        inner: &mut StepEnv,
    ) -> Result<Option<StepStatus>, StepExit> {
        let node = self.node.clone();
        let Some(nodes) = &node.job else { return Ok(None) };
        let Some(mut sequence) = S::begin(&nodes.download, download_env(inner)) else {
            return Ok(None);
        };
        let flow = sequence.start(cx);
        self.phase = JobPhase::Download(Box::new(sequence));
        flow.map(Some)
    }

    fn downloaded(&mut self, inner: &mut StepEnv, downloads: S) {
        let (value, rows, env) = downloads.into_results();
        (self.latest, self.gathered) = (value, rows);
        let StepEnv { mut writes, cursors, .. } = env;
        context::append(&mut inner.writes, &mut writes);
        inner.cursors.extend(cursors);
    }

    /// Waits for the next poll: where it is worth it, the run is handed back meanwhile. The first wait always is: it saves the
    /// submit's answer.
    fn wait(&mut self, cx: &mut EngineCx<'_>) -> Result<StepStatus, StepExit> {
        let StepAction::Job(job) = &self.node.step.action else { return Ok(StepStatus::Done) };
        self.due = Some(cx.now.wall + job.poll_wait);
        if self.polls > 0 && job.poll_wait < SHORT {
            self.phase = JobPhase::Waiting(cx.start_timer(job.poll_wait));
            return Ok(StepStatus::InFlight);
        }
        self.phase = JobPhase::Wait;
        Ok(self.idle(cx, cx.now.wall + job.poll_wait))
    }

    fn idle(&self, cx: &mut EngineCx<'_>, due: DateTime<Utc>) -> StepStatus {
        cx.run.parking = true;
        let reason = format!("the upstream's job of {}", self.node.path);
        StepStatus::Deferred(DeferredWait::until(due, reason))
    }

    fn poll_when_due(&mut self, cx: &mut EngineCx<'_>, inner: &mut StepEnv) -> Result<StepStatus, StepExit> {
        match self.due {
            Some(due) if due > cx.now.wall => {
                let left = (due - cx.now.wall).to_std().unwrap_or_default();
                if left < SHORT {
                    self.phase = JobPhase::Waiting(cx.start_timer(left));
                    return Ok(StepStatus::InFlight);
                }
                Ok(self.idle(cx, due))
            }
            Some(_) | None => self.poll(cx, inner),
        }
    }

    fn poll(&mut self, cx: &mut EngineCx<'_>, inner: &mut StepEnv) -> Result<StepStatus, StepExit> {
        let node = self.node.clone();
        let Some(nodes) = &node.job else { return Ok(StepStatus::Done) };
        self.due = None;
        let latest = self.last_poll.clone();
        let mut step = StepExecution::poll(&nodes.poll, self.polls, latest);
        let flow = step.start(cx, inner);
        self.phase = JobPhase::Poll(Box::new(step));
        flow
    }

    fn is_late(&self, cx: &EngineCx<'_>, job: &AsyncJob) -> bool {
        self.since.is_some_and(|since| (cx.now.wall - since).to_std().unwrap_or_default() >= job.max_wait)
    }

    /// Tells the upstream that nobody waits any more, where the plan says how.
    fn give_up(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &StepEnv,
        inner: &mut StepEnv,
    ) -> Result<Option<StepStatus>, StepExit> {
        let node = self.node.clone();
        let Some(cancel) = node.job.as_ref().and_then(|job: &AsyncJobNodes| job.cancel.as_ref()) else {
            return Err(self.gave_up(cx, env));
        };
        let mut step = StepExecution::new(cancel, None);
        let flow = step.start(cx, inner);
        self.phase = JobPhase::GiveUp(Box::new(step));
        Ok(Some(flow.unwrap_or(StepStatus::Done)))
    }

    fn gave_up(&self, cx: &EngineCx<'_>, env: &StepEnv) -> StepExit {
        let what = ErrorDetail {
            class: ErrorClass::Transient,
            code: "JOB_TIMEOUT",
            pointer: format!("{}/async_job/max_wait", self.node.step.pointer),
            message: "the upstream's job was not done within max_wait".to_owned(),
        };
        self.fault(cx, env, what)
    }

    /// The step that tells the upstream that nobody waits any more, and what it sees; none where nothing was submitted, where
    /// the job is done, or where the plan names no such step.
    pub(crate) fn take_cancel(&mut self, env: &StepEnv) -> Option<PendingCancel> {
        if !self.works_upstream() {
            return None;
        }
        let cancel = self.node.job.as_ref()?.cancel.clone()?;
        self.phase = JobPhase::Over;
        let mut inner = self.inner.take().map_or_else(|| self.inner_env(env), |inner| *inner);
        if let Some(around) = self.around.take() {
            around.apply(&mut inner);
        }
        Some(PendingCancel { env: inner, node: cancel })
    }

    /// The upstream works for it, and can be told to stop.
    pub(crate) fn works_upstream(&self) -> bool {
        let submitted = match &self.phase {
            JobPhase::Wait | JobPhase::Waiting(_) | JobPhase::Poll(_) => self.since.is_some(),
            JobPhase::Submit(_) | JobPhase::Download(_) | JobPhase::GiveUp(_) | JobPhase::Over => false,
        };
        submitted && self.node.job.as_ref().is_some_and(|job| job.cancel.is_some())
    }

    pub(crate) fn take_results(&mut self) -> (Value, Vec<Bytes>) {
        (std::mem::replace(&mut self.latest, Value::null()), std::mem::take(&mut self.gathered))
    }

    pub(crate) fn flush(&mut self, cx: &mut EngineCx<'_>) {
        if let JobPhase::Download(sequence) = &mut self.phase {
            sequence.flush(cx);
        }
    }

    pub(crate) fn location(&self, env: &StepEnv) -> StepLocation {
        let (prefix, id) = (&env.prefix, &self.node.step.id);
        let path = match self.item {
            Some(item) => format!("{prefix}{id}[{item}]#0"),
            None => format!("{prefix}{id}#0"),
        };
        StepLocation { node: self.node.index, path, page: 0, retries: 0 }
    }

    fn inner_env(&self, env: &StepEnv) -> StepEnv {
        env.below(format!("{}.", self.location(env).path), true)
    }

    fn fault(&self, cx: &EngineCx<'_>, env: &StepEnv, what: ErrorDetail) -> StepExit {
        StepError::new(&cx.run.redactor, self.location(env), what, ErrorContext::default()).into()
    }

    fn eval_env(&self, cx: &EngineCx<'_>, env: &StepEnv) -> EvalEnv {
        let seed = fingerprint(&[&cx.run.seed.to_be_bytes(), self.location(env).path.as_bytes()]);
        EvalEnv::new(cx.now.wall, seed)
    }
}

/// What others of the job's steps read of one.
fn keep<S: SubSteps>(inner: &mut StepEnv, id: &str, step: &StepExecution<S>) {
    let paths = step.position().node.needs.finished.as_deref();
    if paths.is_none_or(|paths| !paths.is_empty()) {
        inner.finished.insert(id, prune(&step.position().latest, paths));
    }
}

/// What downloads see: on the level of the other steps, with writes of their own.
fn download_env(inner: &StepEnv) -> StepEnv {
    let mut env = inner.below(inner.prefix.clone(), true);
    env.nesting = inner.nesting;
    env
}
