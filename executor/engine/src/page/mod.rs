//! One page of a step: its rows with their sub-steps, and the messages that carry them.
//!
//! A [`rows::Page`] owns the request and response it comes from, the rows in flight, and its
//! output: the writer of its messages, and the point from which a later attempt resumes. It knows
//! sub-steps only through the [`sub_steps::SubSteps`] trait: the tree of steps is above this room,
//! because every row holds a tree again.

pub(crate) mod attach_steps;
pub(crate) mod body_messages;
pub(crate) mod exchange;
pub(crate) mod in_flight;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod resume_point;
pub(crate) mod row;
pub(crate) mod row_env;
pub(crate) mod row_hash;
pub(crate) mod row_source;
pub(crate) mod rows;
pub(crate) mod sub_steps;
pub(crate) mod writer;
