//! Schedules: when each plan next runs for each config.

mod due;
pub mod materialise;
mod next_runs;
mod pause;
mod read;
mod resume;

use orchid_domain::schedule::{Overlap, Schedule as Rules};

use crate::{
    commands::CommandError,
    store::{db::TenantTx, error::StoreError, schedules::Schedule},
};

pub use next_runs::ListNextRuns;
pub use pause::PauseSchedule;
pub use read::{GetSchedule, ListSchedules};
pub use resume::ResumeSchedule;

/// Names a schedule.
#[derive(Debug, Clone)]
pub struct ScheduleName {
    /// The plan's key.
    pub plan: String,
    /// The config's key.
    pub config: String,
}

impl ScheduleName {
    async fn find(&self, tx: &TenantTx) -> Result<Schedule, CommandError> {
        crate::store::schedules::by_keys(tx, &self.plan, &self.config).await?.ok_or_else(|| self.unknown())
    }

    async fn lock(&self, tx: &TenantTx) -> Result<Schedule, CommandError> {
        crate::store::schedules::lock_by_keys(tx, &self.plan, &self.config)
            .await?
            .ok_or_else(|| self.unknown())
    }

    fn unknown(&self) -> CommandError {
        CommandError::not_found("schedule", format!("{} for {}", self.plan, self.config))
    }
}

/// What decides when a schedule is due.
fn rules(row: &Schedule) -> Result<Rules, StoreError> {
    let count = |name: &'static str, number: i32| {
        u32::try_from(number).map_err(|error| StoreError::corrupt(name, error))
    };
    Ok(Rules {
        active: row.plan_enabled && row.config_enabled && !row.paused,
        wait: chrono::TimeDelta::seconds(row.wait_seconds.into()),
        overlap: row
            .overlap
            .parse::<Overlap>()
            .map_err(|error| StoreError::corrupt("plans.overlap", error))?,
        repeat_count: row.repeat_count.map(|number| count("plans.repeat_count", number)).transpose()?,
        run_count: count("schedules.run_count", row.run_count)?,
    })
}
