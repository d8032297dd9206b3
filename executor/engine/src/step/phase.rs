//! The phases of a step, and the waits that they mean.

use std::time::Duration;

use orchid_plan::OnLimit;

use crate::input::TimerId;
use crate::state::engine_cx::EngineCx;
use crate::state::exit::StepExit;
use crate::state::location::StepLocation;
use crate::state::plan_limit::PlanLimit;
use crate::state::status::{DeferredWait, StepStatus};
use crate::step::receiver::ResponseReceiver;

/// The event that a step waits for.
pub(crate) enum StepPhase {
    /// Nothing: it is about to act.
    Idle,
    /// The response to a try.
    AwaitingResponse(Box<ResponseReceiver>),
    /// The rows of a page.
    Page,
    /// The time of the next try.
    AwaitingRetry(TimerId),
    /// The same, longer than an executor holds an execution; or the next execution.
    Deferred(DeferredWait),
}

impl StepPhase {
    /// Waits for a retry: by a timer, or deferred if that takes longer than an executor holds an
    /// execution. `reason` describes the wait to operators.
    pub(crate) fn until_retry(
        cx: &mut EngineCx<'_>,
        delay: Duration,
        reason: impl FnOnce() -> String,
    ) -> Self {
        if delay <= cx.run.limits.park_after {
            return Self::AwaitingRetry(cx.start_timer(delay));
        }
        Self::defer(cx, DeferredWait::until(cx.now.wall + delay, reason()))
    }

    /// Waits for the next execution, if the plan lets it continue behind the limit. Everything else
    /// in flight ends first: each execution gets further than the one before.
    ///
    /// # Errors
    /// Fails with the limit, if the plan does not permit it.
    pub(crate) fn at_limit(
        cx: &mut EngineCx<'_>,
        limit: PlanLimit,
        location: impl FnOnce() -> StepLocation,
    ) -> Result<Self, StepExit> {
        match cx.run.definition.on_limit {
            OnLimit::Continue => Ok(Self::defer(cx, DeferredWait::limited(limit))),
            OnLimit::Fail => Err(StepExit::Limit(limit, Some(Box::new(location())))),
        }
    }

    fn defer(cx: &mut EngineCx<'_>, wait: DeferredWait) -> Self {
        // Rows elsewhere may still end, but none may start: the execution is about to be parked.
        cx.run.parking = true;
        Self::Deferred(wait)
    }

    /// Returns the status of a step in this phase.
    pub(crate) fn status(&self) -> StepStatus {
        match self {
            Self::Deferred(wait) => StepStatus::Deferred(wait.clone()),
            Self::Idle | Self::AwaitingResponse(_) | Self::Page | Self::AwaitingRetry(_) => {
                StepStatus::InFlight
            }
        }
    }
}
