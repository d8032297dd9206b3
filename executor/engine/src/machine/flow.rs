//! What a part of the tree of steps comes to when it was asked to go on.

use chrono::{DateTime, Utc};

/// How far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flow {
    /// Something is under way: an answer or a time will come.
    Busy,
    /// All that is left waits for longer than an executor holds a run for.
    Idle(Idle),
    /// Its last pass is done.
    Done,
    /// Its `execute_if` said no, or nothing has changed since the last run.
    Skipped,
}

/// A wait that is longer than an executor holds a run for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Idle {
    /// When it is over.
    pub(super) not_before: DateTime<Utc>,
    /// What is waited for, for people.
    pub(super) reason: String,
    /// Time spent on it is no execution time.
    pub(super) upstream_works: bool,
}

impl Idle {
    /// Nothing waits here itself, but no further row begins while others wait for long.
    pub(super) fn nothing_begins() -> Idle {
        Idle { not_before: DateTime::<Utc>::MAX_UTC, reason: String::new(), upstream_works: false }
    }

    /// The wait that is over first.
    pub(super) fn earlier(self, other: Option<Idle>) -> Idle {
        match other {
            Some(other) if other.not_before < self.not_before => other,
            Some(_) | None => self,
        }
    }
}
