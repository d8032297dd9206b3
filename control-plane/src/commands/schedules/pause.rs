//! Pauses a schedule, or lets it go on; triggers work all the same, and a run that is going ends as it will.

use chrono::{DateTime, Utc};
use orchid_domain::schedule::DueTimes;

use super::GetSchedule;
use crate::{
    commands::CommandError,
    store::{
        db::{TenantTx, Transaction},
        executions,
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

impl Transaction<TenantTx> for SetPaused {
    type Output = Schedule;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Schedule, CommandError> {
        let mut row = schedules::lock_by_keys(tx, &self.plan, &self.config)
            .await?
            .ok_or_else(|| GetSchedule::unknown(&self.plan, &self.config))?;
        if row.paused == self.paused {
            return Ok(row);
        }
        row.paused = self.paused;
        let dues = if row.paused { rests(&row) } else { resumed(tx, &row, self.now).await? };
        row.next_due_at = dues.next_at;
        schedules::set_paused(tx, row.id, row.paused, dues, self.now).await?;
        Ok(row)
    }
}

/// Nothing is due, and what is decided stays so: that is what tells afterwards what was missed.
fn rests(row: &Schedule) -> DueTimes {
    DueTimes { next_at: None, ..row.due_times() }
}

/// What is overdue runs at once; what is not keeps the rest of its wait.
async fn resumed(tx: &TenantTx, row: &Schedule, now: DateTime<Utc>) -> Result<DueTimes, CommandError> {
    let last = match row.last_execution_id {
        Some(id) => executions::read::by_id(tx, id).await?,
        None => None,
    };
    let is_going = row.current_execution_id.is_some();
    Ok(row.rules()?.after_resume(row.due_times(), last.and_then(|run| run.ended_at), now, is_going))
}
