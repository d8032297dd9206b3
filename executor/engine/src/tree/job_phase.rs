//! The phases of an async job.

use crate::input::TimerId;
use crate::step::execution::StepExecution;

/// Phase of an async job.
pub(crate) enum JobPhase<S> {
    Submit(Box<StepExecution<S>>),
    /// Parked until the next poll.
    Wait,
    /// Waiting for the next poll by a timer.
    Waiting(TimerId),
    Poll(Box<StepExecution<S>>),
    Download(Box<S>),
    /// The job took too long: it is cancelled, then the step fails.
    GiveUp(Box<StepExecution<S>>),
    Over,
}
