//! Lets a paused schedule go on: what is overdue runs at once.

use chrono::{DateTime, Utc};

use super::{ScheduleName, rules};
use crate::{
    commands::CommandError,
    store::{
        db::{TenantTx, Work},
        executions,
        schedules::{self, Schedule},
    },
};

/// Which schedule to let go on.
pub struct ResumeSchedule {
    /// Which.
    pub name: ScheduleName,
    /// When.
    pub now: DateTime<Utc>,
}

impl Work<TenantTx> for ResumeSchedule {
    type Done = Schedule;
    type Fault = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Schedule, CommandError> {
        let row = self.name.lock(tx).await?;
        if !row.paused {
            return Ok(row);
        }
        let last = match row.last_execution_id {
            Some(id) => executions::by_id(tx, id).await?,
            None => None,
        };
        let row = Schedule { paused: false, ..row };
        let going = row.current_execution_id.is_some();
        let next_due_at = rules(&row)?.resumed(last.and_then(|run| run.ended_at), self.now, going);
        schedules::set_paused(tx, row.id, false, next_due_at, self.now).await?;
        Ok(Schedule { next_due_at, ..row })
    }
}
