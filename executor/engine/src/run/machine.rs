//! The engine's entry point: takes one input at a time, and returns what to do next.
//!
//! An execution is a tree: a sequence of steps, each a loop, a `for_each` of loops or an async job,
//! with a sequence again below every row of a loop. An input goes down the tree to the step that
//! waits for it, and the status of that step comes back up. A machine never waits, never reads a
//! clock, and forgets nothing that a message needs before it is acknowledged.

use chrono::TimeDelta;
use orchid_plan::OnLimit;

use crate::attempt::AttemptSpec;
use crate::checkpoint::error::CheckpointError;
use crate::error::StartError;
use crate::input::{CurrentTime, EmitId, Input, StopReason, TimerId};
use crate::limits::CANCEL_GRACE;
use crate::message::Message;
use crate::output::{Checkpoint, EndStatus, ExecutionEnd, ExecutionFinish, Output};
use crate::page::sub_steps::SubSteps;
use crate::page::writer;
use crate::run::cancellation::UpstreamCancellation;
use crate::run::checkpoints::CheckpointRecorder;
use crate::run::phase::MachinePhase;
use crate::run::refusal::{self, MachineExit};
use crate::run::{finish, resume};
use crate::state::engine_cx::EngineCx;
use crate::state::event::StepEvent;
use crate::state::execution::ExecutionState;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::plan_limit::PlanLimit;
use crate::state::status::{DeferredWait, StepStatus};
use crate::state::step_env::StepEnv;
use crate::tree::sequence::StepSequence;

/// Time for which an execution stays parked when Kafka accepts no messages.
const SINK_RETRY: TimeDelta = TimeDelta::seconds(30);

/// One attempt of an execution. See [`Machine::step`].
pub struct Machine {
    run: ExecutionState,
    checkpoints: CheckpointRecorder,
    phase: MachinePhase,
    /// The timer that fires when the execution time, or the time for cancel requests, is used up.
    deadline: Option<TimerId>,
    /// How the attempt ended, if one of its messages may still be refused.
    exit: MachineExit,
}

impl Machine {
    /// Creates a machine at the beginning of the execution, or at its checkpoint. It does nothing
    /// before [`Input::Begin`].
    ///
    /// # Errors
    /// Fails if config, context or checkpoint cannot be read.
    pub fn new(spec: AttemptSpec) -> Result<Self, StartError> {
        let (run, root) = resume::build(spec)?;
        let checkpoints = CheckpointRecorder::new(&run, root.as_ref())
            .map_err(|error| StartError::Checkpoint(error.to_string()))?;
        let phase = MachinePhase::Fresh(root.map(Box::new));
        Ok(Self { run, checkpoints, phase, deadline: None, exit: MachineExit::None })
    }

    /// Applies an input, and returns what to do, in this order.
    pub fn step(&mut self, now: CurrentTime, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::MessageAcked { emit_id } => self.checkpoints.acks().acked(emit_id),
            Input::MessageRefused { emit_id, message } => {
                self.message_refused(now, emit_id, &message, &mut out);
            }
            Input::Begin => self.begin(now, &mut out),
            Input::Response { try_id, result, duration } => {
                let route = self.run.route_of_try(try_id);
                // A try with a whole response is over; a streamed one stays registered until its
                // body ends.
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
                self.deadline_reached(now, &mut out);
            }
            Input::TimerFired { timer_id } => {
                let route = self.run.route_of_timer(timer_id);
                self.deliver(now, route, StepEvent::TimerFired { timer_id }, &mut out);
            }
            Input::Stop(reason) => self.stop(now, reason, &mut out),
        }
        self.continue_waiting_rows(now, &mut out);
        self.record_if_due(now, &mut out);
        out
    }

    /// Returns the newest checkpoint whose messages are all acknowledged, unless it was returned
    /// before.
    pub fn checkpoint(&mut self) -> Option<Checkpoint> {
        // With no message in flight, the newest state can be saved at once: an idle execution loses
        // nothing.
        if self.run.moved && self.checkpoints.acks().is_settled() {
            self.record_quietly();
        }
        self.checkpoints.take()
    }

    /// Returns the bytes that the engine holds beside the bodies and pieces as they were handed in:
    /// bodies in another format or joined from pieces, and messages that are not full.
    pub fn buffered_bytes(&self) -> usize {
        self.run.buffers.bytes()
    }

    fn begin(&mut self, now: CurrentTime, out: &mut Vec<Output>) {
        match std::mem::replace(&mut self.phase, MachinePhase::Over) {
            MachinePhase::Fresh(None) => {
                self.run.begin(now);
                self.succeed(now, None, out);
            }
            MachinePhase::Fresh(Some(mut root)) => {
                self.run.begin(now);
                self.set_deadline(now, out);
                let status = root.start(&mut self.cx(now, out));
                self.proceed(now, root, status, out);
            }
            phase @ (MachinePhase::Running(_) | MachinePhase::Cancelling(_) | MachinePhase::Over) => {
                self.phase = phase;
            }
        }
    }

    /// Passes an event to the step that waits for it; an event that no step waits for changes
    /// nothing.
    fn deliver(
        &mut self,
        now: CurrentTime,
        route: Option<Box<[u64]>>,
        event: StepEvent,
        out: &mut Vec<Output>,
    ) {
        // The step may have ended meanwhile: a late event of a discarded try is normal.
        let Some(route) = route else { return };
        match std::mem::replace(&mut self.phase, MachinePhase::Over) {
            MachinePhase::Running(mut root) => {
                let status = root.deliver(&mut self.cx(now, out), &route, event);
                self.proceed(now, root, status, out);
            }
            MachinePhase::Cancelling(mut cancellation) => {
                cancellation.deliver(&mut self.cx(now, out), &route, event);
                self.continue_cancelling(cancellation, out);
            }
            phase @ (MachinePhase::Fresh(_) | MachinePhase::Over) => self.phase = phase,
        }
    }

    /// Continues from what the tree came to.
    fn proceed(
        &mut self,
        now: CurrentTime,
        root: Box<StepSequence>,
        status: Result<StepStatus, StepExit>,
        out: &mut Vec<Output>,
    ) {
        // Cursors are saved at places that cannot fail, so their overflow shows only here.
        let status = match self.run.cursor_overflow.take() {
            Some(detail) => status.and_then(|_| {
                let context = ErrorContext::default();
                Err(StepExit::from(StepError::new(&self.run.redactor, root.location(), *detail, context)))
            }),
            None => status,
        };
        match status {
            Ok(StepStatus::InFlight) => self.phase = MachinePhase::Running(root),
            Ok(StepStatus::Deferred(DeferredWait { limit: Some(limit), .. })) => {
                self.end_at_limit(now, root, limit, out);
            }
            Ok(StepStatus::Deferred(wait)) => self.park(now, root, wait, true, out),
            Ok(StepStatus::Done | StepStatus::Skipped) => {
                let (_, _, env) = root.into_results();
                self.succeed(now, Some(env), out);
            }
            Err(exit) => self.fail(now, root, exit, out),
        }
    }

    /// Lets steps continue whose rows waited for acknowledgements. Each of them may use up the room
    /// that there is, so the others wait on.
    fn continue_waiting_rows(&mut self, now: CurrentTime, out: &mut Vec<Output>) {
        while self.checkpoints.acks().has_room() {
            let Some(route) = self.run.next_room_wait() else { return };
            self.deliver(now, Some(route), StepEvent::RoomAvailable, out);
        }
    }

    fn deadline_reached(&mut self, now: CurrentTime, out: &mut Vec<Output>) {
        match std::mem::replace(&mut self.phase, MachinePhase::Over) {
            MachinePhase::Running(root) if self.run.time_left(now).is_zero() => {
                self.fail(now, root, StepExit::Limit(PlanLimit::ExecutionTime, None), out);
            }
            MachinePhase::Running(root) => {
                // The timer can be early, e.g. when the clock of the process was suspended.
                self.phase = MachinePhase::Running(root);
                self.set_deadline(now, out);
            }
            MachinePhase::Cancelling(cancellation) => self.end_cancelled(*cancellation, out),
            phase @ (MachinePhase::Fresh(_) | MachinePhase::Over) => self.phase = phase,
        }
    }

    fn set_deadline(&mut self, now: CurrentTime, out: &mut Vec<Output>) {
        let timer_id = self.run.next_timer(&[]);
        self.deadline = Some(timer_id);
        out.push(Output::StartTimer { timer_id, delay: self.run.time_left(now) });
    }

    /// Stops the attempt: by a cancel, a drain, a sink that accepts nothing, or the end of the
    /// execution time.
    fn stop(&mut self, now: CurrentTime, reason: StopReason, out: &mut Vec<Output>) {
        let mut root = match std::mem::replace(&mut self.phase, MachinePhase::Over) {
            MachinePhase::Over => return,
            MachinePhase::Cancelling(cancellation) => {
                self.end_cancelled(*cancellation, out);
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
                self.fail(now, root, StepExit::Limit(PlanLimit::ExecutionTime, None), out);
            }
            StopReason::SinkStalled => {
                let wait = DeferredWait::until(now.wall + SINK_RETRY, "kafka takes no messages".to_owned());
                // Further messages would only wait for the same sink.
                self.park(now, root, wait, false, out);
            }
            StopReason::Cancel => {
                // The checkpoint comes first: should the process die while jobs are cancelled, the
                // next attempt cancels them again.
                let end = self.unsuccessful(EndStatus::Cancelled);
                self.record_last(now, &mut root, false, out);
                self.end_after_cancelling(now, root, end, out);
            }
            StopReason::Drain => {
                self.record_last(now, &mut root, true, out);
                self.exit = MachineExit::HandedBack;
                out.push(Output::Finished(ExecutionFinish::Released));
            }
        }
    }

    /// Parks the execution. `flush` emits finished rows first, which no later attempt then repeats.
    fn park(
        &mut self,
        now: CurrentTime,
        mut root: Box<StepSequence>,
        wait: DeferredWait,
        flush: bool,
        out: &mut Vec<Output>,
    ) {
        match self.flush_and_record(now, &mut root, flush, out) {
            Ok(()) => {}
            Err(error) if error.is_too_large() => {
                // Parked at an older state, the execution would repeat the same work for ever.
                let error = finish::checkpoint_error(&self.run, &root, &error);
                self.fail(now, root, error.into(), out);
                return;
            }
            Err(_) => self.checkpoints.repeat_last(&self.run),
        }
        self.exit = MachineExit::HandedBack;
        out.push(Output::Park { not_before: wait.not_before, reason: wait.reason });
    }

    /// Ends the execution after its last step. `env` is the environment of the steps, unless all
    /// were done before.
    fn succeed(&mut self, now: CurrentTime, env: Option<StepEnv>, out: &mut Vec<Output>) {
        finish::warn_of_responses(&mut self.run);
        finish::warn_of_near_limits(&mut self.run, now);
        self.run.save_validators();
        if self.checkpoints.record_end(&mut self.run, env).is_err() {
            self.checkpoints.repeat_last(&self.run);
        }
        let (partial, complete) = (self.run.partial, self.run.complete);
        self.end(
            ExecutionEnd { status: EndStatus::Succeeded, partial, complete, at_limit: false, error: None },
            out,
        );
    }

    /// Ends the execution by an error, or by a limit.
    fn fail(&mut self, now: CurrentTime, mut root: Box<StepSequence>, exit: StepExit, out: &mut Vec<Output>) {
        let error = match (exit, self.run.definition.on_limit) {
            (StepExit::Limit(limit, _), OnLimit::Continue) => {
                self.end_at_limit(now, root, limit, out);
                return;
            }
            (StepExit::Limit(limit, location), OnLimit::Fail) => {
                finish::limit_error(&self.run, &root, limit, location)
            }
            (StepExit::Error(error), OnLimit::Continue | OnLimit::Fail) => *error,
        };
        finish::warn_of_responses(&mut self.run);
        let (status, reported) = (error.status, error.error.clone());
        let mut cx = self.cx(now, out);
        // Finished rows come before the error, as they did in the page.
        root.flush(&mut cx);
        cx.emit_error(error, false);
        self.record_last(now, &mut root, false, out);
        let end = ExecutionEnd { error: Some(reported), ..self.unsuccessful(status) };
        self.end_after_cancelling(now, root, end, out);
    }

    /// Ends the execution at a limit that the plan permits; the next execution continues from
    /// there.
    fn end_at_limit(
        &mut self,
        now: CurrentTime,
        mut root: Box<StepSequence>,
        limit: PlanLimit,
        out: &mut Vec<Output>,
    ) {
        finish::warn_of_limit(&mut self.run, limit);
        finish::warn_of_responses(&mut self.run);
        self.run.save_validators();
        self.record_last(now, &mut root, true, out);
        self.run.partial = true;
        self.end(ExecutionEnd { at_limit: true, ..self.unsuccessful(EndStatus::Succeeded) }, out);
    }

    fn unsuccessful(&self, status: EndStatus) -> ExecutionEnd {
        ExecutionEnd { status, partial: self.run.partial, complete: false, at_limit: false, error: None }
    }

    /// Ends the execution once async jobs at upstreams are cancelled, or at once if there are none.
    fn end_after_cancelling(
        &mut self,
        now: CurrentTime,
        mut root: Box<StepSequence>,
        end: ExecutionEnd,
        out: &mut Vec<Output>,
    ) {
        let mut pending = Vec::new();
        root.take_cancels(&mut pending);
        if pending.is_empty() {
            self.end(end, out);
            return;
        }
        self.run.cancelling = true;
        let timer_id = self.run.next_timer(&[]);
        self.deadline = Some(timer_id);
        out.push(Output::StartTimer { timer_id, delay: CANCEL_GRACE });
        let cancellation = UpstreamCancellation::start(&mut self.cx(now, out), end, pending);
        self.continue_cancelling(Box::new(cancellation), out);
    }

    fn continue_cancelling(&mut self, cancellation: Box<UpstreamCancellation>, out: &mut Vec<Output>) {
        if cancellation.is_over() {
            self.end_cancelled(*cancellation, out);
        } else {
            self.phase = MachinePhase::Cancelling(cancellation);
        }
    }

    /// Ends the execution after its cancel requests, whether or not all of them were answered in
    /// time.
    fn end_cancelled(&mut self, cancellation: UpstreamCancellation, out: &mut Vec<Output>) {
        self.checkpoints.repeat_last_cancelled(&self.run);
        self.end(cancellation.into_end(), out);
    }

    fn end(&mut self, end: ExecutionEnd, out: &mut Vec<Output>) {
        self.phase = MachinePhase::Over;
        let succeeded = end.status == EndStatus::Succeeded;
        self.exit = if succeeded { MachineExit::Succeeded } else { MachineExit::Unsuccessful };
        out.push(Output::Finished(ExecutionFinish::Ended(end)));
    }

    /// Parks the execution, also if it seemed to have succeeded: the next attempt continues before
    /// the refused message, and makes smaller ones. An attempt of its own has a higher fence, by
    /// which consumers tell the new chunks of a page from the old ones.
    fn message_refused(
        &mut self,
        now: CurrentTime,
        emit_id: EmitId,
        message: &Message,
        out: &mut Vec<Output>,
    ) {
        let Some((source, state, progress)) = self.checkpoints.acks().refused(emit_id) else { return };
        let is_ending = matches!(self.phase, MachinePhase::Cancelling(_));
        // A failed execution stays failed with its first error.
        if is_ending || self.exit == MachineExit::Unsuccessful {
            return;
        }
        let size = message.size();
        let before = (state.clone(), progress);
        let is_smaller = refusal::record_smaller(&mut self.run, &mut self.checkpoints, message, before);
        match (is_smaller, self.exit) {
            // The attempt is over already, and its checkpoint is the one just recorded.
            (true, MachineExit::HandedBack) => {}
            (true, _) => {
                self.phase = MachinePhase::Over;
                self.exit = MachineExit::HandedBack;
                let reason = format!("the broker refused a message of {size} bytes");
                out.push(Output::Park { not_before: now.wall, reason });
            }
            (false, _) => {
                self.phase = MachinePhase::Over;
                let error = writer::refused_message(&self.run, source.location, size);
                let (status, reported) = (error.status, error.error.clone());
                self.cx(now, out).emit_error(error, false);
                // The state is one before the refused message: a later execution can continue
                // there.
                self.checkpoints.repeat(&self.run, state);
                self.end(ExecutionEnd { error: Some(reported), ..self.unsuccessful(status) }, out);
            }
        }
    }

    /// Records the state, if something has changed and the last one is old enough. A state that is
    /// too large ends the execution.
    fn record_if_due(&mut self, now: CurrentTime, out: &mut Vec<Output>) {
        if !self.checkpoints.is_due(&self.run, now) {
            return;
        }
        let Some(mut root) = self.phase.take_running() else { return };
        self.checkpoints.set_last_time(now);
        match self.checkpoints.record(&mut self.run, &mut root, false) {
            Ok(()) => self.phase = MachinePhase::Running(root),
            Err(error) => {
                let error = finish::checkpoint_error(&self.run, &root, &error);
                // The state stays too large: without this, ending would try to record it again.
                self.run.moved = false;
                self.unsend(out);
                self.fail(now, root, error.into(), out);
            }
        }
    }

    /// Records the state for a caller that asks for a checkpoint. An error shows at the next input.
    fn record_quietly(&mut self) {
        if let Some(mut root) = self.phase.take_running() {
            let recorded = self.checkpoints.record(&mut self.run, &mut root, false);
            self.run.moved |= recorded.is_err();
            self.phase = MachinePhase::Running(root);
        }
    }

    /// Records the last state of the attempt, as exactly as possible. If it cannot be written, the
    /// one before counts.
    fn record_last(&mut self, now: CurrentTime, root: &mut StepSequence, flush: bool, out: &mut Vec<Output>) {
        if self.flush_and_record(now, root, flush, out).is_err() {
            self.checkpoints.repeat_last(&self.run);
        }
    }

    fn flush_and_record(
        &mut self,
        now: CurrentTime,
        root: &mut StepSequence,
        flush: bool,
        out: &mut Vec<Output>,
    ) -> Result<(), CheckpointError> {
        if flush {
            root.flush(&mut self.cx(now, out));
        }
        self.checkpoints.record(&mut self.run, root, true)
    }

    /// Takes back requests of this very input: the execution ends before they are sent.
    fn unsend(&mut self, out: &mut Vec<Output>) {
        let before = out.len();
        out.retain(|output| !matches!(output, Output::Fetch { .. }));
        self.run.progress.counts.requests -= (before - out.len()) as u64;
    }

    fn cx<'a>(&'a mut self, now: CurrentTime, out: &'a mut Vec<Output>) -> EngineCx<'a> {
        EngineCx { now, run: &mut self.run, acks: self.checkpoints.acks(), out, route: Vec::new() }
    }
}
