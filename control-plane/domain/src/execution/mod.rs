//! The life of an execution: its states, the events that can happen to it, and what follows.
//!
//! [`decide`] takes an execution as it was read and an event. It returns a [`Transition`] or a
//! [`TransitionRefusal`]. The store applies a transition only while the row still is as the
//! decision saw it.

mod continuation;
mod state;
mod transition;

pub use continuation::{Beginning, LimitedExecution, NextBeginning, beginning, chains};
pub use state::{AttemptVerdict, Kind, Origin, Outcome, Overdue, ReleaseReason, State, TransitionCause};
pub use transition::{
    Effect, ExecutionEvent, ExecutionSnapshot, NewRun, Transition, TransitionRefusal, UNSUPPORTED_WINDOW,
    create, decide, unsupported_retry,
};

/// Number of attempts lost without an accepted checkpoint in between after which an execution is
/// dead-lettered.
pub const LOSSES_TO_DEAD_LETTER: u32 = 3;

#[cfg(test)]
mod tests;
