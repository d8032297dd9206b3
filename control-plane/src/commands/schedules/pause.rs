//! Pauses a schedule, or lets it go on; triggers work all the same.

use chrono::{DateTime, Utc};

use super::{WHAT, due::next_due};
use crate::{
    commands::CommandError,
    store::{
        db::{TenantTx, Work},
        schedules::{self, Schedule},
    },
};

/// What to set.
pub struct SetPaused {
    /// Key of the plan.
    pub plan: String,
    /// Key of the config.
    pub config: String,
    /// Whether it shall rest.
    pub paused: bool,
    /// When.
    pub now: DateTime<Utc>,
}

impl Work<TenantTx> for SetPaused {
    type Done = Schedule;
    type Fault = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Schedule, CommandError> {
        let mut row = schedules::lock_by_keys(tx, &self.plan, &self.config)
            .await?
            .ok_or_else(|| CommandError::not_found(WHAT, format!("{}/{}", self.plan, self.config)))?;
        if row.paused == self.paused {
            return Ok(row);
        }
        row.paused = self.paused;
        row.next_due_at = next_due(&row, self.now);
        schedules::set_paused(tx, row.id, row.paused, self.now).await?;
        schedules::set_due(tx, vec![row.id], row.next_due_at, self.now).await?;
        Ok(row)
    }
}
