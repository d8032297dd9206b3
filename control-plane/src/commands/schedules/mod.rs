//! Reads, pauses and synchronises schedules. A schedule belongs to one plan and one config.

mod next_runs;
mod pause;
mod read;
pub mod sync_schedules;

pub use next_runs::ListNextRuns;
pub use pause::SetPaused;
pub use read::{GetSchedule, ListSchedules};

/// Name of the resource in errors.
const WHAT: &str = "schedule";
