//! The loop of one attempt: feeds events to the engine, and carries out what the engine asks for.
//!
//! Events are responses, acknowledgements, expired timers, commands from the heartbeat, and the
//! drain. While too much is unacknowledged, nothing new is fetched or read. While the fence is
//! closed, nothing is fetched, read or produced.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use orchid_engine::{CurrentTime, ExecutionFinish, Input, Machine, Message, Output, StopReason};
use orchid_kit::clock;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::convert::{ReleaseReason, ReportOutcome};
use crate::fetch::FetchAgent;
use crate::lease::{LeaseCommand, LeaseHandle};
use crate::memory::MemoryCharge;
use crate::report::ReportsClosed;
use crate::runner::checkpoint_timer::CheckpointTimer;
use crate::runner::checkpoint_writer::CheckpointWriter;
use crate::runner::exit::{AttemptExit, refused_report};
use crate::runner::message_flow::MessageFlow;
use crate::runner::requests::RequestSet;
use crate::runner::services::RunnerServices;
use crate::runner::slow_lane::LaneMember;
use crate::runner::timers::EngineTimers;
use crate::sink::{DeliveryReport, MAX_IN_FLIGHT};

/// Longest wait for acknowledgements while draining. The producer itself gives up after this time.
const DRAIN_SINK_TIMEOUT: Duration = Duration::from_secs(5);
/// Parking time of an execution that ended while Kafka was unavailable.
const STALLED_PARK: chrono::TimeDelta = chrono::TimeDelta::seconds(10);
/// Interval for looking around when no timer is pending.
const IDLE_WAKE: Duration = Duration::from_secs(60);

pub(crate) struct AttemptLoop<'a> {
    services: &'a RunnerServices,
    lease: &'a LeaseHandle,
    agent: FetchAgent,
    machine: Machine,
    /// Where the machine goes on if its expressions take long.
    lane: Arc<LaneMember>,
    writer: CheckpointWriter,
    /// Zero of the monotonic clock that the engine sees.
    started_at: Instant,
    messages: MessageFlow,
    /// Charge for what the engine holds beside the bodies as they came.
    buffers: MemoryCharge,
    requests: RequestSet,
    timers: EngineTimers,
    checkpoint_timer: CheckpointTimer,
    /// True if the fence was closed when last checked.
    is_paused: bool,
    is_draining: bool,
    /// The engine knows of the cancel. It may continue for a while, to cancel a job of an upstream.
    is_cancelling: bool,
    /// Set when the engine has finished; messages may still be unacknowledged.
    exit: Option<AttemptExit>,
}

impl<'a> AttemptLoop<'a> {
    pub(crate) fn new(
        services: &'a RunnerServices,
        lease: &'a LeaseHandle,
        agent: FetchAgent,
        machine: Machine,
        writer: CheckpointWriter,
        tenant_id: Uuid,
    ) -> Self {
        let started_at = Instant::now();
        Self {
            services,
            lease,
            messages: MessageFlow::new(started_at, agent.memory()),
            buffers: agent.memory().charge(0),
            agent,
            machine,
            lane: services.slow_lane.member(tenant_id),
            writer,
            started_at,
            requests: RequestSet::default(),
            timers: EngineTimers::default(),
            checkpoint_timer: CheckpointTimer::default(),
            is_paused: false,
            is_draining: false,
            is_cancelling: false,
            exit: None,
        }
    }

    /// Returns the parts that the final report needs.
    pub(crate) fn into_parts(self) -> (CheckpointWriter, Machine) {
        (self.writer, self.machine)
    }

    /// Sends the started event, if that is possible right now. The event is best effort.
    pub(crate) fn send_started(&self, started: &Message) {
        if !self.services.fence.is_open() {
            return;
        }
        if let Err(error) = self.messages.send_started(&self.services.sink, started) {
            tracing::debug!(%error, "started event not sent");
        }
    }

    /// Runs until only the final report is left.
    pub(crate) async fn run(&mut self, cancel: bool) -> AttemptExit {
        self.is_cancelling = cancel;
        self.step(if cancel { Input::Stop(StopReason::Cancel) } else { Input::Begin });
        let mut commands = self.lease.commands();
        let mut fence = self.services.fence.changes();
        let mut arrived = Vec::with_capacity(MAX_IN_FLIGHT);
        // One timer for everything. Re-arming it is costly, and most turns wait for the same
        // deadline as the one before, so it is re-armed only when it fires or must fire earlier.
        let mut alarm = pin!(sleep_until(self.next_wake()));
        loop {
            self.work();
            if let Some(exit) = self.take_exit() {
                return exit;
            }
            let wake = self.next_wake();
            if wake < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                // Commands first: with a lost lease, nothing below may run.
                biased;
                _ = commands.changed() => {
                    let command = *commands.borrow_and_update();
                    match command {
                        LeaseCommand::Lost => return AttemptExit::LeaseLost,
                        LeaseCommand::Cancel => self.cancel(),
                        LeaseCommand::Continue => {}
                    }
                }
                outcome = self.writer.outcome() => {
                    if let Some(exit) = exit_after_checkpoint(outcome) {
                        return exit;
                    }
                }
                () = self.services.hand_back.cancelled(), if !self.is_draining => {
                    self.is_draining = true;
                    self.stop(StopReason::Drain);
                }
                () = self.messages.receive_reports(&mut arrived) => {
                    for report in arrived.drain(..) {
                        self.delivered(report);
                    }
                }
                input = self.requests.next() => self.step(input),
                () = self.services.sink.room().notified(), if self.messages.is_queue_full() => {
                    self.messages.queue_has_room();
                }
                _ = fence.changed() => {}
                () = &mut alarm => {}
            }
        }
    }

    /// Does everything that needs no waiting.
    fn work(&mut self) {
        let now = Instant::now();
        self.check_fence(now);
        self.expire_timers(now);
        if !self.is_paused {
            self.produce(now);
            self.start_requests();
            self.check_stall(now);
        }
        self.save_if_due(now);
    }

    fn check_fence(&mut self, now: Instant) {
        let is_open = self.services.fence.is_open();
        match (self.is_paused, is_open) {
            (false, false) => tracing::warn!("fence closed: the attempt pauses"),
            (true, true) => {
                tracing::warn!("fence open: the attempt continues");
                self.messages.resumed(now);
            }
            (false, true) | (true, false) => {}
        }
        self.is_paused = !is_open;
    }

    fn expire_timers(&mut self, now: Instant) {
        while let Some(timer_id) = self.timers.pop_expired(now) {
            self.step(Input::TimerFired { timer_id });
        }
    }

    fn produce(&mut self, now: Instant) {
        while let Some(refused) = self.messages.produce(&self.services.sink, now) {
            self.step(refused);
        }
    }

    fn start_requests(&mut self) {
        while !self.messages.is_full() && self.requests.start_next(&self.agent, self.lease) {}
    }

    /// Stops the attempt, to be parked, when Kafka has acknowledged nothing for too long.
    fn check_stall(&mut self, now: Instant) {
        if self.messages.stalled_at(self.sink_timeout()).is_none_or(|stalled| now < stalled) {
            return;
        }
        tracing::warn!("kafka acknowledges nothing: the execution parks");
        if self.exit.is_none() {
            self.stop(StopReason::SinkStalled);
        } else if !matches!(self.exit, Some(AttemptExit::Release(_) | AttemptExit::Park { .. })) {
            // The execution has ended, but its last messages are not in Kafka: a later attempt
            // resumes at the last saved state and emits them again.
            self.exit = Some(AttemptExit::Park {
                not_before: clock::utc_now() + STALLED_PARK,
                reason: "kafka acknowledges nothing".to_owned(),
            });
        }
        self.messages.drop_all(now);
    }

    /// Returns the time for which Kafka may acknowledge nothing. A drain cannot wait as long.
    fn sink_timeout(&self) -> Duration {
        let timeout = self.services.sink_timeout;
        if self.is_draining { timeout.min(DRAIN_SINK_TIMEOUT) } else { timeout }
    }

    fn save_if_due(&mut self, now: Instant) {
        let due = self.checkpoint_timer.due();
        if self.writer.is_busy() || self.exit.is_some() || due.is_none_or(|due| now < due) {
            return;
        }
        self.checkpoint_timer.saved();
        if let Some(checkpoint) = self.machine.checkpoint() {
            self.writer.save(checkpoint);
        }
    }

    /// Returns the exit once the engine has finished and every message is acknowledged.
    fn take_exit(&mut self) -> Option<AttemptExit> {
        if self.exit.is_none() || !self.messages.is_empty() {
            return None;
        }
        self.exit.take()
    }

    fn next_wake(&self) -> Instant {
        let stalled = self.messages.stalled_at(self.sink_timeout()).filter(|_| !self.is_paused);
        let save = self.checkpoint_timer.due().filter(|_| !self.writer.is_busy() && self.exit.is_none());
        let times = [self.timers.next(), save, self.messages.retry_at(), stalled];
        let earliest = times.into_iter().flatten().min();
        earliest.unwrap_or_else(|| Instant::now() + IDLE_WAKE)
    }

    fn delivered(&mut self, report: DeliveryReport) {
        let now = Instant::now();
        if let Some(input) = self.messages.delivered(report, now) {
            if matches!(input, Input::MessageAcked { .. }) {
                self.checkpoint_timer.acknowledged(now);
            }
            self.step(input);
        }
    }

    /// Cancels once. Heartbeats repeat the command until the attempt has ended, and an execution
    /// that was granted to be cancelled receives it, too.
    fn cancel(&mut self) {
        if !self.is_cancelling {
            self.is_cancelling = true;
            self.stop(StopReason::Cancel);
        }
    }

    fn stop(&mut self, reason: StopReason) {
        if self.exit.is_none() {
            self.step(Input::Stop(reason));
        }
    }

    fn step(&mut self, input: Input) {
        let now = Instant::now();
        let time = CurrentTime { wall: clock::utc_now(), monotonic: now.duration_since(self.started_at) };
        let Self { machine, lane, .. } = self;
        for output in lane.run(|| machine.step(time, input)) {
            self.carry_out(output, now);
        }
        self.buffers.set(self.machine.buffered_bytes() as u64);
    }

    fn carry_out(&mut self, output: Output, now: Instant) {
        match output {
            Output::Fetch { try_id, request } => self.requests.queue_fetch(try_id, request),
            Output::Emit { emit_id, message } => self.messages.push(emit_id, message, now),
            Output::StartTimer { timer_id, delay } => self.timers.add(timer_id, now + delay),
            Output::ReadBody { try_id } => self.requests.queue_read(try_id),
            Output::Discard { try_id } => self.requests.discard(try_id),
            Output::SaveCheckpoint => self.checkpoint_timer.save_at(now),
            Output::Park { not_before, reason } => self.finish(AttemptExit::Park { not_before, reason }),
            Output::Finished(ExecutionFinish::Ended(end)) => self.finish(AttemptExit::Complete(end)),
            Output::Finished(ExecutionFinish::Released) => {
                self.finish(AttemptExit::Release(self.release_reason()))
            }
        }
    }

    fn release_reason(&self) -> ReleaseReason {
        if self.is_paused { ReleaseReason::SelfFenced } else { ReleaseReason::Drained }
    }

    /// Records the exit, and drops all requests and timers: the engine wants nothing more.
    fn finish(&mut self, exit: AttemptExit) {
        self.requests = RequestSet::default();
        self.timers = EngineTimers::default();
        self.exit = Some(exit);
    }
}

/// Returns the exit that the outcome of a checkpoint forces, if any.
fn exit_after_checkpoint(outcome: Result<ReportOutcome, ReportsClosed>) -> Option<AttemptExit> {
    match outcome {
        Ok(ReportOutcome::Accepted) => None,
        Ok(ReportOutcome::LeaseLost(why)) => {
            tracing::warn!(why, "lease lost");
            Some(AttemptExit::LeaseLost)
        }
        Ok(ReportOutcome::Invalid(refused)) => Some(refused_report("CHECKPOINT_REFUSED", refused, None)),
        Err(ReportsClosed) => Some(AttemptExit::LeaseLost),
    }
}
