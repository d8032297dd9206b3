//! The loop of one run: what happens goes into the engine, what the engine wants is done.
//!
//! In: answers, acknowledgements, ends of waits, orders of the heartbeat, the drain. Out: an [`Exit`]. While too much is
//! un-acknowledged nothing new is fetched or read; while the fence is shut nothing is fetched, read or produced.

use std::pin::pin;
use std::time::Duration;

use orchid_engine::{CurrentTime, EmitId, ExecutionFinish, Input, Machine, Message, Output, StopReason};
use orchid_kit::clock;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::drive::Parts;
use crate::drive::ending::{Exit, system_failure};
use crate::drive::pace::Pace;
use crate::drive::saver::Saver;
use crate::drive::tries::Tries;
use crate::drive::waits::Waits;
use crate::fetch::Agent;
use crate::report::{ReleaseReason, Verdict};
use crate::sink::{Delivery, DeliveryOutcome, MAX_IN_FLIGHT, Outbox, SendError, Ticket};
use crate::worker::{Lease, Order};

/// The event of the beginning is not awaited: its ticket has a name that no message of the engine's has.
const STARTED: u64 = u64::MAX;
/// Room for the answers of all messages under way and of the started event.
const DELIVERIES: usize = MAX_IN_FLIGHT + 1;
/// How long until the producer's full queue is tried again, if it does not say earlier that it has room.
const FULL_QUEUE_WAIT: Duration = Duration::from_millis(50);
/// How long a run that is handed back waits for acknowledgements; as long as the producer itself tries.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);
/// How long a run that ended while Kafka was away stays parked.
const STALLED_PARK: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

pub(crate) struct Run<'a> {
    parts: &'a Parts,
    lease: &'a Lease,
    agent: Agent,
    machine: Machine,
    saver: Saver,
    begun: Instant,
    outbox: Outbox,
    tickets: mpsc::Sender<Delivery>,
    deliveries: mpsc::Receiver<Delivery>,
    tries: Tries,
    waits: Waits,
    pace: Pace,
    /// When to look at the producer's full queue again.
    queue_full: Option<Instant>,
    /// The fence was shut when last looked at.
    paused: bool,
    draining: bool,
    /// The engine was told to cancel; it may go on for a while, to tell an upstream.
    cancelling: bool,
    /// The engine has said its last word.
    end: Option<Exit>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        parts: &'a Parts,
        lease: &'a Lease,
        agent: Agent,
        machine: Machine,
        saver: Saver,
    ) -> Run<'a> {
        let (tickets, deliveries) = mpsc::channel(DELIVERIES);
        let begun = Instant::now();
        Run {
            parts,
            lease,
            agent,
            machine,
            saver,
            begun,
            outbox: Outbox::new(begun),
            tickets,
            deliveries,
            tries: Tries::default(),
            waits: Waits::default(),
            pace: Pace::default(),
            queue_full: None,
            paused: false,
            draining: false,
            cancelling: false,
            end: None,
        }
    }

    /// What the last report needs.
    pub(crate) fn into_rest(self) -> (Saver, Machine) {
        (self.saver, self.machine)
    }

    /// Sends the event of the beginning, if that is possible right now.
    pub(crate) fn announce(&self, started: &Message) {
        if !self.parts.fence.is_open() {
            return;
        }
        let ticket = Ticket { id: STARTED, to: self.tickets.clone() };
        if let Err(error) = self.parts.sink.send(started, ticket) {
            tracing::debug!(%error, "the event of the beginning was not sent");
        }
    }

    /// Runs until nothing is left to do but the last report.
    pub(crate) async fn go(&mut self, cancel: bool) -> Exit {
        self.cancelling = cancel;
        self.step(if cancel { Input::Stop(StopReason::Cancel) } else { Input::Begin });
        let mut orders = self.lease.orders();
        let mut fence = self.parts.fence.changes();
        let mut arrived = Vec::with_capacity(MAX_IN_FLIGHT);
        // One timer for all of it: most rounds wait for the same time as the one before.
        let mut alarm = pin!(sleep_until(self.next_wake()));
        loop {
            self.work();
            if let Some(exit) = self.exit() {
                return exit;
            }
            let wake = self.next_wake();
            if wake < alarm.deadline() || alarm.is_elapsed() {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                biased;
                _ = orders.changed() => {
                    let order = *orders.borrow_and_update();
                    match order {
                        Order::Lost => return Exit::Lost,
                        Order::Cancel => self.cancel(),
                        Order::Continue => {}
                    }
                }
                verdict = self.saver.answered() => match verdict {
                    Ok(Verdict::Accepted) => {}
                    Ok(Verdict::Lost(why)) => {
                        tracing::warn!(why, "lease lost");
                        return Exit::Lost;
                    }
                    Ok(Verdict::Invalid(detail)) => return system_failure("CHECKPOINT_REFUSED", detail),
                    Err(_) => return Exit::Lost,
                },
                () = self.parts.hand_back.cancelled(), if !self.draining => {
                    self.draining = true;
                    self.stop(StopReason::Drain);
                }
                _ = self.deliveries.recv_many(&mut arrived, MAX_IN_FLIGHT) => {
                    for delivery in arrived.drain(..) {
                        self.delivered(delivery);
                    }
                }
                input = self.tries.ended() => self.step(input),
                () = self.parts.sink.room().notified(), if self.queue_full.is_some() => {
                    self.queue_full = None;
                }
                _ = fence.changed() => {}
                () = &mut alarm => {}
            }
        }
    }

    /// Does everything that can be done without waiting.
    fn work(&mut self) {
        let now = Instant::now();
        self.look_at_fence(now);
        self.end_waits(now);
        if !self.paused {
            self.produce(now);
            self.fetch();
            self.look_at_stall(now);
        }
        self.save(now);
    }

    fn look_at_fence(&mut self, now: Instant) {
        let open = self.parts.fence.is_open();
        if open && self.paused {
            self.outbox.resumed(now);
        }
        if self.paused == open {
            tracing::warn!(paused = !open, "fence");
        }
        self.paused = !open;
    }

    fn end_waits(&mut self, now: Instant) {
        while let Some(timer_id) = self.waits.pop(now) {
            self.step(Input::TimerFired { timer_id });
        }
    }

    fn produce(&mut self, now: Instant) {
        if self.queue_full.is_some_and(|until| now < until) {
            return;
        }
        self.queue_full = None;
        while let Some((id, message)) = self.outbox.next(now) {
            let ticket = Ticket { id: id.0, to: self.tickets.clone() };
            match self.parts.sink.send(message, ticket) {
                Ok(()) => self.outbox.sent(id),
                Err(SendError::Full) => {
                    self.queue_full = Some(now + FULL_QUEUE_WAIT);
                    return;
                }
                Err(SendError::TooLarge) => self.refused(id),
                Err(error @ SendError::Refused(_)) => {
                    tracing::warn!(%error, "message not sent");
                    self.outbox.not_sent(now);
                    return;
                }
            }
        }
    }

    fn fetch(&mut self) {
        while !self.outbox.is_full() && self.tries.start_next(&self.agent, self.lease) {}
    }

    /// Kafka took nothing for too long: stop, and be parked.
    fn look_at_stall(&mut self, now: Instant) {
        if self.outbox.stalled_at(self.patience()).is_none_or(|stalled| now < stalled) {
            return;
        }
        tracing::warn!("kafka acknowledges nothing");
        if self.end.is_none() {
            self.stop(StopReason::SinkStalled);
        } else if !matches!(self.end, Some(Exit::Release(_) | Exit::Park { .. })) {
            // The run's last messages are not in Kafka: a later attempt makes them again from the last saved place.
            self.end = Some(Exit::Park {
                not_before: clock::utc_now() + STALLED_PARK,
                reason: "kafka acknowledges nothing".to_owned(),
            });
        }
        self.outbox = Outbox::new(now);
    }

    /// How long Kafka may acknowledge nothing. A drain cannot wait for long.
    fn patience(&self) -> Duration {
        let longest = self.parts.sink_timeout;
        if self.draining { longest.min(DRAIN_PATIENCE) } else { longest }
    }

    fn save(&mut self, now: Instant) {
        if self.saver.is_busy() || self.end.is_some() || self.pace.due().is_none_or(|due| now < due) {
            return;
        }
        self.pace.saved();
        if let Some(checkpoint) = self.machine.checkpoint() {
            self.saver.save(checkpoint);
        }
    }

    /// The run's end, once nothing is left un-acknowledged.
    fn exit(&mut self) -> Option<Exit> {
        if self.end.is_none() || !self.outbox.is_empty() {
            return None;
        }
        self.end.take()
    }

    fn next_wake(&self) -> Instant {
        let stalled = self.outbox.stalled_at(self.patience()).filter(|_| !self.paused);
        let save = self.pace.due().filter(|_| !self.saver.is_busy() && self.end.is_none());
        let times = [self.waits.next(), save, self.outbox.retry_at(), self.queue_full, stalled];
        let earliest = times.into_iter().flatten().min();
        // Nothing is due: look again now and then, whatever else may wake the run.
        earliest.unwrap_or_else(|| Instant::now() + Duration::from_secs(60))
    }

    fn delivered(&mut self, delivery: Delivery) {
        let Delivery { id, outcome } = delivery;
        if id == STARTED {
            return;
        }
        let emit_id = EmitId(id);
        let now = Instant::now();
        let size = self.outbox.size(emit_id).unwrap_or_default();
        if !self.outbox.delivered(emit_id, &outcome, now) {
            return;
        }
        match outcome {
            DeliveryOutcome::Acked => {
                self.pace.acknowledged(now);
                self.step(Input::MessageAcked { emit_id });
            }
            DeliveryOutcome::TooLarge => self.step(Input::MessageRefused { emit_id, size }),
            DeliveryOutcome::Unknown(_) => {}
        }
    }

    fn refused(&mut self, emit_id: EmitId) {
        if let Some(size) = self.outbox.refused(emit_id) {
            self.step(Input::MessageRefused { emit_id, size });
        }
    }

    /// Once: beats repeat the order until the run has ended, and a run that was granted to be cancelled hears it besides.
    fn cancel(&mut self) {
        if !self.cancelling {
            self.cancelling = true;
            self.stop(StopReason::Cancel);
        }
    }

    fn stop(&mut self, reason: StopReason) {
        if self.end.is_none() {
            self.step(Input::Stop(reason));
        }
    }

    fn step(&mut self, input: Input) {
        let now = Instant::now();
        let monotonic = now.duration_since(self.begun);
        for output in self.machine.step(CurrentTime { wall: clock::utc_now(), monotonic }, input) {
            self.take(output, now);
        }
    }

    fn take(&mut self, output: Output, now: Instant) {
        match output {
            Output::Fetch { try_id, request } => self.tries.fetch(try_id, request),
            Output::Emit { emit_id, message } => self.outbox.push(emit_id, message, now),
            Output::StartTimer { timer_id, delay } => self.waits.add(timer_id, now + delay),
            Output::ReadBody { try_id } => self.tries.read(try_id),
            Output::Discard { try_id } => self.tries.discard(try_id),
            Output::Park { not_before, reason } => self.finish(Exit::Park { not_before, reason }),
            Output::Finished(ExecutionFinish::Ended(ending)) => self.finish(Exit::Complete(ending)),
            Output::Finished(ExecutionFinish::Released) => self.finish(Exit::Release(self.release_reason())),
        }
    }

    fn release_reason(&self) -> ReleaseReason {
        if self.paused { ReleaseReason::SelfFenced } else { ReleaseReason::Drained }
    }

    /// The engine wants nothing more: what is under way is dropped.
    fn finish(&mut self, exit: Exit) {
        self.tries = Tries::default();
        self.waits = Waits::default();
        self.end = Some(exit);
    }
}
