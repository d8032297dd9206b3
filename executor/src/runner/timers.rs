//! The timers that the engine has set for one attempt, ordered by deadline.

use std::collections::BTreeSet;

use orchid_engine::TimerId;
use tokio::time::Instant;

/// The engine's pending timers.
#[derive(Debug, Default)]
pub(crate) struct EngineTimers {
    by_deadline: BTreeSet<(Instant, TimerId)>,
}

impl EngineTimers {
    pub(crate) fn add(&mut self, id: TimerId, deadline: Instant) {
        self.by_deadline.insert((deadline, id));
    }

    /// Returns the earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// Removes the earliest timer if it has expired, and returns its id.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<TimerId> {
        let (deadline, id) = *self.by_deadline.first()?;
        if deadline > now {
            return None;
        }
        self.by_deadline.pop_first();
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timers_expire_in_order_of_their_deadlines() {
        let now = Instant::now();
        let mut timers = EngineTimers::default();
        timers.add(TimerId(1), now + Duration::from_secs(2));
        timers.add(TimerId(2), now + Duration::from_secs(1));
        assert_eq!(timers.pop_expired(now), None);
        assert_eq!(timers.next(), Some(now + Duration::from_secs(1)));
        let later = now + Duration::from_secs(5);
        assert_eq!(
            (timers.pop_expired(later), timers.pop_expired(later)),
            (Some(TimerId(2)), Some(TimerId(1)))
        );
        assert_eq!(timers.next(), None);
    }
}
