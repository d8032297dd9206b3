//! Told to stop: by a cancel, a drain, a sink that takes nothing, or the end of the run's time. Upstreams that work for the
//! run are told that nobody waits any more before it ends.

use chrono::TimeDelta;

use super::answer::Event;
use super::cx::Cx;
use super::env::Env;
use super::flow::{Flow, Idle};
use super::halt::{Halt, Limit};
use super::ledger::Stand;
use super::sequence::Sequence;
use super::step_run::StepRun;
use super::{Machine, Phase};
use crate::CANCEL_GRACE;
use crate::checkpoint::PlaceError;
use crate::input::{CurrentTime, StopReason};
use crate::output::{EndStatus, ExecutionEnd, ExecutionFinish, Output};

/// How long a run stays away from a Kafka that takes nothing.
const SINK_RETRY: TimeDelta = TimeDelta::seconds(30);

/// A run that has ended, and still tells upstreams.
pub(super) struct Farewell {
    ending: ExecutionEnd,
    jobs: Vec<Telling>,
}

/// The `cancel` step of one job; none once it is done, however it went.
struct Telling {
    env: Env,
    step: Option<StepRun>,
}

impl Farewell {
    /// Takes what came for one of the steps. An error of theirs is reported, and changes nothing.
    pub(super) fn deliver(&mut self, cx: &mut Cx<'_>, route: &[u64], event: Event) {
        let Some((number, rest)) = route.split_first() else { return };
        let job = usize::try_from(*number).ok().and_then(|number| self.jobs.get_mut(number));
        let Some(Telling { env, step: Some(step) }) = job else { return };
        let flow = cx.at(*number, |cx| step.deliver(cx, env, rest, event));
        self.came_to(cx, *number, flow);
    }

    fn start(&mut self, cx: &mut Cx<'_>) {
        for number in 0..self.jobs.len() as u64 {
            let job = usize::try_from(number).ok().and_then(|number| self.jobs.get_mut(number));
            let Some(Telling { env, step: Some(step) }) = job else { continue };
            let flow = cx.at(number, |cx| step.start(cx, env));
            self.came_to(cx, number, flow);
        }
    }

    fn came_to(&mut self, cx: &mut Cx<'_>, number: u64, flow: Result<Flow, Halt>) {
        match flow {
            Ok(Flow::Busy) => return,
            Ok(Flow::Done | Flow::Skipped | Flow::Idle(_)) | Err(Halt::Limit(..)) => {}
            Err(Halt::Fault(fault)) => cx.emit_error(*fault, true),
        }
        if let Some(job) = usize::try_from(number).ok().and_then(|number| self.jobs.get_mut(number)) {
            job.step = None;
        }
    }

    fn is_over(&self) -> bool {
        self.jobs.iter().all(|job| job.step.is_none())
    }
}

impl Machine {
    /// Does what it was told.
    pub(super) fn stop(&mut self, now: CurrentTime, reason: StopReason, out: &mut Vec<Output>) {
        let root = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Over => return,
            Phase::Leaving(farewell) => {
                // It ends as it was to end: now.
                self.leave(*farewell, out);
                return;
            }
            Phase::Fresh(None) => {
                self.succeed(now, None, out);
                return;
            }
            Phase::Fresh(Some(root)) | Phase::Running(root) => root,
        };
        match reason {
            StopReason::TimeLimit => self.halt(now, root, Halt::Limit(Limit::ExecutionTime, None), out),
            StopReason::SinkStalled => {
                let not_before = now.wall + SINK_RETRY;
                let reason = "kafka takes no messages".to_owned();
                self.hand_back(now, root, Idle::until(not_before, reason), false, out);
            }
            StopReason::Cancel => self.cancel(now, root, out),
            StopReason::Drain => {
                let mut root = root;
                self.settle(now, &mut root, true, out);
                out.push(Output::Finished(ExecutionFinish::Released));
            }
        }
    }

    /// Everything that is left waits for long.
    pub(super) fn park(&mut self, now: CurrentTime, root: Box<Sequence>, idle: Idle, out: &mut Vec<Output>) {
        self.hand_back(now, root, idle, true, out);
    }

    /// Hands the run back until a time. What is held back for a fuller message leaves first, unless the sink takes none.
    fn hand_back(
        &mut self,
        now: CurrentTime,
        mut root: Box<Sequence>,
        idle: Idle,
        flush: bool,
        out: &mut Vec<Output>,
    ) {
        match self.try_settle(now, &mut root, flush, out) {
            Ok(()) => {}
            Err(error) if error.is_too_large() => {
                // A run that cannot say where it is would begin at an older place each time.
                let halt = self.unmarked(&root, &error);
                self.halt(now, root, halt, out);
                return;
            }
            Err(_) => self.mark_last(self.last_stand.clone()),
        }
        out.push(Output::Park { not_before: idle.not_before, reason: idle.reason });
    }

    /// Marks the place as exactly as it can be: the rows that are done are emitted, those under way are in it. Where it cannot be
    /// marked the last one stands.
    pub(super) fn settle(
        &mut self,
        now: CurrentTime,
        root: &mut Sequence,
        flush: bool,
        out: &mut Vec<Output>,
    ) {
        if self.try_settle(now, root, flush, out).is_err() {
            self.mark_last(self.last_stand.clone());
        }
    }

    fn try_settle(
        &mut self,
        now: CurrentTime,
        root: &mut Sequence,
        flush: bool,
        out: &mut Vec<Output>,
    ) -> Result<(), PlaceError> {
        if flush {
            self.cx(now, out, |cx| root.flush(cx));
        }
        self.mark(root, true)
    }

    fn cancel(&mut self, now: CurrentTime, mut root: Box<Sequence>, out: &mut Vec<Output>) {
        let partial = self.run.partial;
        let ending = ExecutionEnd { status: EndStatus::Cancelled, partial, complete: false, error: None };
        self.settle(now, &mut root, false, out);
        self.say_farewell(now, root, ending, out);
    }

    /// Ends the run once its upstreams are told, or at once where there are none.
    pub(super) fn say_farewell(
        &mut self,
        now: CurrentTime,
        mut root: Box<Sequence>,
        ending: ExecutionEnd,
        out: &mut Vec<Output>,
    ) {
        let mut found = Vec::new();
        root.abandon(&mut found);
        let jobs: Vec<Telling> =
            found.into_iter().map(|(env, step)| Telling { env, step: Some(step) }).collect();
        if jobs.is_empty() {
            self.end(ending, out);
            return;
        }
        self.run.farewell = true;
        let timer_id = self.run.next_wait(&[]);
        self.deadline = Some(timer_id);
        out.push(Output::StartTimer { timer_id, delay: CANCEL_GRACE });
        let mut farewell = Box::new(Farewell { ending, jobs });
        self.cx(now, out, |cx| farewell.start(cx));
        self.leave_when_told(farewell, out);
    }

    pub(super) fn leave_when_told(&mut self, farewell: Box<Farewell>, out: &mut Vec<Output>) {
        if farewell.is_over() {
            self.leave(*farewell, out);
        } else {
            self.phase = Phase::Leaving(farewell);
        }
    }

    /// The upstreams are told, or had their time: the run ends where it was, and what was sent to them counts.
    pub(super) fn leave(&mut self, farewell: Farewell, out: &mut Vec<Output>) {
        self.mark_last(Stand { must_cancel: false, ..self.last_stand.clone() });
        self.end(farewell.ending, out);
    }
}
