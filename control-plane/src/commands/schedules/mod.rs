//! Schedules: when each plan runs next for each config.

mod next_runs;
mod pause;
mod read;
pub mod sync_schedules;

pub use next_runs::ListNextRuns;
pub use pause::SetPaused;
pub use read::{GetSchedule, ListSchedules};

/// What errors call it.
const WHAT: &str = "schedule";
