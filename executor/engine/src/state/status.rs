//! The progress that a step reports after an input.

use chrono::{DateTime, Utc};

use crate::state::plan_limit::PlanLimit;

/// The status of a step after an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StepStatus {
    /// A response or timer is pending.
    InFlight,
    /// Everything left waits long enough to park the execution, or for the next execution.
    Deferred(DeferredWait),
    /// The last page is done.
    Done,
    /// `execute_if` was false, or nothing was modified since the last execution.
    Skipped,
}

/// A wait that ends after this attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeferredWait {
    /// Earliest time to continue.
    pub(crate) not_before: DateTime<Utc>,
    /// Reason for people to read.
    pub(crate) reason: String,
    /// A limit that was reached with `on_limit: continue`. The execution ends once nothing is in
    /// flight, and the next one continues.
    pub(crate) limit: Option<PlanLimit>,
}

impl DeferredWait {
    /// Creates the wait of a step that has nothing in flight and starts no further row while others
    /// wait for long.
    pub(crate) fn nothing_begins() -> Self {
        Self::until(DateTime::<Utc>::MAX_UTC, String::new())
    }

    /// Creates a wait until a time.
    pub(crate) fn until(not_before: DateTime<Utc>, reason: String) -> Self {
        Self { not_before, reason, limit: None }
    }

    /// Creates a wait for the next execution.
    pub(crate) fn limited(limit: PlanLimit) -> Self {
        Self { limit: Some(limit), ..Self::nothing_begins() }
    }

    /// Returns the wait that ends first, with a limit that either of them reached.
    pub(crate) fn earlier(self, other: Self) -> Self {
        let limit = self.limit.or(other.limit);
        let first = if other.not_before < self.not_before { other } else { self };
        Self { limit, ..first }
    }
}
