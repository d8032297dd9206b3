//! The times of an async job's polls.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_plan::AsyncJob;

use crate::checkpoint::error::CheckpointError;

/// A shorter wait between polls is not worth parking the execution.
const PARK_AFTER: Duration = Duration::from_secs(1);

/// When the job was submitted, and when it is polled.
#[derive(Default)]
pub(crate) struct PollSchedule {
    pub(crate) polls: u64,
    submitted: Option<DateTime<Utc>>,
    due: Option<DateTime<Utc>>,
}

/// Way to wait for the next poll.
pub(crate) enum PollWait {
    /// It is due.
    Now,
    /// By a timer.
    Timer(Duration),
    /// Parked until a time, so that the job occupies no executor.
    Park(DateTime<Utc>),
}

impl PollSchedule {
    /// Restores a schedule from a checkpoint; times in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Fails if a time is out of range.
    pub(crate) fn resume(
        polls: u64,
        submitted_ms: Option<i64>,
        due_ms: Option<i64>,
    ) -> Result<Self, CheckpointError> {
        let time = |ms: Option<i64>| {
            ms.map(|ms| {
                DateTime::from_timestamp_millis(ms)
                    .ok_or_else(|| CheckpointError::invalid("a time of its job is none"))
            })
            .transpose()
        };
        Ok(Self { polls, submitted: time(submitted_ms)?, due: time(due_ms)? })
    }

    /// Notes that the upstream has accepted the job.
    pub(crate) fn submit(&mut self, now: DateTime<Utc>) {
        self.submitted = Some(now);
    }

    /// Returns when the upstream accepted the job.
    pub(crate) fn submitted(&self) -> Option<DateTime<Utc>> {
        self.submitted
    }

    /// Returns when the next poll is due.
    pub(crate) fn due(&self) -> Option<DateTime<Utc>> {
        self.due
    }

    /// Returns whether the job takes longer than `max_wait`.
    pub(crate) fn is_late(&self, now: DateTime<Utc>, max_wait: Duration) -> bool {
        self.submitted.is_some_and(|submitted| (now - submitted).to_std().unwrap_or_default() >= max_wait)
    }

    /// Schedules the next poll, and returns how to wait for it. A wait that the upstream `asked`
    /// for prolongs that of the plan, up to the end of the job's time, when it is polled once more.
    /// The first wait always parks: that saves the response of the submit, which must not be sent
    /// twice.
    pub(crate) fn schedule(
        &mut self,
        now: DateTime<Utc>,
        job: &AsyncJob,
        asked: Option<Duration>,
    ) -> PollWait {
        let end = self.submitted.unwrap_or(now) + job.max_wait;
        let left = (end - now).to_std().unwrap_or_default();
        let wait = job.poll_wait.max(asked.unwrap_or_default().min(left));
        let due = now + wait;
        self.due = Some(due);
        if self.polls > 0 && wait < PARK_AFTER { PollWait::Timer(wait) } else { PollWait::Park(due) }
    }

    /// Returns how to wait for a poll that was scheduled before.
    pub(crate) fn remaining(&self, now: DateTime<Utc>) -> PollWait {
        match self.due {
            Some(due) if due > now => {
                let left = (due - now).to_std().unwrap_or_default();
                if left < PARK_AFTER { PollWait::Timer(left) } else { PollWait::Park(due) }
            }
            Some(_) | None => PollWait::Now,
        }
    }

    /// Starts the poll that was due.
    pub(crate) fn start_poll(&mut self) {
        self.due = None;
    }
}
