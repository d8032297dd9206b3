//! The tree of steps: sequences, `for_each` items and async jobs.
//!
//! A sequence holds one step in progress; a step's rows hold sequences again. The recursion is
//! closed in [`sequence`], which implements the trait by which pages and async jobs run sequences;
//! below it, each module imports only those before it: `async_job`, `single_step`, `for_each`,
//! `sequence`.

pub(crate) mod async_job;
pub(crate) mod cancel_scope;
pub(crate) mod for_each;
pub(crate) mod job_parts;
pub(crate) mod job_phase;
pub(crate) mod poll_schedule;
pub(crate) mod sequence;
pub(crate) mod single_step;
