//! Rows or items under way: at most so many at once, and those that ended out of their turn.
//!
//! However many there are in all, only a window of them is held: none is begun far ahead of the oldest that has not ended.

use std::collections::BTreeMap;

use crate::state::execution::ExecutionState;
use crate::state::status::{DeferredWait, StepStatus};

/// How many times `concurrency` a row may be ahead of the oldest one under way.
const AHEAD: u64 = 4;
/// Tries of one run that are under way at once, over all its fan-outs; one row of each always goes on.
const MAX_IN_FLIGHT: usize = 1000;

pub(crate) struct InFlightWindow<T, R> {
    /// Number of the next one to begin.
    next: u64,
    /// Number of the oldest one that has not been taken.
    oldest: u64,
    in_flight: BTreeMap<u64, T>,
    idle: BTreeMap<u64, DeferredWait>,
    ended: BTreeMap<u64, R>,
}

impl<T, R> InFlightWindow<T, R> {
    /// Begins after `done` that ended before.
    pub(crate) fn after(done: u64) -> InFlightWindow<T, R> {
        InFlightWindow {
            next: done,
            oldest: done,
            in_flight: BTreeMap::new(),
            idle: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// Whether another one may begin.
    pub(crate) fn has_room(&self, concurrency: u32, run: &ExecutionState) -> bool {
        if run.parking {
            return false;
        }
        let concurrency = u64::from(concurrency);
        self.in_flight.is_empty()
            || ((self.in_flight.len() as u64) < concurrency
                && self.next < self.oldest.saturating_add(concurrency.saturating_mul(AHEAD))
                && run.in_flight < MAX_IN_FLIGHT)
    }

    /// The number of one that begins.
    pub(crate) fn begin(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// The number that would begin next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// All before this number have ended and were taken.
    pub(crate) fn oldest(&self) -> u64 {
        self.oldest
    }

    /// One that came with its number, out of a checkpoint.
    pub(crate) fn pass_over_to(&mut self, number: u64) {
        self.next = self.next.max(number);
    }

    /// Takes one out, to ask it to go on.
    pub(crate) fn take(&mut self, number: u64) -> Option<T> {
        self.idle.remove(&number);
        self.in_flight.remove(&number)
    }

    /// Puts it back, with what it waits for if that is long.
    pub(crate) fn put(&mut self, number: u64, one: T, idle: Option<DeferredWait>) {
        self.in_flight.insert(number, one);
        if let Some(idle) = idle {
            self.idle.insert(number, idle);
        }
    }

    pub(crate) fn end(&mut self, number: u64, end: R) {
        self.ended.insert(number, end);
    }

    /// The next one in order, if it has ended.
    pub(crate) fn take_ended(&mut self) -> Option<(u64, R)> {
        let end = self.ended.remove(&self.oldest)?;
        let number = self.oldest;
        self.oldest += 1;
        Some((number, end))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.in_flight.is_empty() && self.ended.is_empty()
    }

    pub(crate) fn in_flight(&self) -> impl Iterator<Item = (u64, &T)> {
        self.in_flight.iter().map(|(number, one)| (*number, one))
    }

    pub(crate) fn in_flight_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        self.in_flight.iter_mut().map(|(number, one)| (*number, one))
    }

    pub(crate) fn drain_in_flight(&mut self) -> BTreeMap<u64, T> {
        self.idle.clear();
        std::mem::take(&mut self.in_flight)
    }

    pub(crate) fn ended(&self) -> impl Iterator<Item = (u64, &R)> {
        self.ended.iter().map(|(number, end)| (*number, end))
    }

    /// What those under way wait for. Where some wait for long and none is really under way, the whole does.
    pub(crate) fn status(&self) -> StepStatus {
        if self.idle.len() < self.in_flight.len() {
            return StepStatus::InFlight;
        }
        let earliest = self.idle.values().cloned().reduce(DeferredWait::earlier);
        earliest.map_or(StepStatus::InFlight, StepStatus::Deferred)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, TimeDelta};

    fn idle(seconds: i64) -> DeferredWait {
        let not_before = DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        DeferredWait::until(not_before, String::new())
    }

    #[test]
    fn ends_are_taken_in_order_whatever_the_order_they_came_in() {
        let mut flight: InFlightWindow<(), char> = InFlightWindow::after(2);
        assert_eq!((flight.begin(), flight.begin()), (2, 3));
        flight.end(3, 'b');
        assert_eq!(flight.take_ended(), None);
        flight.end(2, 'a');
        assert_eq!((flight.take_ended(), flight.take_ended()), (Some((2, 'a')), Some((3, 'b'))));
        assert!(flight.is_empty());
    }

    #[test]
    fn a_flight_is_idle_only_where_all_of_it_is() {
        let mut flight: InFlightWindow<char, ()> = InFlightWindow::after(0);
        flight.put(0, 'a', Some(idle(20)));
        flight.put(1, 'b', None);
        assert_eq!(flight.status(), StepStatus::InFlight);
        flight.put(1, 'b', Some(idle(10)));
        assert_eq!(flight.status(), StepStatus::Deferred(idle(10)), "until the earliest");
        flight.take(1);
        flight.put(1, 'b', None);
        assert_eq!(flight.status(), StepStatus::InFlight, "it goes on");
    }
}
