//! The waits of one run, in the order in which they end.

use std::collections::BTreeSet;

use orchid_engine::WaitId;
use tokio::time::Instant;

/// Waits under way.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    by_end: BTreeSet<(Instant, WaitId)>,
}

impl Waits {
    pub(crate) fn add(&mut self, wait: WaitId, until: Instant) {
        self.by_end.insert((until, wait));
    }

    /// When the next one ends.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_end.first().map(|(until, _)| *until)
    }

    /// Takes out one that has ended.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<WaitId> {
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
        waits.add(WaitId(1), now + Duration::from_secs(2));
        waits.add(WaitId(2), now + Duration::from_secs(1));
        assert_eq!(waits.pop(now), None);
        assert_eq!(waits.next(), Some(now + Duration::from_secs(1)));
        let later = now + Duration::from_secs(5);
        assert_eq!((waits.pop(later), waits.pop(later)), (Some(WaitId(2)), Some(WaitId(1))));
        assert_eq!(waits.next(), None);
    }
}
