//! The unacknowledged messages of one attempt, in order.
//!
//! The attempt pushes messages as the engine emits them, sends what [`Outbox::next`] returns, and
//! records the outcomes. A message whose delivery is unknown is sent again with the same ids. Until
//! all other messages in flight have reports, nothing newer may pass it, so that pages keep their
//! order as far as Kafka reports failures. The outbox does no I/O and reads no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use orchid_engine::{EmitId, Message, UNACKED_BYTES_MAX};
use tokio::time::Instant;

use crate::sink::delivery::DeliveryOutcome;

/// Most messages of one attempt in flight, and the capacity for their delivery reports.
pub const MAX_IN_FLIGHT: usize = 256;
/// Unacknowledged messages from which on an attempt fetches nothing new.
const FULL_MESSAGES: usize = 128;
/// Unacknowledged bytes from which on an attempt fetches nothing new.
const FULL_BYTES: usize = UNACKED_BYTES_MAX;
/// Delay before a failed message is sent again.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// The unacknowledged messages of one attempt.
#[derive(Debug)]
pub struct Outbox {
    waiting: BTreeMap<EmitId, Message>,
    in_flight: BTreeMap<EmitId, SentMessage>,
    /// Set once the broker has refused a batch: from then on no message shares one.
    sends_alone: bool,
    /// Size of all messages, waiting or in flight.
    bytes: usize,
    /// Set after a failure: nothing is sent before this time, nor while messages are in flight.
    retry_from: Option<Instant>,
    /// Time of the last acknowledgement, or of the first push into an empty outbox.
    last_progress: Instant,
}

/// A message in flight.
#[derive(Debug)]
struct SentMessage {
    message: Message,
    /// True if it was sent in a batch of its own.
    is_alone: bool,
}

impl Outbox {
    /// Creates an empty outbox.
    pub fn new(now: Instant) -> Self {
        Self {
            waiting: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            sends_alone: false,
            bytes: 0,
            retry_from: None,
            last_progress: now,
        }
    }

    /// Adds a message.
    pub fn push(&mut self, id: EmitId, message: Message, now: Instant) {
        if self.is_empty() {
            self.last_progress = now;
        }
        self.bytes += message.size();
        self.waiting.insert(id, message);
    }

    /// Returns the next message to send, or `None` while there is none, too many are in flight, or
    /// a failure has to settle first.
    pub fn next(&self, now: Instant) -> Option<(EmitId, &Message)> {
        let may_send = match self.retry_from {
            None => self.in_flight.len() < MAX_IN_FLIGHT,
            Some(retry_from) => self.in_flight.is_empty() && now >= retry_from,
        };
        if !may_send {
            return None;
        }
        // Emit ids ascend, so the map's order is the order of emission.
        self.waiting.first_key_value().map(|(id, message)| (*id, message))
    }

    /// Records that the producer took the message.
    pub fn sent(&mut self, id: EmitId) {
        self.retry_from = None;
        if let Some(message) = self.waiting.remove(&id) {
            self.in_flight.insert(id, SentMessage { message, is_alone: self.sends_alone });
        }
    }

    /// Returns whether messages have to be sent in batches of their own.
    pub fn sends_alone(&self) -> bool {
        self.sends_alone
    }

    /// Records that the producer refused the next message for now.
    pub fn not_sent(&mut self, now: Instant) {
        self.retry_from = Some(now + RETRY_DELAY);
    }

    /// Records a delivery outcome. Returns the message if it has left the outbox.
    pub fn delivered(&mut self, id: EmitId, outcome: &DeliveryOutcome, now: Instant) -> Option<Message> {
        let SentMessage { message, is_alone } = self.in_flight.remove(&id)?;
        let retry_from = match outcome {
            DeliveryOutcome::TooLarge if !is_alone => {
                // The broker refuses a batch as a whole, and another message of it may have been
                // the one that is too large.
                self.sends_alone = true;
                now
            }
            DeliveryOutcome::Unknown(_) => now + RETRY_DELAY,
            DeliveryOutcome::Acked | DeliveryOutcome::TooLarge => {
                self.bytes = self.bytes.saturating_sub(message.size());
                self.last_progress = now;
                return Some(message);
            }
        };
        // Goes back to its place in the order, before everything newer that waits.
        self.waiting.insert(id, message);
        self.retry_from = Some(retry_from);
        None
    }

    /// Removes a message that can never be sent, and returns it.
    pub fn remove(&mut self, id: EmitId) -> Option<Message> {
        let in_flight = self.in_flight.remove(&id).map(|sent| sent.message);
        let message = self.waiting.remove(&id).or(in_flight)?;
        self.bytes = self.bytes.saturating_sub(message.size());
        Some(message)
    }

    /// Returns the size of all messages in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether every message is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// Returns whether so much is unacknowledged that fetching should wait.
    pub fn is_full(&self) -> bool {
        self.waiting.len() + self.in_flight.len() >= FULL_MESSAGES || self.bytes >= FULL_BYTES
    }

    /// Returns the time from which failed messages may be sent again.
    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_from.filter(|_| self.in_flight.is_empty() && !self.waiting.is_empty())
    }

    /// Returns the time from which the sink counts as stalled if nothing is acknowledged until
    /// then.
    pub fn stalled_at(&self, timeout: Duration) -> Option<Instant> {
        (!self.is_empty()).then(|| self.last_progress + timeout)
    }

    /// Restarts the stall timeout after a pause of this process, which says nothing about the sink.
    pub fn resumed(&mut self, now: Instant) {
        self.last_progress = now;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use orchid_engine::Topic;

    use super::*;

    fn message(size: usize) -> Message {
        Message {
            topic: Topic::Responses,
            key: String::new(),
            headers: Vec::new(),
            payload: Bytes::from(vec![0; size]),
        }
    }

    fn outbox(messages: u64) -> (Outbox, Instant) {
        let now = Instant::now();
        let mut outbox = Outbox::new(now);
        for id in 0..messages {
            outbox.push(EmitId(id), message(10), now);
        }
        (outbox, now)
    }

    fn send_all(outbox: &mut Outbox, now: Instant) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Some((id, _)) = outbox.next(now) {
            outbox.sent(id);
            sent.push(id.0);
        }
        sent
    }

    fn unknown() -> DeliveryOutcome {
        DeliveryOutcome::Unknown("timed out".to_owned())
    }

    #[test]
    fn failed_message_is_sent_again_before_newer_ones() {
        let (mut outbox, now) = outbox(3);
        assert_eq!(send_all(&mut outbox, now), [0, 1, 2]);
        assert_eq!(outbox.delivered(EmitId(0), &unknown(), now), None);
        outbox.push(EmitId(3), message(10), now);
        assert_eq!(send_all(&mut outbox, now + RETRY_DELAY), [0; 0], "1 and 2 have no reports yet");
        assert!(outbox.delivered(EmitId(1), &DeliveryOutcome::Acked, now).is_some());
        assert_eq!(outbox.delivered(EmitId(2), &unknown(), now), None);
        assert_eq!(send_all(&mut outbox, now), [0; 0], "the retry is delayed");
        assert_eq!(outbox.retry_at(), Some(now + RETRY_DELAY));
        assert_eq!(send_all(&mut outbox, now + RETRY_DELAY), [0, 2, 3]);
    }

    #[test]
    fn messages_in_flight_are_bounded() {
        let (mut outbox, now) = outbox(MAX_IN_FLIGHT as u64 + 5);
        assert_eq!(send_all(&mut outbox, now).len(), MAX_IN_FLIGHT);
        assert!(outbox.delivered(EmitId(7), &DeliveryOutcome::Acked, now).is_some());
        assert_eq!(send_all(&mut outbox, now), [MAX_IN_FLIGHT as u64]);
    }

    #[test]
    fn outbox_is_full_by_messages_or_bytes() {
        let (mut outbox, now) = outbox(FULL_MESSAGES as u64 - 1);
        assert!(!outbox.is_full());
        outbox.push(EmitId(1_000), message(1), now);
        assert!(outbox.is_full());
        outbox.sent(EmitId(1_000));
        outbox.delivered(EmitId(1_000), &DeliveryOutcome::Acked, now);
        assert!(!outbox.is_full());
        outbox.push(EmitId(1_001), message(FULL_BYTES), now);
        assert!(outbox.is_full());
        assert!(outbox.remove(EmitId(1_001)).is_some());
        assert!(!outbox.is_full());
    }

    #[test]
    fn outbox_stalls_without_acknowledgements() {
        let (mut outbox, now) = outbox(2);
        let timeout = Duration::from_secs(30);
        assert_eq!(outbox.stalled_at(timeout), Some(now + timeout));
        send_all(&mut outbox, now);
        let later = now + Duration::from_secs(20);
        outbox.delivered(EmitId(0), &DeliveryOutcome::Acked, later);
        assert_eq!(outbox.stalled_at(timeout), Some(later + timeout));
        outbox.delivered(EmitId(1), &DeliveryOutcome::Acked, later);
        assert_eq!(outbox.stalled_at(timeout), None);
    }

    #[test]
    fn report_for_unknown_message_changes_nothing() {
        let (mut outbox, now) = outbox(1);
        assert_eq!(outbox.delivered(EmitId(9), &DeliveryOutcome::Acked, now), None);
        assert!(!outbox.is_empty());
    }

    #[test]
    fn refused_batch_is_sent_again_message_by_message() {
        let (mut outbox, now) = outbox(2);
        assert_eq!(send_all(&mut outbox, now), [0, 1]);
        for id in 0..2 {
            assert_eq!(outbox.delivered(EmitId(id), &DeliveryOutcome::TooLarge, now), None);
        }
        assert!(outbox.sends_alone());
        assert_eq!(send_all(&mut outbox, now), [0, 1]);
        assert!(outbox.delivered(EmitId(0), &DeliveryOutcome::Acked, now).is_some());
        let refused = outbox.delivered(EmitId(1), &DeliveryOutcome::TooLarge, now);
        assert!(refused.is_some() && outbox.is_empty(), "it was too large by itself");
    }
}
