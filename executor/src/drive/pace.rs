//! When a run saves its progress.
//!
//! In: acknowledgements, and checkpoints taken. Out: the time at which the next is due: so long after the oldest
//! acknowledgement that is not saved. It reads no clock.

use std::time::Duration;

use tokio::time::Instant;

/// How old the oldest acknowledged, unsaved page gets.
const PACE: Duration = Duration::from_secs(2);

/// The pace of one run.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    oldest: Option<Instant>,
}

impl Pace {
    /// A message was acknowledged.
    pub(crate) fn acknowledged(&mut self, now: Instant) {
        self.oldest.get_or_insert(now);
    }

    /// Everything acknowledged so far is being saved.
    pub(crate) fn saved(&mut self) {
        self.oldest = None;
    }

    /// When the next checkpoint is due; none while there is nothing to save.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.oldest.map(|oldest| oldest + PACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_two_seconds_after_the_oldest_acknowledgement_that_is_not_saved() {
        let mut pace = Pace::default();
        let now = Instant::now();
        assert_eq!(pace.due(), None);
        pace.acknowledged(now);
        pace.acknowledged(now + Duration::from_secs(1));
        assert_eq!(pace.due(), Some(now + PACE));
        pace.saved();
        assert_eq!(pace.due(), None);
        pace.acknowledged(now + Duration::from_secs(3));
        assert_eq!(pace.due(), Some(now + Duration::from_secs(5)));
    }
}
