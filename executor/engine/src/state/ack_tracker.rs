//! Tracks unacknowledged messages, and the newest checkpoint whose messages are all acknowledged.
//!
//! It takes emitted messages, acknowledgements and resume states with the changes up to them, and
//! returns each checkpoint once. A checkpoint never overtakes a message: at-least-once delivery
//! rests on this.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::input::EmitId;
use crate::limits::{UNACKED_BYTES_MAX, UNACKED_MESSAGES_MAX};
use crate::output::{Checkpoint, CursorChange};
use crate::progress::Progress;
use crate::state::context::{self, ContextChanges};
use crate::state::cursor_store::CursorValues;
use crate::state::location::StepLocation;

/// The origin of a message, needed if the broker refuses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageSource {
    pub(crate) location: StepLocation,
    /// Size of the message in bytes.
    pub(crate) size: usize,
}

/// A resume state as a checkpoint contains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncodedState {
    pub(crate) resume_state: Bytes,
    /// True if upstream jobs must be cancelled should the execution be cancelled in this state.
    pub(crate) must_cancel: bool,
}

/// A resume state with the changes since the one before it.
#[derive(Debug, Clone)]
pub(crate) struct PendingCheckpoint {
    pub(crate) state: EncodedState,
    /// Values of finished steps, if they changed.
    pub(crate) finished: Option<Bytes>,
    pub(crate) context_changes: ContextChanges,
    pub(crate) cursor_changes: CursorValues,
    pub(crate) progress: Progress,
}

/// A checkpoint that waits for acknowledgements.
struct QueuedCheckpoint {
    /// All messages with a lower id must be acknowledged first.
    before: EmitId,
    checkpoint: PendingCheckpoint,
}

/// The messages and checkpoints of one attempt.
pub(crate) struct AckTracker {
    next: u64,
    open: BTreeMap<EmitId, MessageSource>,
    /// Size of all open messages.
    open_bytes: usize,
    waiting: VecDeque<QueuedCheckpoint>,
    ready: Option<PendingCheckpoint>,
    /// The newest acknowledged resume state, whether it was handed out or not, and the progress
    /// up to it.
    base: (EncodedState, Progress),
}

impl AckTracker {
    /// Creates a tracker that begins at a resume state.
    pub(crate) fn new(base: EncodedState, progress: Progress) -> Self {
        Self {
            next: 0,
            open: BTreeMap::new(),
            open_bytes: 0,
            waiting: VecDeque::new(),
            ready: None,
            base: (base, progress),
        }
    }

    /// Registers an emitted message.
    pub(crate) fn emit(&mut self, sender: MessageSource) -> EmitId {
        let id = EmitId(self.next);
        self.next += 1;
        self.open_bytes += sender.size;
        self.open.insert(id, sender);
        id
    }

    /// Returns whether so much is unacknowledged that further rows have to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.open.len() >= UNACKED_MESSAGES_MAX || self.open_bytes >= UNACKED_BYTES_MAX
    }

    /// Returns whether rows that waited may continue. The bound is lower than that of
    /// [`AckTracker::is_full`]: several rows continue at once, instead of one after each
    /// acknowledgement.
    pub(crate) fn has_room(&self) -> bool {
        self.open.len() <= UNACKED_MESSAGES_MAX / 2 && self.open_bytes <= UNACKED_BYTES_MAX / 2
    }

    /// Returns whether every message was acknowledged or refused.
    pub(crate) fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// Queues a checkpoint behind all messages emitted so far.
    pub(crate) fn queue(&mut self, checkpoint: PendingCheckpoint) {
        self.waiting.push_back(QueuedCheckpoint { before: EmitId(self.next), checkpoint });
        self.settle();
    }

    /// Registers an acknowledgement. Unknown ids are ignored.
    pub(crate) fn acked(&mut self, id: EmitId) {
        self.close(id);
        self.settle();
    }

    /// Registers a refusal and drops all checkpoints after the message. Returns its origin, and the
    /// newest resume state before it with its progress; `None` for an unknown id.
    pub(crate) fn refused(&mut self, id: EmitId) -> Option<(MessageSource, EncodedState, Progress)> {
        let sender = self.close(id)?;
        // The content of these checkpoints includes the refused message: resuming there would lose
        // it.
        self.waiting.retain(|waiting| waiting.before <= id);
        let (state, progress) = match self.waiting.back() {
            Some(QueuedCheckpoint { checkpoint, .. }) => {
                (checkpoint.state.clone(), checkpoint.progress.clone())
            }
            None => self.base.clone(),
        };
        self.settle();
        Some((sender, state, progress))
    }

    /// Takes the newest acknowledged checkpoint, if there is a new one.
    pub(crate) fn take(&mut self) -> Option<Checkpoint> {
        let PendingCheckpoint { state, finished, context_changes, cursor_changes, progress } =
            self.ready.take()?;
        let EncodedState { resume_state, must_cancel } = state;
        let cursor_changes = cursor_changes.into_iter().map(CursorChange::from).collect();
        Some(Checkpoint {
            resume_state,
            must_cancel,
            finished_steps: finished,
            context_changes,
            cursor_changes,
            progress,
        })
    }

    fn close(&mut self, id: EmitId) -> Option<MessageSource> {
        let sender = self.open.remove(&id)?;
        self.open_bytes -= sender.size;
        Some(sender)
    }

    /// Moves queued checkpoints whose messages are all acknowledged to `ready`.
    fn settle(&mut self) {
        while let Some(first) = self.waiting.front() {
            // Kafka acknowledges in any order; only the oldest open message decides.
            if self.open.keys().next().is_some_and(|oldest| *oldest < first.before) {
                return;
            }
            if let Some(QueuedCheckpoint { checkpoint, .. }) = self.waiting.pop_front() {
                // Several checkpoints may become ready between two saves: their changes add up.
                self.base = (checkpoint.state.clone(), checkpoint.progress.clone());
                self.ready = Some(match self.ready.take() {
                    Some(before) => merge(before, checkpoint),
                    None => checkpoint,
                });
            }
        }
    }
}

/// Merges two checkpoints: the later resume state with the changes of both.
fn merge(before: PendingCheckpoint, mut after: PendingCheckpoint) -> PendingCheckpoint {
    let mut changes = before.context_changes;
    context::append(&mut changes, &mut after.context_changes);
    let mut cursors = before.cursor_changes;
    cursors.append(&mut after.cursor_changes);
    PendingCheckpoint {
        finished: after.finished.or(before.finished),
        context_changes: changes,
        cursor_changes: cursors,
        ..after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(page: u64) -> MessageSource {
        let location = StepLocation { node: 0, path: format!("orders#{page}"), page, retries: 0 };
        MessageSource { location, size: 1000 }
    }

    fn encoded(resume_state: &'static str) -> EncodedState {
        EncodedState { resume_state: Bytes::from_static(resume_state.as_bytes()), must_cancel: false }
    }

    fn checkpoint(resume_state: &'static str, changes: &[(&str, Option<&'static str>)]) -> PendingCheckpoint {
        PendingCheckpoint {
            state: encoded(resume_state),
            finished: None,
            context_changes: changes
                .iter()
                .map(|(name, value)| {
                    ((*name).to_owned(), value.map(|text| Bytes::from_static(text.as_bytes())))
                })
                .collect(),
            cursor_changes: CursorValues::new(),
            progress: Progress::default(),
        }
    }

    fn tracker() -> AckTracker {
        AckTracker::new(encoded("start"), Progress::default())
    }

    #[test]
    fn checkpoint_waits_for_all_earlier_messages_in_any_order() {
        let mut tracker = tracker();
        let (first, second) = (tracker.emit(sender(0)), tracker.emit(sender(0)));
        tracker.queue(checkpoint("a", &[]));
        tracker.acked(second);
        assert_eq!(tracker.take(), None);
        tracker.acked(first);
        assert_eq!(tracker.take().unwrap().resume_state, "a");
        assert_eq!(tracker.take(), None, "handed out once");
    }

    #[test]
    fn checkpoint_without_messages_waits_for_earlier_ones() {
        let mut tracker = tracker();
        let first = tracker.emit(sender(0));
        tracker.queue(checkpoint("a", &[]));
        tracker.queue(checkpoint("b", &[]));
        assert_eq!(tracker.take(), None);
        tracker.acked(first);
        assert_eq!(tracker.take().unwrap().resume_state, "b");
    }

    #[test]
    fn later_checkpoint_includes_changes_of_replaced_ones() {
        let mut tracker = tracker();
        tracker.queue(checkpoint("a", &[("x", Some("1")), ("y", Some("1"))]));
        tracker.queue(checkpoint("b", &[("x", None)]));
        let changes = tracker.take().unwrap().context_changes;
        assert_eq!(changes, [("y".to_owned(), Some(Bytes::from_static(b"1"))), ("x".to_owned(), None)]);
    }

    #[test]
    fn refused_message_drops_later_checkpoints() {
        let mut tracker = tracker();
        let first = tracker.emit(sender(0));
        tracker.queue(checkpoint("a", &[]));
        let second = tracker.emit(sender(1));
        tracker.queue(checkpoint("b", &[]));
        let (sender, at, _) = tracker.refused(second).unwrap();
        assert_eq!((sender.location.page, at), (1, encoded("a")));
        tracker.acked(first);
        assert_eq!(tracker.take().unwrap().resume_state, "a");
    }

    #[test]
    fn tracker_is_full_by_messages_or_bytes_and_never_without_any() {
        let mut tracker = tracker();
        let ids: Vec<EmitId> =
            (0..UNACKED_MESSAGES_MAX as u64).map(|page| tracker.emit(sender(page))).collect();
        assert!(tracker.is_full());
        tracker.acked(ids[0]);
        assert!(!tracker.is_full() && !tracker.has_room(), "waiting rows continue at half of the bound");
        ids.iter().take(UNACKED_MESSAGES_MAX / 2).for_each(|id| tracker.acked(*id));
        assert!(tracker.has_room());
        let large = MessageSource { size: UNACKED_BYTES_MAX, ..sender(0) };
        let large = tracker.emit(large);
        assert!(tracker.is_full());
        tracker.refused(large);
        ids.iter().for_each(|id| tracker.acked(*id));
        assert!(tracker.has_room() && !tracker.is_full(), "nothing is open");
    }

    #[test]
    fn unknown_acknowledgement_is_ignored() {
        let mut tracker = tracker();
        tracker.acked(EmitId(7));
        assert_eq!(tracker.refused(EmitId(7)), None);
        assert_eq!(tracker.take(), None);
    }
}
