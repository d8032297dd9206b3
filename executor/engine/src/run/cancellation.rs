//! Told to stop: by a cancel, a drain, a sink that takes nothing, or the end of the run's time. Upstreams that work for the
//! run are told that nobody waits any more before it ends.

use chrono::TimeDelta;

use super::machine::{Machine, MachinePhase};
use crate::checkpoint::error::CheckpointError;
use crate::input::{CurrentTime, StopReason};
use crate::limits::CANCEL_GRACE;
use crate::output::{EndStatus, ExecutionEnd, ExecutionFinish, Output};
use crate::state::ack_tracker::EncodedState;
use crate::state::engine_cx::EngineCx;
use crate::state::event::StepEvent;
use crate::state::exit::StepExit;
use crate::state::plan_limit::PlanLimit;
use crate::state::status::{DeferredWait, StepStatus};
use crate::state::step_env::StepEnv;
use crate::step::execution::StepExecution;
use crate::tree::sequence::StepSequence;

/// How long a run stays away from a Kafka that takes nothing.
const SINK_RETRY: TimeDelta = TimeDelta::seconds(30);

/// A run that has ended, and still tells upstreams.
pub(crate) struct UpstreamCancellation {
    ending: ExecutionEnd,
    jobs: Vec<CancelRequest>,
}

/// The `cancel` step of one job; none once it is done, however it went.
struct CancelRequest {
    env: StepEnv,
    step: Option<StepExecution>,
}

impl UpstreamCancellation {
    /// Takes what came for one of the steps. An error of theirs is reported, and changes nothing.
    pub(crate) fn deliver(&mut self, cx: &mut EngineCx<'_>, route: &[u64], event: StepEvent) {
        let Some((number, rest)) = route.split_first() else { return };
        let job = usize::try_from(*number).ok().and_then(|number| self.jobs.get_mut(number));
        let Some(CancelRequest { env, step: Some(step) }) = job else { return };
        let flow = cx.at(*number, |cx| step.deliver(cx, env, rest, event));
        self.came_to(cx, *number, flow);
    }

    fn start(&mut self, cx: &mut EngineCx<'_>) {
        for number in 0..self.jobs.len() as u64 {
            let job = usize::try_from(number).ok().and_then(|number| self.jobs.get_mut(number));
            let Some(CancelRequest { env, step: Some(step) }) = job else { continue };
            let flow = cx.at(number, |cx| step.start(cx, env));
            self.came_to(cx, number, flow);
        }
    }

    fn came_to(&mut self, cx: &mut EngineCx<'_>, number: u64, flow: Result<StepStatus, StepExit>) {
        match flow {
            Ok(StepStatus::InFlight) => return,
            Ok(StepStatus::Done | StepStatus::Skipped | StepStatus::Deferred(_))
            | Err(StepExit::Limit(..)) => {}
            Err(StepExit::Error(fault)) => cx.emit_error(*fault, true),
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
    pub(crate) fn stop(&mut self, now: CurrentTime, reason: StopReason, out: &mut Vec<Output>) {
        let root = match std::mem::replace(&mut self.phase, MachinePhase::Over) {
            MachinePhase::Over => return,
            MachinePhase::Leaving(farewell) => {
                // It ends as it was to end: now.
                self.leave(*farewell, out);
                return;
            }
            MachinePhase::Fresh(None) => {
                self.succeed(now, None, out);
                return;
            }
            MachinePhase::Fresh(Some(root)) | MachinePhase::Running(root) => root,
        };
        match reason {
            StopReason::TimeLimit => {
                self.halt(now, root, StepExit::Limit(PlanLimit::ExecutionTime, None), out)
            }
            StopReason::SinkStalled => {
                let not_before = now.wall + SINK_RETRY;
                let reason = "kafka takes no messages".to_owned();
                self.hand_back(now, root, DeferredWait::until(not_before, reason), false, out);
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
    pub(crate) fn park(
        &mut self,
        now: CurrentTime,
        root: Box<StepSequence>,
        idle: DeferredWait,
        out: &mut Vec<Output>,
    ) {
        self.hand_back(now, root, idle, true, out);
    }

    /// Hands the run back until a time. What is held back for a fuller message leaves first, unless the sink takes none.
    fn hand_back(
        &mut self,
        now: CurrentTime,
        mut root: Box<StepSequence>,
        idle: DeferredWait,
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
    pub(crate) fn settle(
        &mut self,
        now: CurrentTime,
        root: &mut StepSequence,
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
        root: &mut StepSequence,
        flush: bool,
        out: &mut Vec<Output>,
    ) -> Result<(), CheckpointError> {
        if flush {
            self.cx(now, out, |cx| root.flush(cx));
        }
        self.mark(root, true)
    }

    fn cancel(&mut self, now: CurrentTime, mut root: Box<StepSequence>, out: &mut Vec<Output>) {
        let partial = self.run.partial;
        let ending = ExecutionEnd { status: EndStatus::Cancelled, partial, complete: false, error: None };
        self.settle(now, &mut root, false, out);
        self.say_farewell(now, root, ending, out);
    }

    /// Ends the run once its upstreams are told, or at once where there are none.
    pub(crate) fn say_farewell(
        &mut self,
        now: CurrentTime,
        mut root: Box<StepSequence>,
        ending: ExecutionEnd,
        out: &mut Vec<Output>,
    ) {
        let mut found = Vec::new();
        root.abandon(&mut found);
        let jobs: Vec<CancelRequest> =
            found.into_iter().map(|(env, step)| CancelRequest { env, step: Some(step) }).collect();
        if jobs.is_empty() {
            self.end(ending, out);
            return;
        }
        self.run.farewell = true;
        let timer_id = self.run.next_timer(&[]);
        self.deadline = Some(timer_id);
        out.push(Output::StartTimer { timer_id, delay: CANCEL_GRACE });
        let mut farewell = Box::new(UpstreamCancellation { ending, jobs });
        self.cx(now, out, |cx| farewell.start(cx));
        self.leave_when_told(farewell, out);
    }

    pub(crate) fn leave_when_told(&mut self, farewell: Box<UpstreamCancellation>, out: &mut Vec<Output>) {
        if farewell.is_over() {
            self.leave(*farewell, out);
        } else {
            self.phase = MachinePhase::Leaving(farewell);
        }
    }

    /// The upstreams are told, or had their time: the run ends where it was, and what was sent to them counts.
    pub(crate) fn leave(&mut self, farewell: UpstreamCancellation, out: &mut Vec<Output>) {
        self.mark_last(EncodedState { must_cancel: false, ..self.last_stand.clone() });
        self.end(farewell.ending, out);
    }
}
