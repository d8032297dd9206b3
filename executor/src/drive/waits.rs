//! The waits of one run, in the order in which they end.

use std::collections::BTreeSet;

use orchid_engine::TimerId;
use tokio::time::Instant;

/// Waits under way.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    by_end: BTreeSet<(Instant, TimerId)>,
}

impl Waits {
    pub(crate) fn add(&mut self, wait: TimerId, until: Instant) {
        self.by_end.insert((until, wait));
    }

    /// When the next one ends.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_end.first().map(|(until, _)| *until)
    }

    /// Takes out one that has ended.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<TimerId> {
        let (until, wait) = *self.by_end.first()?;
        if until > now {
            return None;
        }
        self.by_end.pop_first();
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn waits_end_in_their_order() {
        let now = Instant::now();
        let mut waits = Waits::default();
        waits.add(TimerId(1), now + Duration::from_secs(2));
        waits.add(TimerId(2), now + Duration::from_secs(1));
        assert_eq!(waits.pop(now), None);
        assert_eq!(waits.next(), Some(now + Duration::from_secs(1)));
        let later = now + Duration::from_secs(5);
        assert_eq!((waits.pop(later), waits.pop(later)), (Some(TimerId(2)), Some(TimerId(1))));
        assert_eq!(waits.next(), None);
    }
}
