//! The rules of a step, applied as pure decisions: the outcome table, backoff, pagination, window
//! slices, watermark, validators.
//!
//! In: a step's compiled rules and the facts of a try or page. Out: values that say what follows.
//! Nothing here sends, emits or waits.

pub(crate) mod asked_wait;
pub(crate) mod conditional;
pub(crate) mod more_offered;
pub(crate) mod outcome;
pub(crate) mod pagination;
pub(crate) mod repeat_guard;
pub(crate) mod repeated_answer;
pub(crate) mod retry;
pub(crate) mod watermark;
pub(crate) mod window;
