//! An async job of the upstream's: submitted once, polled until it is done, then downloaded.
//!
//! In: a beginning, or what came for the step of it that is under way. Out: how far it came; between polls the run is handed
//! back, so that a job holds no executor. It never submits twice what a checkpoint knows to be submitted.

mod state;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use orchid_plan::{AsyncJob, Expr, ScopeName, StepAction, Value};

use crate::checkpoint::prune::prune;
use crate::error::ErrorClass;
use crate::input::TimerId;
use crate::program::node::{AsyncJobNodes, StepNode};
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::event::StepEvent;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::location::StepLocation;
use crate::state::status::{DeferredWait, StepStatus};
use crate::state::step_env::StepEnv;
use crate::step::execution::StepExecution;
use crate::step::variables as scope;
use crate::tree::cancel_scope::CancelScope;
use crate::tree::sequence::StepSequence;

/// A shorter wait between polls is not worth handing the run back.
const SHORT: Duration = Duration::from_secs(1);

/// A job in one place.
pub(crate) struct AsyncJobExecution {
    node: Arc<StepNode>,
    item: Option<u64>,
    asked: bool,
    phase: JobPhase,
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
enum JobPhase {
    Submit(Box<StepExecution>),
    /// For its next poll.
    Wait,
    Waiting(TimerId),
    Poll(Box<StepExecution>),
    Download(Box<StepSequence>),
    /// It took too long: the upstream is told, then the step fails.
    GiveUp(Box<StepExecution>),
    Over,
}

impl AsyncJobExecution {
    pub(crate) fn new(node: &Arc<StepNode>, item: Option<u64>) -> AsyncJobExecution {
        let phase = node
            .job
            .as_ref()
            .map_or(JobPhase::Over, |job| JobPhase::Submit(Box::new(StepExecution::new(&job.submit, None))));
        AsyncJobExecution {
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

    pub(crate) fn start(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        if !self.asked {
            if let Some(condition) = &self.node.step.execute_if {
                let runs = condition
                    .is_true(&scope::around_with_meta(cx.run, env, &self.node), &self.eval_env(cx, env))
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
        step: &StepExecution,
        skipped: bool,
    ) -> Result<Option<StepStatus>, StepExit> {
        if skipped || step.ignored {
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
        mut step: StepExecution,
    ) -> Result<Option<StepStatus>, StepExit> {
        let StepAction::Job(job) = &self.node.step.clone().action else { return Ok(None) };
        // What is asked about it is asked within its pass.
        self.polls = std::mem::replace(&mut step.page, self.polls);
        let before = std::mem::replace(&mut self.last_poll, step.latest.clone());
        keep(inner, "poll", &step);
        if !step.ignored {
            let holds = |expr: &Expr, field: &str| {
                let scope = scope::rendering(cx.run, inner, &step).with(ScopeName::Prev, before.clone());
                expr.is_true(&scope, &scope::eval_env(cx.run, inner, &step, cx.now)).map_err(|error| {
                    step.plain_fault(
                        cx,
                        inner,
                        ErrorDetail::expression(format!("{}/{field}", job.pointer), &error),
                    )
                })
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
                return Err(judged_fault(cx, inner, &step, what));
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
        let Some(mut sequence) = StepSequence::new(&nodes.download, download_env(inner)) else {
            return Ok(None);
        };
        let flow = sequence.start(cx);
        self.phase = JobPhase::Download(Box::new(sequence));
        flow.map(Some)
    }

    fn downloaded(&mut self, inner: &mut StepEnv, sequence: StepSequence) {
        let (value, rows, env) = sequence.into_last();
        (self.latest, self.gathered) = (value, rows);
        let StepEnv { mut writes, cursors, .. } = env;
        crate::state::context::append(&mut inner.writes, &mut writes);
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
        let mut step = StepExecution {
            page: self.polls,
            base: self.polls,
            latest,
            ..StepExecution::new(&nodes.poll, None)
        };
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
    pub(crate) fn abandon(&mut self, env: &StepEnv) -> Option<(StepEnv, StepExecution)> {
        if !self.works_upstream() {
            return None;
        }
        let cancel = self.node.job.as_ref()?.cancel.clone()?;
        self.phase = JobPhase::Over;
        let mut inner = self.inner.take().map_or_else(|| self.inner_env(env), |inner| *inner);
        if let Some(around) = self.around.take() {
            around.lay(&mut inner);
        }
        Some((inner, StepExecution::new(&cancel, None)))
    }

    /// The upstream works for it, and can be told to stop.
    pub(crate) fn works_upstream(&self) -> bool {
        let submitted = match &self.phase {
            JobPhase::Wait | JobPhase::Waiting(_) | JobPhase::Poll(_) => self.since.is_some(),
            JobPhase::Submit(_) | JobPhase::Download(_) | JobPhase::GiveUp(_) | JobPhase::Over => false,
        };
        submitted && self.node.job.as_ref().is_some_and(|job| job.cancel.is_some())
    }

    pub(crate) fn leave(&mut self) -> (Value, Vec<Bytes>) {
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

    fn eval_env(&self, cx: &EngineCx<'_>, env: &StepEnv) -> orchid_plan::EvalEnv {
        let seed = crate::rules::repeat_guard::fingerprint(&[
            &cx.run.seed.to_be_bytes(),
            self.location(env).path.as_bytes(),
        ]);
        orchid_plan::EvalEnv::new(cx.now.wall, seed)
    }
}

/// What others of the job's steps read of one.
fn keep(inner: &mut StepEnv, id: &str, step: &StepExecution) {
    let paths = step.node.needs.finished.as_deref();
    if paths.is_none_or(|paths| !paths.is_empty()) {
        inner.finished.insert(id, prune(&step.latest, paths));
    }
}

/// A fault about the answer of a poll.
fn judged_fault(cx: &EngineCx<'_>, inner: &StepEnv, step: &StepExecution, what: ErrorDetail) -> StepExit {
    let about = match step.judged.as_deref() {
        Some((sent, answer, body)) => {
            ErrorContext { sent: Some(sent), response: Some(answer), body: Some(body.clone()) }
        }
        None => ErrorContext::default(),
    };
    StepError::new(&cx.run.redactor, step.location(inner), what, about).into()
}

/// What downloads see: on the level of the other steps, with writes of their own.
fn download_env(inner: &StepEnv) -> StepEnv {
    let mut env = inner.below(inner.prefix.clone(), true);
    env.nesting = inner.nesting;
    env
}
