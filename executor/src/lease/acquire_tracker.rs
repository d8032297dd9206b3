//! Tracks which acquire calls are resolved.
//!
//! A heartbeat names the highest `acquire_seq` up to which *all* calls are resolved, that is,
//! received a response or were given up. The control plane then queues every grant up to that seq
//! again that the heartbeat does not list: its response was lost. Seqs count from 1 in each
//! session.

use std::collections::BTreeSet;

/// The acquire calls of one session.
#[derive(Debug, Default)]
pub(crate) struct AcquireTracker {
    last: i64,
    open: BTreeSet<i64>,
}

impl AcquireTracker {
    /// Opens a call and returns its seq. Repetitions of the call keep the seq.
    pub(crate) fn open(&mut self) -> i64 {
        self.last += 1;
        self.open.insert(self.last);
        self.last
    }

    /// Resolves a call, after a response or after giving it up.
    pub(crate) fn resolve(&mut self, seq: i64) {
        self.open.remove(&seq);
    }

    /// Returns the highest seq up to which all calls are resolved; 0 when none is.
    pub(crate) fn resolved_up_to(&self) -> i64 {
        self.open.first().map_or(self.last, |first| first - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_call_holds_back_all_later_ones() {
        let mut tracker = AcquireTracker::default();
        assert_eq!(tracker.resolved_up_to(), 0);
        let (a, b, c) = (tracker.open(), tracker.open(), tracker.open());
        assert_eq!((a, b, c), (1, 2, 3));
        tracker.resolve(b);
        tracker.resolve(c);
        assert_eq!(tracker.resolved_up_to(), 0, "the first may still have granted something");
        tracker.resolve(a);
        assert_eq!(tracker.resolved_up_to(), 3);
    }

    #[test]
    fn repeated_call_resolves_once() {
        let mut tracker = AcquireTracker::default();
        let a = tracker.open();
        tracker.resolve(a);
        tracker.resolve(a);
        let b = tracker.open();
        assert_eq!(tracker.resolved_up_to(), a);
        tracker.resolve(b);
        assert_eq!(tracker.resolved_up_to(), b);
    }
}
