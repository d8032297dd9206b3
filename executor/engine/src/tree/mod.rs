//! The tree of steps: sequences, `for_each` items and async jobs.

pub(crate) mod async_job;
pub(crate) mod cancel_scope;
pub(crate) mod for_each;
pub(crate) mod sequence;
