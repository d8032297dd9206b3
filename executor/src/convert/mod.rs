//! The border between wire types and ours: grants coming in, reports going out.
//!
//! The conversions destructure wire messages exhaustively, so a new proto field breaks the build
//! here instead of being ignored.

mod grant;
mod integer;
mod items;
mod outcome;

pub use grant::{ExecutionGrant, GrantedCheckpoint, GrantedDefinition, InvalidGrant, PersistedState};
pub use items::{CheckpointHeader, ReleaseReason};
pub use outcome::{InvalidReport, ReportOutcome};

pub(crate) use integer::{to_i32, whole_ms};
pub(crate) use items::{
    checkpoint_item, complete_item, empty_checkpoint_item, park_item, release_item, repeated_checkpoint_item,
};
