//! The JSON documents of a checkpoint: versioned, bounded, and limited to what the rest of the
//! execution reads.
//!
//! [`resume_state`] records where the execution is, [`finished_values`] holds the results of
//! finished steps. A document that cannot be read is an error, never a fresh start. Member names
//! are short, since a checkpoint is written every two seconds; the fields here have the full names.

pub(crate) mod cancel_scope;
pub(crate) mod deferred_writes;
pub(crate) mod error;
pub(crate) mod finished_values;
pub(crate) mod held_cursors;
pub(crate) mod json;
pub(crate) mod loop_parts;
pub(crate) mod path_observations;
pub(crate) mod prune;
pub(crate) mod resume_state;
pub(crate) mod step_state;
