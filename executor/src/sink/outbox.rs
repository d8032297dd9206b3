//! The messages of one run on their way into Kafka, in their order.
//!
//! In: messages as the engine emits them, and what became of each that was sent. Out: which to send next. A message that
//! was not acknowledged for sure is sent again, with the same ids; until the others under way are settled nothing
//! newer passes it, so that pages stay in their order as far as Kafka tells. It does no I/O and reads no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use orchid_engine::{EmitId, Message};
use tokio::time::Instant;

use crate::sink::DeliveryOutcome;

/// Messages of one run that may be on their way at once; also the room for their answers.
pub const MAX_IN_FLIGHT: usize = 256;
/// Un-acknowledged messages or bytes from which on a run fetches nothing new.
const FULL_MESSAGES: usize = 128;
const FULL_BYTES: usize = 16 << 20;
/// After a failure, how long until the message is sent again.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// The un-acknowledged messages of one run.
#[derive(Debug)]
pub struct Outbox {
    waiting: BTreeMap<EmitId, Message>,
    in_flight: BTreeMap<EmitId, Message>,
    bytes: usize,
    /// Something failed: send nothing until this time, nor while messages are under way.
    settling: Option<Instant>,
    /// When the last acknowledgement came, or the first of the present messages was added.
    progress: Instant,
}

impl Outbox {
    /// Empty.
    pub fn new(now: Instant) -> Outbox {
        Outbox {
            waiting: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            bytes: 0,
            settling: None,
            progress: now,
        }
    }

    /// Takes a message in.
    pub fn push(&mut self, id: EmitId, message: Message, now: Instant) {
        if self.is_empty() {
            self.progress = now;
        }
        self.bytes += message.size();
        self.waiting.insert(id, message);
    }

    /// The next to send; none while there is none, while too many are under way, or while failures settle.
    pub fn next(&self, now: Instant) -> Option<(EmitId, &Message)> {
        let settled = match self.settling {
            None => self.in_flight.len() < MAX_IN_FLIGHT,
            Some(until) => self.in_flight.is_empty() && now >= until,
        };
        if !settled {
            return None;
        }
        self.waiting.first_key_value().map(|(id, message)| (*id, message))
    }

    /// The message is on its way.
    pub fn sent(&mut self, id: EmitId) {
        self.settling = None;
        if let Some(message) = self.waiting.remove(&id) {
            self.in_flight.insert(id, message);
        }
    }

    /// The message could not be queued.
    pub fn not_sent(&mut self, now: Instant) {
        self.settling = Some(now + RETRY_AFTER);
    }

    /// What became of a message that was sent. Answers whether it is done with.
    pub fn delivered(&mut self, id: EmitId, outcome: &DeliveryOutcome, now: Instant) -> bool {
        let Some(message) = self.in_flight.remove(&id) else { return false };
        match outcome {
            DeliveryOutcome::Acked | DeliveryOutcome::TooLarge => {
                self.bytes = self.bytes.saturating_sub(message.size());
                self.progress = now;
                true
            }
            DeliveryOutcome::Unknown(_) => {
                self.waiting.insert(id, message);
                self.settling = Some(now + RETRY_AFTER);
                false
            }
        }
    }

    /// Takes out a message that will never be sent; answers its size.
    pub fn refused(&mut self, id: EmitId) -> Option<usize> {
        let message = self.waiting.remove(&id).or_else(|| self.in_flight.remove(&id))?;
        self.bytes = self.bytes.saturating_sub(message.size());
        Some(message.size())
    }

    /// Size of a message that is under way.
    pub fn size(&self, id: EmitId) -> Option<usize> {
        self.in_flight.get(&id).map(Message::size)
    }

    /// Everything is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// So much is un-acknowledged that fetching should wait.
    pub fn is_full(&self) -> bool {
        self.waiting.len() + self.in_flight.len() >= FULL_MESSAGES || self.bytes >= FULL_BYTES
    }

    /// When failed messages may be sent again.
    pub fn retry_at(&self) -> Option<Instant> {
        self.settling.filter(|_| self.in_flight.is_empty() && !self.waiting.is_empty())
    }

    /// From when on the sink counts as stalled, if nothing is acknowledged until then.
    pub fn stalled_at(&self, timeout: Duration) -> Option<Instant> {
        (!self.is_empty()).then(|| self.progress + timeout)
    }

    /// A pause of our own is no stall of the sink's.
    pub fn resumed(&mut self, now: Instant) {
        self.progress = now;
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
    fn a_failed_message_is_sent_again_before_anything_newer() {
        let (mut outbox, now) = outbox(3);
        assert_eq!(send_all(&mut outbox, now), [0, 1, 2]);
        assert!(!outbox.delivered(EmitId(0), &unknown(), now));
        outbox.push(EmitId(3), message(10), now);
        assert_eq!(send_all(&mut outbox, now + RETRY_AFTER), [0; 0], "1 and 2 are not settled");
        assert!(outbox.delivered(EmitId(1), &DeliveryOutcome::Acked, now));
        assert!(!outbox.delivered(EmitId(2), &unknown(), now));
        assert_eq!(send_all(&mut outbox, now), [0; 0], "not at once");
        assert_eq!(outbox.retry_at(), Some(now + RETRY_AFTER));
        assert_eq!(send_all(&mut outbox, now + RETRY_AFTER), [0, 2, 3]);
    }

    #[test]
    fn no_more_are_under_way_than_there_is_room_for_answers() {
        let (mut outbox, now) = outbox(MAX_IN_FLIGHT as u64 + 5);
        assert_eq!(send_all(&mut outbox, now).len(), MAX_IN_FLIGHT);
        assert!(outbox.delivered(EmitId(7), &DeliveryOutcome::Acked, now));
        assert_eq!(send_all(&mut outbox, now), [MAX_IN_FLIGHT as u64]);
    }

    #[test]
    fn it_is_full_by_messages_or_bytes_until_they_are_acknowledged() {
        let (mut outbox, now) = outbox(FULL_MESSAGES as u64 - 1);
        assert!(!outbox.is_full());
        outbox.push(EmitId(1_000), message(1), now);
        assert!(outbox.is_full());
        outbox.sent(EmitId(1_000));
        outbox.delivered(EmitId(1_000), &DeliveryOutcome::Acked, now);
        assert!(!outbox.is_full());
        outbox.push(EmitId(1_001), message(FULL_BYTES), now);
        assert!(outbox.is_full());
        assert!(outbox.refused(EmitId(1_001)).is_some());
        assert!(!outbox.is_full());
    }

    #[test]
    fn it_stalls_when_nothing_is_acknowledged_for_a_while() {
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
    fn an_answer_about_an_unknown_message_changes_nothing() {
        let (mut outbox, now) = outbox(1);
        assert!(!outbox.delivered(EmitId(9), &DeliveryOutcome::Acked, now));
        assert!(!outbox.is_empty());
    }
}
