//! State that all steps of an execution share, and the types by which steps report how far they
//! came.
//!
//! This room is below `page`, `step` and `tree`: it imports none of them.

pub(crate) mod ack_tracker;
pub(crate) mod buffer_meter;
pub(crate) mod context;
pub(crate) mod cursor_store;
pub(crate) mod deferred_writes;
pub(crate) mod enclosing_step;
pub(crate) mod engine_cx;
pub(crate) mod error_detail;
pub(crate) mod event;
pub(crate) mod execution;
pub(crate) mod exit;
pub(crate) mod failed_row;
pub(crate) mod held_cursors;
pub(crate) mod location;
pub(crate) mod offered_pages;
pub(crate) mod path_check;
pub(crate) mod plan_limit;
pub(crate) mod status;
pub(crate) mod step_env;
