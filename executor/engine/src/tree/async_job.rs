//! An async job of an upstream: submitted once, polled until it is done, then downloaded.
//!
//! Between polls the execution is parked, so that a job occupies no executor. A job that a
//! checkpoint knows to be submitted is never submitted again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use orchid_plan::{EvalEnv, StepAction, Value};
use url::Url;

use crate::checkpoint::deferred_writes::DeferredWrites;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{RawJson, decode_or_null, decode_value, encode_map, encode_unless_null};
use crate::checkpoint::prune::prune;
use crate::checkpoint::step_state::AsyncJobState;
use crate::output::Output;
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
use crate::tree::cancel_scope::CancelScope;
use crate::tree::job_parts::{self, PollVerdict};
use crate::tree::job_phase::{JobPhase, JobPhaseState};
use crate::tree::poll_schedule::{PollSchedule, PollWait};

/// An async job in progress.
pub(crate) struct AsyncJobExecution<S> {
    node: Arc<StepNode>,
    item: Option<u64>,
    /// True if `execute_if` was evaluated, and was true.
    entered: bool,
    phase: JobPhase<S>,
    /// Environment of the job's own steps; `None` before it starts.
    inner: Option<Box<StepEnv>>,
    schedule: PollSchedule,
    /// Response of the last poll.
    last_poll: Value,
    /// Response of the last download.
    latest: Value,
    /// Rows of the last download that the enclosing row carries.
    gathered: Vec<Bytes>,
    /// Values around the job that its `cancel` reads, out of a checkpoint, until the job starts
    /// again.
    cancel_scope: Option<CancelScope>,
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
            entered: false,
            phase,
            inner: None,
            last_poll: Value::null(),
            schedule: PollSchedule::default(),
            latest: Value::null(),
            gathered: Vec::new(),
            cancel_scope: None,
        }
    }

    pub(crate) fn resume(
        node: &Arc<StepNode>,
        item: Option<u64>,
        env: &StepEnv,
        state: AsyncJobState,
        lists: &BTreeMap<String, Value>,
    ) -> Result<Self, CheckpointError> {
        let invalid = CheckpointError::invalid;
        let mut job = Self::new(node, item);
        let nodes = node.job.as_ref().ok_or_else(|| invalid("its step is no job in the plan"))?;
        let mut inner = job.inner_env(env);
        for (id, value) in &state.finished {
            inner.finished.insert(id, decode_value(value)?);
        }
        let (writes, cursors) = deferred_writes::decode(state.deferred);
        inner.merge(writes).map_err(|error| CheckpointError::Json(error.to_string()))?;
        inner.cursors = cursors;
        let base_url = state.base_url.as_deref().map(Url::parse).transpose();
        inner.base_url = base_url.map_err(|_| invalid("base is no url"))?.map(Arc::new);
        let phase = JobPhaseState { phase: state.phase, step: state.step, download: state.download };
        job.phase = JobPhase::resume(nodes, phase, state.polls, &inner, lists)?;
        (job.entered, job.inner) = (state.entered, Some(Box::new(inner)));
        job.schedule = PollSchedule::resume(state.polls, state.submitted_ms, state.due_ms)?;
        job.last_poll = decode_or_null(state.last_poll.as_deref())?;
        job.cancel_scope = state.cancel_scope.as_ref().map(CancelScope::resume).transpose()?;
        Ok(job)
    }

    pub(crate) fn state(&self, whole: bool) -> Result<AsyncJobState, CheckpointError> {
        let JobPhaseState { phase, step, download } = self.phase.state(whole)?;
        let finished = self.inner.iter().flat_map(|inner| inner.finished.own());
        let finished: BTreeMap<String, Value> =
            finished.map(|(id, value)| (id.to_owned(), value.clone())).collect();
        let deferred = match &self.inner {
            Some(inner) => deferred_writes::encode(&inner.writes, &inner.cursors)?,
            None => DeferredWrites::default(),
        };
        Ok(AsyncJobState {
            entered: self.entered,
            phase,
            polls: self.schedule.polls,
            submitted_ms: self.schedule.submitted().map(|time| time.timestamp_millis()),
            base_url: self.inner.as_ref().and_then(|inner| inner.base_url.as_deref()).map(Url::to_string),
            due_ms: self.schedule.due().map(|due| due.timestamp_millis()),
            last_poll: self.last_poll()?,
            finished: encode_map(&finished)?,
            step,
            download,
            deferred,
            cancel_scope: self.cancel_scope().as_ref().map(CancelScope::state).transpose()?,
        })
    }

    /// Returns the parts of the last poll's response that the next poll reads.
    fn last_poll(&self) -> Result<Option<RawJson>, CheckpointError> {
        let paths = self.node.job.as_ref().and_then(|job| job.poll.needs.carried.as_deref());
        let latest = prune(&self.last_poll, paths);
        encode_unless_null(&latest)
    }

    /// Returns the values around the job that `cancel` reads; `None` if there are none, or there is
    /// nothing to cancel.
    fn cancel_scope(&self) -> Option<CancelScope> {
        let cancel = self.node.job.as_ref().and_then(|job| job.cancel.as_ref());
        let (Some(inner), Some(cancel), true) = (&self.inner, cancel, self.works_upstream()) else {
            return None;
        };
        // A job at the top level has nothing around it that is not part of the checkpoint anyway.
        let anything = !inner.items.is_empty() || inner.nesting > 1;
        self.cancel_scope.clone().or_else(|| anything.then(|| CancelScope::of(inner, &cancel.step)))
    }

    pub(crate) fn start(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        if !self.entered {
            let entered = job_parts::enters(cx, env, &self.node, &self.eval_env(cx, env));
            if !entered.map_err(|detail| self.error(cx, env, detail))? {
                return Ok(StepStatus::Skipped);
            }
            self.entered = true;
        }
        self.cancel_scope = None;
        let mut inner = match self.inner.take() {
            Some(inner) => inner,
            None => Box::new(self.inner_env(env)),
        };
        let status = match &mut self.phase {
            JobPhase::Submit(step)
            | JobPhase::Poll(step)
            | JobPhase::Result(step)
            | JobPhase::GiveUp(step) => step.start(cx, &mut inner),
            JobPhase::Download(downloads) => downloads.start(cx),
            JobPhase::Wait | JobPhase::Waiting(_) => {
                let wait = self.schedule.remaining(cx.now.wall);
                self.wait_for_poll(cx, &mut inner, wait)
            }
            JobPhase::Over => Ok(StepStatus::Done),
        };
        self.inner = Some(inner);
        self.proceed(cx, env, status)
    }

    pub(crate) fn deliver(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        route: &[u64],
        event: StepEvent,
    ) -> Result<StepStatus, StepExit> {
        // The surroundings are taken out so that the active step can borrow them mutably.
        let Some(mut inner) = self.inner.take() else { return Ok(StepStatus::InFlight) };
        let status = match (&mut self.phase, event) {
            (
                JobPhase::Submit(step)
                | JobPhase::Poll(step)
                | JobPhase::Result(step)
                | JobPhase::GiveUp(step),
                event,
            ) => step.deliver(cx, &mut inner, route, event),
            (JobPhase::Download(downloads), event) => downloads.deliver(cx, route, event),
            (JobPhase::Waiting(waiting), StepEvent::TimerFired { timer_id }) if *waiting == timer_id => {
                self.poll(cx, &mut inner)
            }
            (JobPhase::Wait, _) => {
                Ok(self.schedule.due().map_or(StepStatus::InFlight, |due| self.idle(cx, due)))
            }
            (JobPhase::Waiting(_) | JobPhase::Over, _) => Ok(StepStatus::InFlight),
        };
        self.inner = Some(inner);
        self.proceed(cx, env, status)
    }

    /// Continues from what the job's step in progress came to.
    fn proceed(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut status: Result<StepStatus, StepExit>,
    ) -> Result<StepStatus, StepExit> {
        loop {
            let skipped = match status {
                Ok(status @ (StepStatus::InFlight | StepStatus::Deferred(_))) => return Ok(status),
                Ok(StepStatus::Done) => false,
                Ok(StepStatus::Skipped) => true,
                // The step fails with JOB_TIMEOUT anyway; an error of the cancel request would only
                // hide that.
                Err(_) if matches!(self.phase, JobPhase::GiveUp(_)) => false,
                Err(halt) => return Err(halt),
            };
            let Some(mut inner) = self.inner.take() else { return Ok(StepStatus::Done) };
            let phase = std::mem::replace(&mut self.phase, JobPhase::Over);
            // Every phase change is worth a checkpoint, submission above all.
            cx.run.moved |= env.durable;
            let next = match phase {
                JobPhase::Submit(step) => self.submitted(cx, &mut inner, &step, skipped),
                // The body of the result broke off, and was fetched again.
                JobPhase::Result(step) if step.latest().is_holding() => {
                    self.polled(cx, env, &mut inner, *step)
                }
                JobPhase::Poll(step) => self.polled(cx, env, &mut inner, *step),
                JobPhase::Result(mut step) => {
                    (self.latest, self.gathered) = step.take_results();
                    Ok(None)
                }
                JobPhase::Download(downloads) => {
                    self.downloaded(&mut inner, *downloads);
                    Ok(None)
                }
                JobPhase::GiveUp(_) => Err(self.gave_up(cx, env)),
                JobPhase::Wait | JobPhase::Waiting(_) | JobPhase::Over => Ok(None),
            };
            self.inner = Some(inner);
            match next? {
                Some(next) => status = Ok(next),
                None => return self.over(cx, env),
            }
        }
    }

    /// Passes the writes of the job's steps on.
    fn over(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        if let Some(inner) = &mut self.inner {
            let writes = std::mem::take(&mut inner.writes);
            env.merge(writes).map_err(|error| {
                self.error(cx, env, ErrorDetail::context(self.node.step.pointer.clone(), &error))
            })?;
        }
        let cursors = self.inner.as_mut().map(|inner| std::mem::take(&mut inner.cursors));
        cursors.into_iter().flatten().for_each(|cursor| cx.save_cursor(env, cursor.into()));
        Ok(if self.schedule.submitted().is_some() { StepStatus::Done } else { StepStatus::Skipped })
    }

    /// Returns `None` if there is nothing to poll.
    fn submitted(
        &mut self,
        cx: &mut EngineCx<'_>,
        inner: &mut StepEnv,
        step: &StepExecution<S>,
        skipped: bool,
    ) -> Result<Option<StepStatus>, StepExit> {
        // Without a successful submit there is no job, so the step ends without polling.
        if skipped || step.latest().is_ignored() {
            return Ok(None);
        }
        job_parts::keep_response(inner, "submit", step);
        self.schedule.submit(cx.now.wall);
        if self.node.job.as_ref().is_some_and(|job| job.needs_base) {
            inner.base_url = step.latest().judged().map(|submit| job_parts::base_url(&submit.url));
        }
        let status = self.wait(cx, inner, step);
        // A job emits nothing for a while, so no acknowledgement would lead to a checkpoint. Below
        // a row no checkpoint would contain the job.
        if inner.durable {
            cx.out.push(Output::SaveCheckpoint);
        }
        status.map(Some)
    }

    fn polled(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &StepEnv,
        inner: &mut StepEnv,
        mut step: StepExecution<S>,
    ) -> Result<Option<StepStatus>, StepExit> {
        let StepAction::Job(job) = &self.node.step.clone().action else { return Ok(None) };
        // The expressions about the poll are evaluated within its page.
        self.schedule.polls = step.rewind_to(self.schedule.polls);
        let before = std::mem::replace(&mut self.last_poll, Value::clone(&step.position().latest));
        job_parts::keep_response(inner, "poll", &step);
        if !step.latest().is_ignored() {
            match job_parts::judge(cx, inner, job, &step, &before)? {
                PollVerdict::Failed => {
                    let detail = job_parts::failed(job, self.schedule.polls);
                    return Err(step.judged_error(cx, inner, detail));
                }
                PollVerdict::Done if job.result_in_poll => return self.use_result(cx, inner, step),
                PollVerdict::Done => return self.download(cx, inner),
                PollVerdict::Pending => job_parts::drop_held(cx, inner, step.take_held()),
            }
        }
        if self.schedule.is_late(cx.now.wall, job.max_wait) {
            return self.give_up(cx, env, inner);
        }
        self.wait(cx, inner, &step).map(Some)
    }

    /// Emits the response to the last poll.
    fn use_result(
        &mut self,
        cx: &mut EngineCx<'_>,
        inner: &mut StepEnv,
        mut step: StepExecution<S>,
    ) -> Result<Option<StepStatus>, StepExit> {
        // Until it is emitted, an interruption makes the poll be sent again.
        self.schedule.polls = step.position().page;
        let Some(held) = step.take_held() else { return Ok(None) };
        let status = step.start_page(cx, inner, held.exchange);
        self.phase = JobPhase::Result(Box::new(step));
        status.map(Some)
    }

    fn download(
        &mut self,
        cx: &mut EngineCx<'_>,
        inner: &mut StepEnv,
    ) -> Result<Option<StepStatus>, StepExit> {
        let node = self.node.clone();
        let Some(nodes) = &node.job else { return Ok(None) };
        let Some(mut downloads) = S::begin(&nodes.download, job_parts::download_env(inner)) else {
            return Ok(None);
        };
        let status = downloads.start(cx);
        self.phase = JobPhase::Download(Box::new(downloads));
        status.map(Some)
    }

    fn downloaded(&mut self, inner: &mut StepEnv, downloads: S) {
        let (value, rows, env) = downloads.into_results();
        (self.latest, self.gathered) = (value, rows);
        let StepEnv { mut writes, cursors, .. } = env;
        context::append(&mut inner.writes, &mut writes);
        inner.cursors.extend(cursors);
    }

    /// Schedules the next poll, after the response to `step`.
    fn wait(
        &mut self,
        cx: &mut EngineCx<'_>,
        inner: &mut StepEnv,
        step: &StepExecution<S>,
    ) -> Result<StepStatus, StepExit> {
        let StepAction::Job(job) = &self.node.step.action else { return Ok(StepStatus::Done) };
        let asked = job_parts::asked_wait(cx, inner, step)?;
        let wait = self.schedule.schedule(cx.now.wall, job, asked);
        self.wait_for_poll(cx, inner, wait)
    }

    fn wait_for_poll(
        &mut self,
        cx: &mut EngineCx<'_>,
        inner: &mut StepEnv,
        wait: PollWait,
    ) -> Result<StepStatus, StepExit> {
        match wait {
            PollWait::Now => self.poll(cx, inner),
            PollWait::Timer(delay) => {
                self.phase = JobPhase::Waiting(cx.start_timer(delay));
                Ok(StepStatus::InFlight)
            }
            PollWait::Park(due) => {
                self.phase = JobPhase::Wait;
                Ok(self.idle(cx, due))
            }
        }
    }

    fn idle(&self, cx: &mut EngineCx<'_>, due: DateTime<Utc>) -> StepStatus {
        cx.run.parking = true;
        let reason = format!("the upstream's job of {}", self.node.path);
        StepStatus::Deferred(DeferredWait::until(due, reason))
    }

    fn poll(&mut self, cx: &mut EngineCx<'_>, inner: &mut StepEnv) -> Result<StepStatus, StepExit> {
        let node = self.node.clone();
        let Some(nodes) = &node.job else { return Ok(StepStatus::Done) };
        self.schedule.start_poll();
        let latest = self.last_poll.clone();
        let mut step = StepExecution::poll(&nodes.poll, self.schedule.polls, latest);
        let status = step.start(cx, inner);
        self.phase = JobPhase::Poll(Box::new(step));
        status
    }

    /// Cancels the job at the upstream, if the plan has a request for it.
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
        let status = step.start(cx, inner);
        self.phase = JobPhase::GiveUp(Box::new(step));
        Ok(Some(status.unwrap_or(StepStatus::Done)))
    }

    fn gave_up(&self, cx: &EngineCx<'_>, env: &StepEnv) -> StepExit {
        self.error(cx, env, job_parts::timed_out(&self.node.step))
    }

    /// Returns the cancel request, and what it reads; `None` if nothing was submitted, the job is
    /// done, or the plan has no such request.
    pub(crate) fn take_cancel(&mut self, env: &StepEnv) -> Option<PendingCancel> {
        if !self.works_upstream() {
            return None;
        }
        let cancel = self.node.job.as_ref()?.cancel.clone()?;
        self.phase = JobPhase::Over;
        let mut inner = self.inner.take().map_or_else(|| self.inner_env(env), |inner| *inner);
        if let Some(scope) = self.cancel_scope.take() {
            scope.apply(&mut inner);
        }
        Some(PendingCancel { env: inner, node: cancel })
    }

    /// Returns whether the upstream works on the job, and can cancel it.
    pub(crate) fn works_upstream(&self) -> bool {
        let submitted = match &self.phase {
            JobPhase::Wait | JobPhase::Waiting(_) | JobPhase::Poll(_) => self.schedule.submitted().is_some(),
            JobPhase::Submit(_)
            | JobPhase::Result(_)
            | JobPhase::Download(_)
            | JobPhase::GiveUp(_)
            | JobPhase::Over => false,
        };
        submitted && self.node.job.as_ref().is_some_and(|job| job.cancel.is_some())
    }

    pub(crate) fn take_results(&mut self) -> (Value, Vec<Bytes>) {
        (std::mem::replace(&mut self.latest, Value::null()), std::mem::take(&mut self.gathered))
    }

    pub(crate) fn flush(&mut self, cx: &mut EngineCx<'_>) {
        match &mut self.phase {
            JobPhase::Download(downloads) => downloads.flush(cx),
            JobPhase::Result(step) => step.flush(cx),
            JobPhase::Submit(_)
            | JobPhase::Wait
            | JobPhase::Waiting(_)
            | JobPhase::Poll(_)
            | JobPhase::GiveUp(_)
            | JobPhase::Over => {}
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

    fn error(&self, cx: &EngineCx<'_>, env: &StepEnv, detail: ErrorDetail) -> StepExit {
        StepError::new(&cx.run.redactor, self.location(env), detail, ErrorContext::default()).into()
    }

    fn eval_env(&self, cx: &EngineCx<'_>, env: &StepEnv) -> EvalEnv {
        let seed = fingerprint(&[&cx.run.seed.to_be_bytes(), self.location(env).path.as_bytes()]);
        EvalEnv::new(cx.now.wall, seed)
    }
}
