//! What a part of the tree of steps comes to when it was asked to go on.

use chrono::{DateTime, Utc};

use crate::state::plan_limit::PlanLimit;

/// How far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StepStatus {
    /// Something is under way: an answer or a time will come.
    InFlight,
    /// All that is left waits for longer than an executor holds a run for, or for the next run.
    Deferred(DeferredWait),
    /// Its last pass is done.
    Done,
    /// Its `execute_if` said no, or nothing has changed since the last run.
    Skipped,
}

/// A wait that this attempt does not see the end of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeferredWait {
    /// When it is over.
    pub(crate) not_before: DateTime<Utc>,
    /// What is waited for, for people.
    pub(crate) reason: String,
    /// A limit that the plan lets pass was reached: once nothing else is under way, the run ends, and the next goes on.
    pub(crate) limit: Option<PlanLimit>,
}

impl DeferredWait {
    /// Nothing waits here itself, but no further row begins while others wait for long.
    pub(crate) fn nothing_begins() -> DeferredWait {
        DeferredWait::until(DateTime::<Utc>::MAX_UTC, String::new())
    }

    /// A wait for a time.
    pub(crate) fn until(not_before: DateTime<Utc>, reason: String) -> DeferredWait {
        DeferredWait { not_before, reason, limit: None }
    }

    /// A wait for the next run.
    pub(crate) fn limited(limit: PlanLimit) -> DeferredWait {
        DeferredWait { limit: Some(limit), ..DeferredWait::nothing_begins() }
    }

    /// The wait that is over first, with the limit that any of them reached.
    pub(crate) fn earlier(self, other: DeferredWait) -> DeferredWait {
        let limit = self.limit.or(other.limit);
        let first = if other.not_before < self.not_before { other } else { self };
        DeferredWait { limit, ..first }
    }
}
