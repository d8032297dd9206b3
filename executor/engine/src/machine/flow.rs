//! What a part of the tree of steps comes to when it was asked to go on.

use chrono::{DateTime, Utc};

use super::halt::Limit;

/// How far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flow {
    /// Something is under way: an answer or a time will come.
    Busy,
    /// All that is left waits for longer than an executor holds a run for, or for the next run.
    Idle(Idle),
    /// Its last pass is done.
    Done,
    /// Its `execute_if` said no, or nothing has changed since the last run.
    Skipped,
}

/// A wait that this attempt does not see the end of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Idle {
    /// When it is over.
    pub(super) not_before: DateTime<Utc>,
    /// What is waited for, for people.
    pub(super) reason: String,
    /// A limit that the plan lets pass was reached: once nothing else is under way, the run ends, and the next goes on.
    pub(super) limit: Option<Limit>,
}

impl Idle {
    /// Nothing waits here itself, but no further row begins while others wait for long.
    pub(super) fn nothing_begins() -> Idle {
        Idle::until(DateTime::<Utc>::MAX_UTC, String::new())
    }

    /// A wait for a time.
    pub(super) fn until(not_before: DateTime<Utc>, reason: String) -> Idle {
        Idle { not_before, reason, limit: None }
    }

    /// A wait for the next run.
    pub(super) fn limited(limit: Limit) -> Idle {
        Idle { limit: Some(limit), ..Idle::nothing_begins() }
    }

    /// The wait that is over first, with the limit that any of them reached.
    pub(super) fn earlier(self, other: Idle) -> Idle {
        let limit = self.limit.or(other.limit);
        let first = if other.not_before < self.not_before { other } else { self };
        Idle { limit, ..first }
    }
}
