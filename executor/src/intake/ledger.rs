//! Which acquire calls are answered.
//!
//! In: calls begun, and calls answered or given up. Out: the highest seq up to which all are: what a heartbeat names, so
//! that grants whose answer got lost go back to the queue. Seqs count from 1 in each session.

use std::collections::BTreeSet;

/// The acquire calls of one session.
#[derive(Debug, Default)]
pub(crate) struct AcquireLedger {
    last: i64,
    open: BTreeSet<i64>,
}

impl AcquireLedger {
    /// Begins a call. It stays open through all its repetitions.
    pub(crate) fn begin(&mut self) -> i64 {
        self.last += 1;
        self.open.insert(self.last);
        self.last
    }

    /// Ends a call: answered, or given up.
    pub(crate) fn settle(&mut self, seq: i64) {
        self.open.remove(&seq);
    }

    /// Every call up to this one is answered or given up.
    pub(crate) fn answered(&self) -> i64 {
        self.open.first().map_or(self.last, |first| first - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_call_holds_back_all_later_ones() {
        let mut ledger = AcquireLedger::default();
        assert_eq!(ledger.answered(), 0);
        let (a, b, c) = (ledger.begin(), ledger.begin(), ledger.begin());
        assert_eq!((a, b, c), (1, 2, 3));
        ledger.settle(b);
        ledger.settle(c);
        assert_eq!(ledger.answered(), 0, "the first may still have granted something");
        ledger.settle(a);
        assert_eq!(ledger.answered(), 3);
    }

    #[test]
    fn a_call_that_is_repeated_settles_once() {
        let mut ledger = AcquireLedger::default();
        let a = ledger.begin();
        ledger.settle(a);
        ledger.settle(a);
        let b = ledger.begin();
        assert_eq!(ledger.answered(), a);
        ledger.settle(b);
        assert_eq!(ledger.answered(), b);
    }
}
