//! Tracks announcements from hand-over to confirmation.
//!
//! The control plane repeats an announcement in every heartbeat response until a heartbeat confirms
//! it. The tracker decides which announcements are new, and which ones to confirm because Kafka has
//! acknowledged all their messages. It sends nothing itself.

use std::collections::{HashMap, HashSet};

/// Most announcements tracked at once. The control plane hands the others over again later.
const MAX_TRACKED: usize = 10_000;

/// The identity of an announcement.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnnouncementKey {
    /// UUID of the tenant.
    pub tenant_id: String,
    /// UUID of the announcement.
    pub id: String,
}

/// Announcements between hand-over and confirmation.
#[derive(Debug, Default)]
pub(crate) struct AnnouncementTracker {
    in_flight: HashMap<AnnouncementKey, SendRound>,
    /// To be named in the next heartbeat.
    acknowledged: HashSet<AnnouncementKey>,
    /// Number of the latest round.
    rounds: u64,
}

/// One attempt to send an announcement. Its number tells late acknowledgements of a failed round
/// from those of the current one.
#[derive(Debug)]
struct SendRound {
    number: u64,
    /// Messages that Kafka has not acknowledged yet.
    unacknowledged: u32,
}

impl AnnouncementTracker {
    /// Starts a round in which the announcement is sent as `messages` messages, and returns the
    /// round's number. Returns `None` if the announcement is already tracked or the tracker is
    /// full.
    pub(crate) fn start(&mut self, key: &AnnouncementKey, messages: u32) -> Option<u64> {
        let is_tracked = self.in_flight.contains_key(key) || self.acknowledged.contains(key);
        let is_full = self.in_flight.len() + self.acknowledged.len() >= MAX_TRACKED;
        // A confirmation may get lost, so announcements that wait for it must not be sent again
        // either.
        if is_tracked || is_full {
            return None;
        }
        self.rounds += 1;
        self.in_flight.insert(key.clone(), SendRound { number: self.rounds, unacknowledged: messages });
        Some(self.rounds)
    }

    /// Records that Kafka acknowledged one message of a round.
    pub(crate) fn acknowledge(&mut self, key: &AnnouncementKey, round: u64) {
        let Some(current) = self.in_flight.get_mut(key).filter(|current| current.number == round) else {
            return;
        };
        current.unacknowledged = current.unacknowledged.saturating_sub(1);
        if current.unacknowledged == 0 {
            self.in_flight.remove(key);
            self.acknowledged.insert(key.clone());
        }
    }

    /// Records that one message of a round may be missing in Kafka. The announcement is forgotten:
    /// a later heartbeat response hands it over again.
    pub(crate) fn fail(&mut self, key: &AnnouncementKey, round: u64) {
        if self.in_flight.get(key).is_some_and(|current| current.number == round) {
            self.in_flight.remove(key);
        }
    }

    /// Returns the announcements that the next heartbeat confirms.
    pub(crate) fn to_confirm(&self) -> Vec<AnnouncementKey> {
        self.acknowledged.iter().cloned().collect()
    }

    /// Forgets announcements that an accepted heartbeat has confirmed.
    pub(crate) fn confirmed(&mut self, keys: &[AnnouncementKey]) {
        for key in keys {
            self.acknowledged.remove(key);
        }
    }

    /// Returns whether nothing is in flight or waits to be confirmed.
    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_empty() && self.acknowledged.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> AnnouncementKey {
        AnnouncementKey { tenant_id: "t".to_owned(), id: id.to_owned() }
    }

    #[test]
    fn announcement_is_confirmed_after_its_last_acknowledgement() {
        let mut tracker = AnnouncementTracker::default();
        let round = tracker.start(&key("a"), 2).unwrap();
        tracker.acknowledge(&key("a"), round);
        assert!(tracker.to_confirm().is_empty());
        tracker.acknowledge(&key("a"), round);
        assert_eq!(tracker.to_confirm(), [key("a")]);
    }

    #[test]
    fn repeated_announcement_is_not_sent_again() {
        let mut tracker = AnnouncementTracker::default();
        let round = tracker.start(&key("a"), 1).unwrap();
        assert_eq!(tracker.start(&key("a"), 1), None, "in flight");
        tracker.acknowledge(&key("a"), round);
        assert_eq!(tracker.start(&key("a"), 1), None, "not confirmed yet");
        tracker.confirmed(&[key("a")]);
        assert!(tracker.is_empty());
        assert!(tracker.start(&key("a"), 1).is_some(), "the confirmation got lost");
    }

    #[test]
    fn late_acknowledgement_of_failed_round_is_ignored() {
        let mut tracker = AnnouncementTracker::default();
        let first = tracker.start(&key("a"), 2).unwrap();
        tracker.fail(&key("a"), first);
        let second = tracker.start(&key("a"), 2).unwrap();
        tracker.acknowledge(&key("a"), first);
        tracker.acknowledge(&key("a"), second);
        assert!(tracker.to_confirm().is_empty());
        tracker.fail(&key("a"), first);
        tracker.acknowledge(&key("a"), second);
        assert_eq!(tracker.to_confirm(), [key("a")]);
    }

    #[test]
    fn full_tracker_starts_no_round() {
        let mut tracker = AnnouncementTracker::default();
        for n in 0..MAX_TRACKED {
            assert!(tracker.start(&key(&n.to_string()), 1).is_some());
        }
        assert_eq!(tracker.start(&key("one more"), 1), None);
    }
}
