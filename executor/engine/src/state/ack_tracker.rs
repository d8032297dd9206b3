//! Which messages are still on their way, and which place every earlier message has reached.
//!
//! In: messages handed out, acknowledgements, and places with what changed up to them. Out: the newest place before which
//! nothing is open, once. A place never overtakes a message: that is what at-least-once rests on.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::input::EmitId;
use crate::output::{Checkpoint, CursorChange};
use crate::progress::Progress;
use crate::state::context::{self, ContextChanges};
use crate::state::cursor_store::CursorValues;
use crate::state::location::StepLocation;

/// Where a message came from, should it be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageSource {
    pub(crate) location: StepLocation,
}

/// A place, as a checkpoint says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncodedState {
    pub(crate) place: Bytes,
    /// An upstream works for the run there.
    pub(crate) must_cancel: bool,
}

/// A place, and what changed since the one before it.
#[derive(Debug, Clone)]
pub(crate) struct PendingCheckpoint {
    pub(crate) stand: EncodedState,
    /// Values of finished steps, where they changed.
    pub(crate) finished: Option<Bytes>,
    pub(crate) context_changes: ContextChanges,
    pub(crate) cursor_changes: CursorValues,
    pub(crate) progress: Progress,
}

struct QueuedCheckpoint {
    /// Every message before this one must be acknowledged.
    before: EmitId,
    mark: PendingCheckpoint,
}

/// Messages and places of one attempt.
pub(crate) struct AckTracker {
    next: u64,
    open: BTreeMap<EmitId, MessageSource>,
    waiting: VecDeque<QueuedCheckpoint>,
    ready: Option<PendingCheckpoint>,
    /// The newest place that was ready, handed out or not.
    base: EncodedState,
}

impl AckTracker {
    /// A ledger that begins at a place.
    pub(crate) fn new(base: EncodedState) -> AckTracker {
        AckTracker { next: 0, open: BTreeMap::new(), waiting: VecDeque::new(), ready: None, base }
    }

    /// Opens a message.
    pub(crate) fn emit(&mut self, sender: MessageSource) -> EmitId {
        let id = EmitId(self.next);
        self.next += 1;
        self.open.insert(id, sender);
        id
    }

    /// Whether every message was acknowledged or refused.
    pub(crate) fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// Marks a place after all messages opened so far.
    pub(crate) fn mark(&mut self, mark: PendingCheckpoint) {
        self.waiting.push_back(QueuedCheckpoint { before: EmitId(self.next), mark });
        self.settle();
    }

    /// Closes a message. Of one that is not open nothing happens.
    pub(crate) fn acked(&mut self, id: EmitId) {
        self.open.remove(&id);
        self.settle();
    }

    /// Closes a message that will never be taken, and forgets all places after it: the run goes on from none of them.
    /// Answers who sent it, and the newest place that stays.
    pub(crate) fn refused(&mut self, id: EmitId) -> Option<(MessageSource, EncodedState)> {
        let sender = self.open.remove(&id)?;
        self.waiting.retain(|waiting| waiting.before <= id);
        let stand = self.waiting.back().map_or_else(|| self.base.clone(), |last| last.mark.stand.clone());
        self.settle();
        Some((sender, stand))
    }

    /// The newest ready place, once.
    pub(crate) fn take(&mut self) -> Option<Checkpoint> {
        let PendingCheckpoint { stand, finished, context_changes, cursor_changes, progress } =
            self.ready.take()?;
        let EncodedState { place, must_cancel } = stand;
        let cursor_changes = cursor_changes.into_iter().map(CursorChange::from).collect();
        Some(Checkpoint {
            resume_state: place,
            must_cancel,
            finished_steps: finished,
            context_changes,
            cursor_changes,
            progress,
        })
    }

    fn settle(&mut self) {
        while let Some(first) = self.waiting.front() {
            if self.open.keys().next().is_some_and(|oldest| *oldest < first.before) {
                return;
            }
            if let Some(QueuedCheckpoint { mark, .. }) = self.waiting.pop_front() {
                self.base = mark.stand.clone();
                self.ready = Some(match self.ready.take() {
                    Some(before) => merge(before, mark),
                    None => mark,
                });
            }
        }
    }
}

/// The later place, with the changes of both.
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
        MessageSource { location: StepLocation { node: 0, path: format!("orders#{page}"), page, retries: 0 } }
    }

    fn stand(place: &'static str) -> EncodedState {
        EncodedState { place: Bytes::from_static(place.as_bytes()), must_cancel: false }
    }

    fn mark(place: &'static str, changes: &[(&str, Option<&'static str>)]) -> PendingCheckpoint {
        PendingCheckpoint {
            stand: stand(place),
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

    fn ledger() -> AckTracker {
        AckTracker::new(stand("start"))
    }

    #[test]
    fn a_place_waits_for_every_message_before_it_whatever_the_order_of_acks() {
        let mut ledger = ledger();
        let (first, second) = (ledger.emit(sender(0)), ledger.emit(sender(0)));
        ledger.mark(mark("a", &[]));
        ledger.acked(second);
        assert_eq!(ledger.take(), None);
        ledger.acked(first);
        assert_eq!(ledger.take().unwrap().resume_state, "a");
        assert_eq!(ledger.take(), None, "handed out once");
    }

    #[test]
    fn a_place_without_messages_waits_for_earlier_ones() {
        let mut ledger = ledger();
        let first = ledger.emit(sender(0));
        ledger.mark(mark("a", &[]));
        ledger.mark(mark("b", &[]));
        assert_eq!(ledger.take(), None);
        ledger.acked(first);
        assert_eq!(ledger.take().unwrap().resume_state, "b");
    }

    #[test]
    fn a_later_place_carries_the_changes_of_those_it_replaces() {
        let mut ledger = ledger();
        ledger.mark(mark("a", &[("x", Some("1")), ("y", Some("1"))]));
        ledger.mark(mark("b", &[("x", None)]));
        let changes = ledger.take().unwrap().context_changes;
        assert_eq!(changes, [("y".to_owned(), Some(Bytes::from_static(b"1"))), ("x".to_owned(), None)]);
    }

    #[test]
    fn a_refused_message_takes_the_places_after_it_along() {
        let mut ledger = ledger();
        let first = ledger.emit(sender(0));
        ledger.mark(mark("a", &[]));
        let second = ledger.emit(sender(1));
        ledger.mark(mark("b", &[]));
        let (sender, at): (MessageSource, EncodedState) = ledger.refused(second).unwrap();
        assert_eq!((sender.location.page, at), (1, stand("a")));
        ledger.acked(first);
        assert_eq!(ledger.take().unwrap().resume_state, "a");
    }

    #[test]
    fn an_unknown_acknowledgement_changes_nothing() {
        let mut ledger = ledger();
        ledger.acked(EmitId(7));
        assert_eq!(ledger.refused(EmitId(7)), None);
        assert_eq!(ledger.take(), None);
    }
}
