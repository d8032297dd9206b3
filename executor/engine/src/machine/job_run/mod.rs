//! An async job of the upstream's: submitted once, polled until it is done, then downloaded.
//!
//! In: a beginning, or what came for the step of it that is under way. Out: how far it came; between polls the run is handed
//! back, so that a job holds no executor. It never submits twice what a checkpoint knows to be submitted.

mod place;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use orchid_plan::{AsyncJob, Expr, ScopeName, StepAction, Value};

use super::answer::Event;
use super::around::Around;
use super::cx::{Cx, Spot};
use super::env::Env;
use super::flow::{Flow, Idle};
use super::halt::{About, Fault, Halt, What};
use super::program::{JobNodes, Node};
use super::scope;
use super::sequence::Sequence;
use super::step_run::StepRun;
use crate::checkpoint::prune;
use crate::error::ErrorClass;
use crate::input::TimerId;

/// A shorter wait between polls is not worth handing the run back.
const SHORT: Duration = Duration::from_secs(1);

/// A job in one place.
pub(super) struct JobRun {
    node: Arc<Node>,
    item: Option<u64>,
    asked: bool,
    phase: Phase,
    /// What the job's own steps see; none before it begins.
    inner: Option<Box<Env>>,
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
    around: Option<Around>,
}

/// What a job does.
enum Phase {
    Submit(Box<StepRun>),
    /// For its next poll.
    Wait,
    Waiting(TimerId),
    Poll(Box<StepRun>),
    Download(Box<Sequence>),
    /// It took too long: the upstream is told, then the step fails.
    GiveUp(Box<StepRun>),
    Over,
}

impl JobRun {
    pub(super) fn new(node: &Arc<Node>, item: Option<u64>) -> JobRun {
        let phase = node
            .job
            .as_ref()
            .map_or(Phase::Over, |job| Phase::Submit(Box::new(StepRun::new(&job.submit, None))));
        JobRun {
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

    pub(super) fn start(&mut self, cx: &mut Cx<'_>, env: &mut Env) -> Result<Flow, Halt> {
        if !self.asked {
            if let Some(condition) = &self.node.step.execute_if {
                let runs = condition
                    .is_true(&scope::around_with_meta(cx.run, env, &self.node), &self.eval_env(cx, env))
                    .map_err(|error| {
                        let pointer = format!("{}/execute_if", self.node.step.pointer);
                        self.fault(cx, env, What::expression(pointer, &error))
                    })?;
                if !runs {
                    return Ok(Flow::Skipped);
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
            Phase::Submit(step) | Phase::Poll(step) | Phase::GiveUp(step) => step.start(cx, &mut inner),
            Phase::Download(sequence) => sequence.start(cx),
            Phase::Wait | Phase::Waiting(_) => self.poll_when_due(cx, &mut inner),
            Phase::Over => Ok(Flow::Done),
        };
        self.inner = Some(inner);
        self.proceed(cx, env, flow)
    }

    pub(super) fn deliver(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        route: &[u64],
        event: Event,
    ) -> Result<Flow, Halt> {
        let Some(mut inner) = self.inner.take() else { return Ok(Flow::Busy) };
        let flow = match (&mut self.phase, event) {
            (Phase::Submit(step) | Phase::Poll(step) | Phase::GiveUp(step), event) => {
                step.deliver(cx, &mut inner, route, event)
            }
            (Phase::Download(sequence), event) => sequence.deliver(cx, route, event),
            (Phase::Waiting(waiting), Event::Woke { timer_id }) if *waiting == timer_id => {
                self.poll(cx, &mut inner)
            }
            (Phase::Wait, _) => Ok(self.due.map_or(Flow::Busy, |due| self.idle(cx, due))),
            (Phase::Waiting(_) | Phase::Over, _) => Ok(Flow::Busy),
        };
        self.inner = Some(inner);
        self.proceed(cx, env, flow)
    }

    /// Goes on from what the step under way came to.
    fn proceed(
        &mut self,
        cx: &mut Cx<'_>,
        env: &mut Env,
        mut flow: Result<Flow, Halt>,
    ) -> Result<Flow, Halt> {
        loop {
            let skipped = match flow {
                Ok(flow @ (Flow::Busy | Flow::Idle(_))) => return Ok(flow),
                Ok(Flow::Done) => false,
                Ok(Flow::Skipped) => true,
                Err(_) if matches!(self.phase, Phase::GiveUp(_)) => false,
                Err(halt) => return Err(halt),
            };
            let Some(mut inner) = self.inner.take() else { return Ok(Flow::Done) };
            let phase = std::mem::replace(&mut self.phase, Phase::Over);
            cx.run.moved |= env.durable;
            let next = match phase {
                Phase::Submit(step) => self.submitted(cx, &mut inner, &step, skipped),
                Phase::Poll(step) => self.polled(cx, env, &mut inner, *step),
                Phase::Download(sequence) => {
                    self.downloaded(&mut inner, *sequence);
                    Ok(None)
                }
                Phase::GiveUp(_) => Err(self.gave_up(cx, env)),
                Phase::Wait | Phase::Waiting(_) | Phase::Over => Ok(None),
            };
            self.inner = Some(inner);
            match next? {
                Some(next) => flow = Ok(next),
                None => return self.over(cx, env),
            }
        }
    }

    /// Hands on what its steps wrote.
    fn over(&mut self, cx: &mut Cx<'_>, env: &mut Env) -> Result<Flow, Halt> {
        if let Some(inner) = &mut self.inner {
            let writes = std::mem::take(&mut inner.writes);
            env.merge(writes).map_err(|error| {
                self.fault(cx, env, What::context(self.node.step.pointer.clone(), &error))
            })?;
        }
        let cursors = self.inner.as_mut().map(|inner| std::mem::take(&mut inner.cursors));
        cursors.into_iter().flatten().for_each(|cursor| cx.save_cursor(env, cursor.into()));
        Ok(if self.since.is_some() { Flow::Done } else { Flow::Skipped })
    }

    /// None: there is nothing to poll.
    fn submitted(
        &mut self,
        cx: &mut Cx<'_>,
        inner: &mut Env,
        step: &StepRun,
        skipped: bool,
    ) -> Result<Option<Flow>, Halt> {
        if skipped || step.ignored {
            return Ok(None);
        }
        keep(inner, "submit", step);
        self.since = Some(cx.now.wall);
        self.wait(cx).map(Some)
    }

    fn polled(
        &mut self,
        cx: &mut Cx<'_>,
        env: &Env,
        inner: &mut Env,
        mut step: StepRun,
    ) -> Result<Option<Flow>, Halt> {
        let StepAction::Job(job) = &self.node.step.clone().action else { return Ok(None) };
        // What is asked about it is asked within its pass.
        self.polls = std::mem::replace(&mut step.page, self.polls);
        let before = std::mem::replace(&mut self.last_poll, step.latest.clone());
        keep(inner, "poll", &step);
        if !step.ignored {
            let holds = |expr: &Expr, field: &str| {
                let scope = scope::rendering(cx.run, inner, &step).with(ScopeName::Prev, before.clone());
                expr.is_true(&scope, &scope::eval_env(cx.run, inner, &step, cx.now)).map_err(|error| {
                    step.plain_fault(cx, inner, What::expression(format!("{}/{field}", job.pointer), &error))
                })
            };
            if let Some(failed) = &job.failed_when
                && holds(failed, "failed_when")?
            {
                let what = What {
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

    fn download(&mut self, cx: &mut Cx<'_>, inner: &mut Env) -> Result<Option<Flow>, Halt> {
        let node = self.node.clone();
        let Some(nodes) = &node.job else { return Ok(None) };
        let Some(mut sequence) = Sequence::new(&nodes.download, download_env(inner)) else { return Ok(None) };
        let flow = sequence.start(cx);
        self.phase = Phase::Download(Box::new(sequence));
        flow.map(Some)
    }

    fn downloaded(&mut self, inner: &mut Env, sequence: Sequence) {
        let (value, rows, env) = sequence.into_last();
        (self.latest, self.gathered) = (value, rows);
        let Env { mut writes, cursors, .. } = env;
        super::context::append(&mut inner.writes, &mut writes);
        inner.cursors.extend(cursors);
    }

    /// Waits for the next poll: where it is worth it, the run is handed back meanwhile. The first wait always is: it saves the
    /// submit's answer.
    fn wait(&mut self, cx: &mut Cx<'_>) -> Result<Flow, Halt> {
        let StepAction::Job(job) = &self.node.step.action else { return Ok(Flow::Done) };
        self.due = Some(cx.now.wall + job.poll_wait);
        if self.polls > 0 && job.poll_wait < SHORT {
            self.phase = Phase::Waiting(cx.wait(job.poll_wait));
            return Ok(Flow::Busy);
        }
        self.phase = Phase::Wait;
        Ok(self.idle(cx, cx.now.wall + job.poll_wait))
    }

    fn idle(&self, cx: &mut Cx<'_>, due: DateTime<Utc>) -> Flow {
        cx.run.parking = true;
        let reason = format!("the upstream's job of {}", self.node.path);
        Flow::Idle(Idle::until(due, reason))
    }

    fn poll_when_due(&mut self, cx: &mut Cx<'_>, inner: &mut Env) -> Result<Flow, Halt> {
        match self.due {
            Some(due) if due > cx.now.wall => {
                let left = (due - cx.now.wall).to_std().unwrap_or_default();
                if left < SHORT {
                    self.phase = Phase::Waiting(cx.wait(left));
                    return Ok(Flow::Busy);
                }
                Ok(self.idle(cx, due))
            }
            Some(_) | None => self.poll(cx, inner),
        }
    }

    fn poll(&mut self, cx: &mut Cx<'_>, inner: &mut Env) -> Result<Flow, Halt> {
        let node = self.node.clone();
        let Some(nodes) = &node.job else { return Ok(Flow::Done) };
        self.due = None;
        let latest = self.last_poll.clone();
        let mut step =
            StepRun { page: self.polls, base: self.polls, latest, ..StepRun::new(&nodes.poll, None) };
        let flow = step.start(cx, inner);
        self.phase = Phase::Poll(Box::new(step));
        flow
    }

    fn is_late(&self, cx: &Cx<'_>, job: &AsyncJob) -> bool {
        self.since.is_some_and(|since| (cx.now.wall - since).to_std().unwrap_or_default() >= job.max_wait)
    }

    /// Tells the upstream that nobody waits any more, where the plan says how.
    fn give_up(&mut self, cx: &mut Cx<'_>, env: &Env, inner: &mut Env) -> Result<Option<Flow>, Halt> {
        let node = self.node.clone();
        let Some(cancel) = node.job.as_ref().and_then(|job: &JobNodes| job.cancel.as_ref()) else {
            return Err(self.gave_up(cx, env));
        };
        let mut step = StepRun::new(cancel, None);
        let flow = step.start(cx, inner);
        self.phase = Phase::GiveUp(Box::new(step));
        Ok(Some(flow.unwrap_or(Flow::Done)))
    }

    fn gave_up(&self, cx: &Cx<'_>, env: &Env) -> Halt {
        let what = What {
            class: ErrorClass::Transient,
            code: "JOB_TIMEOUT",
            pointer: format!("{}/async_job/max_wait", self.node.step.pointer),
            message: "the upstream's job was not done within max_wait".to_owned(),
        };
        self.fault(cx, env, what)
    }

    /// The step that tells the upstream that nobody waits any more, and what it sees; none where nothing was submitted, where
    /// the job is done, or where the plan names no such step.
    pub(super) fn abandon(&mut self, env: &Env) -> Option<(Env, StepRun)> {
        if !self.works_upstream() {
            return None;
        }
        let cancel = self.node.job.as_ref()?.cancel.clone()?;
        self.phase = Phase::Over;
        let mut inner = self.inner.take().map_or_else(|| self.inner_env(env), |inner| *inner);
        if let Some(around) = self.around.take() {
            around.lay(&mut inner);
        }
        Some((inner, StepRun::new(&cancel, None)))
    }

    /// The upstream works for it, and can be told to stop.
    pub(super) fn works_upstream(&self) -> bool {
        let submitted = match &self.phase {
            Phase::Wait | Phase::Waiting(_) | Phase::Poll(_) => self.since.is_some(),
            Phase::Submit(_) | Phase::Download(_) | Phase::GiveUp(_) | Phase::Over => false,
        };
        submitted && self.node.job.as_ref().is_some_and(|job| job.cancel.is_some())
    }

    pub(super) fn leave(&mut self) -> (Value, Vec<Bytes>) {
        (std::mem::replace(&mut self.latest, Value::null()), std::mem::take(&mut self.gathered))
    }

    pub(super) fn flush(&mut self, cx: &mut Cx<'_>) {
        if let Phase::Download(sequence) = &mut self.phase {
            sequence.flush(cx);
        }
    }

    pub(super) fn spot(&self, env: &Env) -> Spot {
        let (prefix, id) = (&env.prefix, &self.node.step.id);
        let path = match self.item {
            Some(item) => format!("{prefix}{id}[{item}]#0"),
            None => format!("{prefix}{id}#0"),
        };
        Spot { node: self.node.index, path, page: 0, retries: 0 }
    }

    fn inner_env(&self, env: &Env) -> Env {
        env.below(format!("{}.", self.spot(env).path), true)
    }

    fn fault(&self, cx: &Cx<'_>, env: &Env, what: What) -> Halt {
        Fault::new(cx.run, self.spot(env), what, About::default()).into()
    }

    fn eval_env(&self, cx: &Cx<'_>, env: &Env) -> orchid_plan::EvalEnv {
        let seed =
            super::paginate::fingerprint(&[&cx.run.seed.to_be_bytes(), self.spot(env).path.as_bytes()]);
        orchid_plan::EvalEnv::new(cx.now.wall, seed)
    }
}

/// What others of the job's steps read of one.
fn keep(inner: &mut Env, id: &str, step: &StepRun) {
    let paths = step.node.needs.finished.as_deref();
    if paths.is_none_or(|paths| !paths.is_empty()) {
        inner.finished.insert(id, prune(&step.latest, paths));
    }
}

/// A fault about the answer of a poll.
fn judged_fault(cx: &Cx<'_>, inner: &Env, step: &StepRun, what: What) -> Halt {
    let about = match step.judged.as_deref() {
        Some((sent, answer, body)) => {
            About { sent: Some(sent), answer: Some(answer), body: Some(body.clone()) }
        }
        None => About::default(),
    };
    Fault::new(cx.run, step.spot(inner), what, about).into()
}

/// What downloads see: on the level of the other steps, with writes of their own.
fn download_env(inner: &Env) -> Env {
    let mut env = inner.below(inner.prefix.clone(), true);
    env.nesting = inner.nesting;
    env
}
