//! Pauses a schedule: nothing is due any more, and a run that is going ends as it will.

use chrono::{DateTime, Utc};

use super::ScheduleName;
use crate::{
    commands::CommandError,
    store::{
        db::{TenantTx, Work},
        schedules::{self, Schedule},
    },
};

/// Which schedule to pause.
pub struct PauseSchedule {
    /// Which.
    pub name: ScheduleName,
    /// When.
    pub now: DateTime<Utc>,
}

impl Work<TenantTx> for PauseSchedule {
    type Done = Schedule;
    type Fault = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Schedule, CommandError> {
        let row = self.name.lock(tx).await?;
        if row.paused {
            return Ok(row);
        }
        schedules::set_paused(tx, row.id, true, None, self.now).await?;
        Ok(Schedule { paused: true, next_due_at: None, ..row })
    }
}
