//! Rows or items in progress: a bounded number at once, and those that ended before an earlier one.
//!
//! However many there are in all, only a window of them is in memory: none starts far ahead of the
//! oldest that has not ended.

use std::collections::BTreeMap;

use crate::state::execution::ExecutionState;
use crate::state::status::{DeferredWait, StepStatus};

/// Distance that a row may be ahead of the oldest one in flight, as a multiple of `concurrency`.
/// One slow row then does not stop the others at once, but cannot let the ended ones pile up
/// either.
const AHEAD: u64 = 4;
/// Tries of one execution that are in flight at once, over all its fan-outs; one row of each may
/// always continue.
const MAX_IN_FLIGHT: usize = 1000;

/// The entries in flight (`T`), and the results of those that ended out of order (`R`).
pub(crate) struct InFlightWindow<T, R> {
    /// Number of the next entry to start.
    next: u64,
    /// Number of the oldest entry whose result was not taken.
    oldest: u64,
    in_flight: BTreeMap<u64, T>,
    deferred: BTreeMap<u64, DeferredWait>,
    ended: BTreeMap<u64, R>,
}

impl<T, R> InFlightWindow<T, R> {
    /// Creates a window behind `done` ended entries.
    pub(crate) fn after(done: u64) -> Self {
        Self {
            next: done,
            oldest: done,
            in_flight: BTreeMap::new(),
            deferred: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// Returns whether another entry may start.
    pub(crate) fn has_room(&self, concurrency: u32, run: &ExecutionState) -> bool {
        if run.parking {
            return false;
        }
        let concurrency = u64::from(concurrency);
        // One entry may always run: nested fan-outs would otherwise block each other at the limit.
        self.in_flight.is_empty()
            || ((self.in_flight.len() as u64) < concurrency
                && self.next < self.oldest.saturating_add(concurrency.saturating_mul(AHEAD))
                && run.in_flight < MAX_IN_FLIGHT)
    }

    /// Returns the number of an entry that starts.
    pub(crate) fn begin(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Returns the number of the entry that would start next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Returns the number of the oldest entry whose result was not taken.
    pub(crate) fn oldest(&self) -> u64 {
        self.oldest
    }

    /// Continues the numbers at this one, because the entries before it came from a checkpoint.
    pub(crate) fn pass_over_to(&mut self, number: u64) {
        self.next = self.next.max(number);
    }

    /// Takes an entry, to let it continue.
    pub(crate) fn take(&mut self, number: u64) -> Option<T> {
        self.deferred.remove(&number);
        self.in_flight.remove(&number)
    }

    /// Puts an entry back, with its wait if that is longer than this attempt.
    pub(crate) fn put(&mut self, number: u64, entry: T, wait: Option<DeferredWait>) {
        self.in_flight.insert(number, entry);
        if let Some(wait) = wait {
            self.deferred.insert(number, wait);
        }
    }

    /// Adds the result of an entry that has ended.
    pub(crate) fn end(&mut self, number: u64, result: R) {
        self.ended.insert(number, result);
    }

    /// Takes the next result in order, if that entry has ended.
    pub(crate) fn take_ended(&mut self) -> Option<(u64, R)> {
        let result = self.ended.remove(&self.oldest)?;
        let number = self.oldest;
        self.oldest += 1;
        Some((number, result))
    }

    /// Returns whether nothing is in flight, and all results were taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_empty() && self.ended.is_empty()
    }

    /// Iterates over the entries in flight.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = (u64, &T)> {
        self.in_flight.iter().map(|(number, entry)| (*number, entry))
    }

    /// Iterates over the entries in flight.
    pub(crate) fn in_flight_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        self.in_flight.iter_mut().map(|(number, entry)| (*number, entry))
    }

    /// Takes all entries in flight.
    pub(crate) fn drain_in_flight(&mut self) -> BTreeMap<u64, T> {
        // The entries are about to be dropped, and their waits with them.
        self.deferred.clear();
        std::mem::take(&mut self.in_flight)
    }

    /// Iterates over the results that were not taken.
    pub(crate) fn ended(&self) -> impl Iterator<Item = (u64, &R)> {
        self.ended.iter().map(|(number, result)| (*number, result))
    }

    /// Iterates over the results that were not taken.
    pub(crate) fn ended_mut(&mut self) -> impl Iterator<Item = (u64, &mut R)> {
        self.ended.iter_mut().map(|(number, result)| (*number, result))
    }

    /// Returns what the entries wait for: the earliest deferred wait if all are deferred, else
    /// something in flight.
    pub(crate) fn status(&self) -> StepStatus {
        if self.deferred.len() < self.in_flight.len() {
            return StepStatus::InFlight;
        }
        let earliest = self.deferred.values().cloned().reduce(DeferredWait::earlier);
        earliest.map_or(StepStatus::InFlight, StepStatus::Deferred)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    fn wait(seconds: i64) -> DeferredWait {
        let not_before = DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        DeferredWait::until(not_before, String::new())
    }

    #[test]
    fn results_are_taken_in_order() {
        let mut window: InFlightWindow<(), char> = InFlightWindow::after(2);
        assert_eq!((window.begin(), window.begin()), (2, 3));
        window.end(3, 'b');
        assert_eq!(window.take_ended(), None);
        window.end(2, 'a');
        assert_eq!((window.take_ended(), window.take_ended()), (Some((2, 'a')), Some((3, 'b'))));
        assert!(window.is_empty());
    }

    #[test]
    fn window_is_deferred_only_if_all_entries_are() {
        let mut window: InFlightWindow<char, ()> = InFlightWindow::after(0);
        window.put(0, 'a', Some(wait(20)));
        window.put(1, 'b', None);
        assert_eq!(window.status(), StepStatus::InFlight);
        window.put(1, 'b', Some(wait(10)));
        assert_eq!(window.status(), StepStatus::Deferred(wait(10)), "until the earliest");
        window.take(1);
        window.put(1, 'b', None);
        assert_eq!(window.status(), StepStatus::InFlight, "it continues");
    }
}
