//! Limits that more than one process enforces.
//!
//! The engine stops at them with an error that names the step; the control plane refuses a report
//! that exceeds them, whoever sent it. Both must use the same numbers: a checkpoint that an
//! executor considers valid must never be refused.

/// Maximum size of the resume state in a checkpoint, in bytes of JSON.
pub const RESUME_STATE_MAX_BYTES: usize = 256 * 1024;
/// Maximum size of the values of finished steps in a checkpoint, in bytes of JSON.
pub const FINISHED_STEPS_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Maximum size of one context field, in bytes of JSON.
pub const CONTEXT_FIELD_MAX_BYTES: usize = 64 * 1024;
/// Maximum size of a whole context, in bytes of all names and values.
pub const CONTEXT_MAX_BYTES: usize = 1024 * 1024;

/// Maximum size of a cursor's key, in bytes of step id and item name together. Both are columns of
/// one database index, whose entries are bounded.
pub const CURSOR_KEY_MAX_BYTES: usize = 1024;
/// Maximum size of one cursor's value, in bytes of JSON.
pub const CURSOR_MAX_BYTES: usize = 64 * 1024;
/// Maximum number of cursors and validators that a plan keeps for one config.
pub const CURSORS_MAX: usize = 100_000;
/// Maximum size of all their keys and values together, in bytes. They reach an executor in one
/// message.
pub const CURSORS_MAX_BYTES: usize = 8 * 1024 * 1024;
