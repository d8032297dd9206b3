//! The life of an execution: its states, what can happen to it, and what follows.
//!
//! [`decide`] takes a run as it was read and an event; it answers with a [`Transition`] or a [`TransitionRefusal`]. The store applies a
//! transition only while the row still is what the decision looked at.

mod state;
mod transition;

pub use state::{AttemptVerdict, Kind, Origin, Outcome, Overdue, ReleaseReason, State, TransitionCause};
pub use transition::{
    Effect, ExecutionEvent, ExecutionSnapshot, Transition, TransitionRefusal, create, decide,
};

/// So many attempts lost without an accepted checkpoint in between end a run as poison.
pub const LOSSES_TO_DEAD_LETTER: u32 = 3;

#[cfg(test)]
mod tests;
