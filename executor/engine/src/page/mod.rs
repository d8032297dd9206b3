//! One page of a step: its rows with their sub-steps, and the messages that carry them.

pub(crate) mod attach_steps;
pub(crate) mod in_flight;
pub(crate) mod rows;
pub(crate) mod writer;
