//! The plan machine: takes one input at a time, answers with what to do next.
//!
//! In: what happened ([`Input`]), with the time. Out: requests, messages, waits, and the run's end ([`Output`]). A run is a
//! tree: a [`StepSequence`] of steps, each a loop ([`StepExecution`]), a `for_each` of loops or an async job, and below each row of a
//! loop's answer a sequence again. An input goes down to whoever waits for it; how far that came goes up. A loop's way is
//! `start` → `send` → `deliver` → `take_rows` → `finish_pass`, and again.
//! It never waits, reads a clock, or forgets what a message needs before it is acknowledged.

use crate::input::{CurrentTime, Input, TimerId};
use crate::output::{Checkpoint, Output};
use crate::run::cancellation::UpstreamCancellation;
use crate::state::ack_tracker::{AckTracker, EncodedState};
use crate::state::engine_cx::EngineCx;
use crate::state::event::StepEvent;
use crate::state::execution::ExecutionState;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::plan_limit::PlanLimit;
use crate::state::status::{DeferredWait, StepStatus};
use crate::tree::sequence::StepSequence;

/// One run. See [`Machine::step`].
pub struct Machine {
    pub(crate) run: ExecutionState,
    pub(crate) acks: AckTracker,
    pub(crate) phase: MachinePhase,
    /// The wait that ends with the run's time.
    pub(crate) deadline: Option<TimerId>,
    /// The place that was marked last, or began with.
    pub(crate) last_stand: EncodedState,
    /// When that was, on the monotonic clock.
    pub(crate) last_mark: Option<std::time::Duration>,
    /// The run came to its own end, should nothing be refused.
    pub(crate) succeeded: bool,
}

/// How far a run is.
pub(crate) enum MachinePhase {
    /// Before `Begin`; no steps where all are done already.
    Fresh(Option<Box<StepSequence>>),
    /// PageLocation its steps.
    Running(Box<StepSequence>),
    /// Ended but for the jobs whose upstreams are told.
    Leaving(Box<UpstreamCancellation>),
    /// Ended, parked or released: acknowledgements are all that is still taken.
    Over,
}

impl Machine {
    /// Takes what happened, answers with what to do, in order.
    pub fn step(&mut self, now: CurrentTime, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::MessageAcked { emit_id } => self.acks.acked(emit_id),
            Input::MessageRefused { emit_id, size } => self.refused(now, emit_id, size, &mut out),
            Input::Begin => self.begin(now, &mut out),
            Input::Response { try_id, result, duration } => {
                let route = self.run.route_of_try(try_id);
                self.run.try_ended(try_id);
                self.deliver(now, route, StepEvent::Response { try_id, result, duration }, &mut out);
            }
            Input::ResponseHead { try_id, response, duration } => {
                let route = self.run.route_of_try(try_id);
                self.deliver(now, route, StepEvent::ResponseHead { try_id, response, duration }, &mut out);
            }
            Input::BodyPiece { try_id, piece, duration } => {
                let route = self.run.route_of_try(try_id);
                self.deliver(now, route, StepEvent::BodyPiece { try_id, piece, duration }, &mut out);
            }
            Input::TimerFired { timer_id } if self.deadline == Some(timer_id) => {
                self.time_is_over(now, &mut out)
            }
            Input::TimerFired { timer_id } => {
                let route = self.run.route_of_timer(timer_id);
                self.deliver(now, route, StepEvent::TimerFired { timer_id }, &mut out);
            }
            Input::Stop(reason) => self.stop(now, reason, &mut out),
        }
        self.mark_if_due(now, &mut out);
        out
    }

    /// The newest place whose messages are all acknowledged, unless it was handed out before.
    pub fn checkpoint(&mut self) -> Option<Checkpoint> {
        if self.run.moved && self.acks.is_settled() {
            self.mark_quietly();
        }
        self.acks.take()
    }

    pub(crate) fn begin(&mut self, now: CurrentTime, out: &mut Vec<Output>) {
        match std::mem::replace(&mut self.phase, MachinePhase::Over) {
            MachinePhase::Fresh(None) => {
                self.run.begin(now);
                self.succeed(now, None, out);
            }
            MachinePhase::Fresh(Some(mut root)) => {
                self.run.begin(now);
                self.set_deadline(now, out);
                let flow = self.cx(now, out, |cx| root.start(cx));
                self.proceed(now, root, flow, out);
            }
            phase @ (MachinePhase::Running(_) | MachinePhase::Leaving(_) | MachinePhase::Over) => {
                self.phase = phase
            }
        }
    }

    /// Brings what came to whoever waits for it; what nobody waits for any more changes nothing.
    pub(crate) fn deliver(
        &mut self,
        now: CurrentTime,
        route: Option<Box<[u64]>>,
        event: StepEvent,
        out: &mut Vec<Output>,
    ) {
        let Some(route) = route else { return };
        match std::mem::replace(&mut self.phase, MachinePhase::Over) {
            MachinePhase::Running(mut root) => {
                let flow = self.cx(now, out, |cx| root.deliver(cx, &route, event));
                self.proceed(now, root, flow, out);
            }
            MachinePhase::Leaving(mut farewell) => {
                self.cx(now, out, |cx| farewell.deliver(cx, &route, event));
                self.leave_when_told(farewell, out);
            }
            phase @ (MachinePhase::Fresh(_) | MachinePhase::Over) => self.phase = phase,
        }
    }

    pub(crate) fn proceed(
        &mut self,
        now: CurrentTime,
        root: Box<StepSequence>,
        flow: Result<StepStatus, StepExit>,
        out: &mut Vec<Output>,
    ) {
        let flow = match self.run.cursor_overflow.take() {
            Some(what) => flow.and_then(|_| {
                Err(StepExit::from(StepError::new(
                    &self.run.redactor,
                    root.location(),
                    *what,
                    ErrorContext::default(),
                )))
            }),
            None => flow,
        };
        match flow {
            Ok(StepStatus::InFlight) => self.phase = MachinePhase::Running(root),
            Ok(StepStatus::Deferred(DeferredWait { limit: Some(limit), .. })) => {
                self.limited(now, root, limit, out)
            }
            Ok(StepStatus::Deferred(idle)) => self.park(now, root, idle, out),
            Ok(StepStatus::Done | StepStatus::Skipped) => {
                self.succeed(now, Some(root.env), out);
            }
            Err(halt) => self.halt(now, root, halt, out),
        }
    }

    pub(crate) fn time_is_over(&mut self, now: CurrentTime, out: &mut Vec<Output>) {
        match std::mem::replace(&mut self.phase, MachinePhase::Over) {
            MachinePhase::Running(root) if self.run.time_left(now).is_zero() => {
                self.halt(now, root, StepExit::Limit(PlanLimit::ExecutionTime, None), out);
            }
            MachinePhase::Running(root) => {
                // Some of it was no execution time.
                self.phase = MachinePhase::Running(root);
                self.set_deadline(now, out);
            }
            MachinePhase::Leaving(farewell) => self.leave(*farewell, out),
            phase @ (MachinePhase::Fresh(_) | MachinePhase::Over) => self.phase = phase,
        }
    }

    pub(crate) fn set_deadline(&mut self, now: CurrentTime, out: &mut Vec<Output>) {
        let timer_id = self.run.next_timer(&[]);
        self.deadline = Some(timer_id);
        out.push(Output::StartTimer { timer_id, delay: self.run.time_left(now) });
    }

    /// Does something with all parts of the run but the tree itself.
    pub(crate) fn cx<T>(
        &mut self,
        now: CurrentTime,
        out: &mut Vec<Output>,
        work: impl FnOnce(&mut EngineCx<'_>) -> T,
    ) -> T {
        let mut cx = EngineCx { now, run: &mut self.run, acks: &mut self.acks, out, route: Vec::new() };
        work(&mut cx)
    }
}
