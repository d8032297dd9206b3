//! Decides when an attempt saves a checkpoint. Reads no clock.

use std::time::Duration;

use tokio::time::Instant;

/// Age that the oldest acknowledged but unsaved page may reach. A crash repeats at most this much.
const MAX_UNSAVED_AGE: Duration = Duration::from_secs(2);

/// The checkpoint timer of one attempt.
#[derive(Debug, Default)]
pub(crate) struct CheckpointTimer {
    oldest_unsaved: Option<Instant>,
    requested: Option<Instant>,
}

impl CheckpointTimer {
    /// Records that Kafka acknowledged a message.
    pub(crate) fn acknowledged(&mut self, now: Instant) {
        self.oldest_unsaved.get_or_insert(now);
    }

    /// Asks for a checkpoint at this time, whether or not anything is acknowledged by then.
    pub(crate) fn save_at(&mut self, time: Instant) {
        self.requested.get_or_insert(time);
    }

    /// Records that everything acknowledged so far is being saved.
    pub(crate) fn saved(&mut self) {
        *self = Self::default();
    }

    /// Returns the time at which the next checkpoint is due, or `None` if there is nothing to save.
    pub(crate) fn due(&self) -> Option<Instant> {
        let unsaved = self.oldest_unsaved.map(|oldest| oldest + MAX_UNSAVED_AGE);
        [unsaved, self.requested].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoint_is_due_two_seconds_after_the_oldest_unsaved_page() {
        let mut timer = CheckpointTimer::default();
        let now = Instant::now();
        assert_eq!(timer.due(), None);
        timer.acknowledged(now);
        timer.acknowledged(now + Duration::from_secs(1));
        assert_eq!(timer.due(), Some(now + MAX_UNSAVED_AGE));
        timer.saved();
        assert_eq!(timer.due(), None);
        timer.acknowledged(now + Duration::from_secs(3));
        assert_eq!(timer.due(), Some(now + Duration::from_secs(5)));
    }

    #[test]
    fn requested_checkpoint_is_due_at_once_and_only_once() {
        let mut timer = CheckpointTimer::default();
        let now = Instant::now();
        timer.acknowledged(now);
        timer.save_at(now);
        assert_eq!(timer.due(), Some(now));
        timer.saved();
        assert_eq!(timer.due(), None);
    }
}
