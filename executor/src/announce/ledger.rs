//! Which announcements are on their way, and which Kafka has.
//!
//! In: announcements as they are handed over (the same one again and again until it is confirmed), acknowledgements of
//! their messages, and beats that named them. Out: which are new, and which to confirm. It sends nothing.

use std::collections::{HashMap, HashSet};

/// Most announcements that are remembered at once; more are left for later beats to hand over again.
const MAX_KNOWN: usize = 10_000;

/// Names an announcement.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnnouncementKey {
    /// UUID of the tenant.
    pub tenant_id: String,
    /// UUID of the announcement.
    pub id: String,
}

/// Announcements between hand-over and confirmation.
#[derive(Debug, Default)]
pub(crate) struct AnnouncementLedger {
    on_their_way: HashMap<AnnouncementKey, Round>,
    /// To be named in the next beat.
    acknowledged: HashSet<AnnouncementKey>,
    rounds: u64,
}

/// One sending of an announcement.
#[derive(Debug)]
struct Round {
    number: u64,
    /// Messages that Kafka has not acknowledged yet.
    left: u32,
}

impl AnnouncementLedger {
    /// The number of the round in which this one is to be sent, as so many messages; none where it was taken before.
    pub(crate) fn take(&mut self, key: &AnnouncementKey, messages: u32) -> Option<u64> {
        let known = self.on_their_way.contains_key(key) || self.acknowledged.contains(key);
        let full = self.on_their_way.len() + self.acknowledged.len() >= MAX_KNOWN;
        if known || full {
            return None;
        }
        self.rounds += 1;
        self.on_their_way.insert(key.clone(), Round { number: self.rounds, left: messages });
        Some(self.rounds)
    }

    /// One of a round's messages is in Kafka.
    pub(crate) fn acknowledged(&mut self, key: &AnnouncementKey, round: u64) {
        let Some(going) = self.on_their_way.get_mut(key).filter(|going| going.number == round) else {
            return;
        };
        going.left = going.left.saturating_sub(1);
        if going.left == 0 {
            self.on_their_way.remove(key);
            self.acknowledged.insert(key.clone());
        }
    }

    /// One of a round's messages may not be in Kafka: forget it, a later beat hands it over again.
    pub(crate) fn failed(&mut self, key: &AnnouncementKey, round: u64) {
        if self.on_their_way.get(key).is_some_and(|going| going.number == round) {
            self.on_their_way.remove(key);
        }
    }

    /// What the next beat confirms.
    pub(crate) fn to_confirm(&self) -> Vec<AnnouncementKey> {
        self.acknowledged.iter().cloned().collect()
    }

    /// A beat that named these was accepted.
    pub(crate) fn confirmed(&mut self, keys: &[AnnouncementKey]) {
        for key in keys {
            self.acknowledged.remove(key);
        }
    }

    /// Nothing is on its way and nothing waits to be confirmed.
    pub(crate) fn is_empty(&self) -> bool {
        self.on_their_way.is_empty() && self.acknowledged.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> AnnouncementKey {
        AnnouncementKey { tenant_id: "t".to_owned(), id: id.to_owned() }
    }

    #[test]
    fn it_is_confirmed_once_all_its_messages_are_acknowledged() {
        let mut ledger = AnnouncementLedger::default();
        let round = ledger.take(&key("a"), 2).unwrap();
        ledger.acknowledged(&key("a"), round);
        assert!(ledger.to_confirm().is_empty());
        ledger.acknowledged(&key("a"), round);
        assert_eq!(ledger.to_confirm(), [key("a")]);
    }

    #[test]
    fn what_beats_hand_over_again_is_not_sent_again() {
        let mut ledger = AnnouncementLedger::default();
        let round = ledger.take(&key("a"), 1).unwrap();
        assert_eq!(ledger.take(&key("a"), 1), None, "on its way");
        ledger.acknowledged(&key("a"), round);
        assert_eq!(ledger.take(&key("a"), 1), None, "not confirmed yet");
        ledger.confirmed(&[key("a")]);
        assert!(ledger.is_empty());
        assert!(ledger.take(&key("a"), 1).is_some(), "the confirmation got lost");
    }

    #[test]
    fn a_late_acknowledgement_of_a_round_that_failed_counts_for_no_later_one() {
        let mut ledger = AnnouncementLedger::default();
        let first = ledger.take(&key("a"), 2).unwrap();
        ledger.failed(&key("a"), first);
        let second = ledger.take(&key("a"), 2).unwrap();
        ledger.acknowledged(&key("a"), first);
        ledger.acknowledged(&key("a"), second);
        assert!(ledger.to_confirm().is_empty());
        ledger.failed(&key("a"), first);
        ledger.acknowledged(&key("a"), second);
        assert_eq!(ledger.to_confirm(), [key("a")]);
    }

    #[test]
    fn it_remembers_only_so_many() {
        let mut ledger = AnnouncementLedger::default();
        for n in 0..MAX_KNOWN {
            assert!(ledger.take(&key(&n.to_string()), 1).is_some());
        }
        assert_eq!(ledger.take(&key("one more"), 1), None);
    }
}
