//! The messages of one attempt on their way into Kafka: its outbox, and its exchange with the
//! producer.

use std::time::Duration;

use orchid_engine::{EmitId, Input, Message};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::memory::{MemoryAccount, MemoryCharge};
use crate::sink::{
    DeliveryOutcome, DeliveryReport, DeliveryTicket, MAX_IN_FLIGHT, MessageSink, Outbox, SendError,
};

/// Ticket id of the started event, which no message of the engine has. Its delivery is not awaited.
const STARTED_ID: u64 = u64::MAX;
/// Capacity for the delivery reports of all messages in flight and of the started event. The
/// producer drops a report that finds the channel full.
const REPORT_CAPACITY: usize = MAX_IN_FLIGHT + 1;
/// Longest wait before trying a full producer queue again, if it does not signal room earlier.
const FULL_QUEUE_WAIT: Duration = Duration::from_millis(50);

/// The messages of one attempt, from the engine to Kafka.
///
/// Outcomes that concern the engine are returned as its inputs.
pub(crate) struct MessageFlow {
    outbox: Outbox,
    tickets: mpsc::Sender<DeliveryReport>,
    reports: mpsc::Receiver<DeliveryReport>,
    /// Set while the producer's queue is full: the time to try it again.
    queue_full_until: Option<Instant>,
    /// Charge for the messages in the outbox.
    memory: MemoryCharge,
}

impl MessageFlow {
    /// Creates a flow without messages, which are charged to this account.
    pub(crate) fn new(now: Instant, memory: &MemoryAccount) -> Self {
        let (tickets, reports) = mpsc::channel(REPORT_CAPACITY);
        let memory = memory.charge(0);
        Self { outbox: Outbox::new(now), tickets, reports, queue_full_until: None, memory }
    }

    /// Sends the started event at once, outside the outbox: it is never repeated.
    pub(crate) fn send_started(&self, sink: &MessageSink, started: &Message) -> Result<(), SendError> {
        sink.send(started, DeliveryTicket { id: STARTED_ID, to: self.tickets.clone() })
    }

    /// Adds a message of the engine.
    pub(crate) fn push(&mut self, id: EmitId, message: Message, now: Instant) {
        self.outbox.push(id, message, now);
        self.charge();
    }

    /// Hands messages to the producer until none may be sent now. If the producer refuses a message
    /// permanently, returns the input that tells the engine; call again after it.
    pub(crate) fn produce(&mut self, sink: &MessageSink, now: Instant) -> Option<Input> {
        if self.queue_full_until.is_some_and(|until| now < until) {
            return None;
        }
        self.queue_full_until = None;
        while let Some((emit_id, message)) = self.outbox.next(now) {
            let ticket = DeliveryTicket { id: emit_id.0, to: self.tickets.clone() };
            let sent = if self.outbox.sends_alone() {
                sink.send_alone(message, ticket)
            } else {
                sink.send(message, ticket)
            };
            match sent {
                Ok(()) => self.outbox.sent(emit_id),
                Err(SendError::Full) => {
                    self.queue_full_until = Some(now + FULL_QUEUE_WAIT);
                    return None;
                }
                Err(SendError::TooLarge) => {
                    let message = self.outbox.remove(emit_id)?;
                    self.charge();
                    return Some(Input::MessageRefused { emit_id, message });
                }
                Err(error @ SendError::Refused(_)) => {
                    tracing::warn!(%error, "message not sent: retrying");
                    self.outbox.not_sent(now);
                    return None;
                }
            }
        }
        None
    }

    /// Waits for delivery reports and appends them to `reports`. Cancel safe.
    pub(crate) async fn receive_reports(&mut self, reports: &mut Vec<DeliveryReport>) {
        self.reports.recv_many(reports, MAX_IN_FLIGHT).await;
    }

    /// Applies a delivery report. Returns the input for the engine if the message is acknowledged
    /// or can never be sent; an unknown delivery is retried without the engine.
    pub(crate) fn delivered(&mut self, report: DeliveryReport, now: Instant) -> Option<Input> {
        let DeliveryReport { id, outcome } = report;
        if id == STARTED_ID {
            return None;
        }
        let emit_id = EmitId(id);
        let message = self.outbox.delivered(emit_id, &outcome, now)?;
        self.charge();
        match outcome {
            DeliveryOutcome::Acked => Some(Input::MessageAcked { emit_id }),
            DeliveryOutcome::TooLarge => Some(Input::MessageRefused { emit_id, message }),
            DeliveryOutcome::Unknown(_) => None,
        }
    }

    /// Returns whether every message is acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Returns whether so much is unacknowledged that fetching should wait.
    pub(crate) fn is_full(&self) -> bool {
        self.outbox.is_full()
    }

    /// Returns whether the producer's queue was full at the last try.
    pub(crate) fn is_queue_full(&self) -> bool {
        self.queue_full_until.is_some()
    }

    /// Records that the producer's queue has room again.
    pub(crate) fn queue_has_room(&mut self) {
        self.queue_full_until = None;
    }

    /// Returns the time from which [`produce`](Self::produce) may send what it could not send
    /// before.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        [self.outbox.retry_at(), self.queue_full_until].into_iter().flatten().min()
    }

    /// Returns the time from which Kafka counts as stalled if nothing is acknowledged until then.
    pub(crate) fn stalled_at(&self, timeout: Duration) -> Option<Instant> {
        self.outbox.stalled_at(timeout)
    }

    /// Restarts the stall timeout after a pause of this process.
    pub(crate) fn resumed(&mut self, now: Instant) {
        self.outbox.resumed(now);
    }

    /// Drops all messages, because a later attempt will emit them again. Reports for them that
    /// still arrive are ignored.
    pub(crate) fn drop_all(&mut self, now: Instant) {
        self.outbox = Outbox::new(now);
        self.charge();
    }

    fn charge(&mut self) {
        self.memory.set(self.outbox.bytes() as u64);
    }
}
