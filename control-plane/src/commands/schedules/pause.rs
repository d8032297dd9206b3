//! Pauses or resumes a schedule. Triggers and active executions are not affected.

use chrono::{DateTime, Utc};
use orchid_domain::schedule::DueTimes;

use super::GetSchedule;
use crate::commands::CommandError;
use crate::store::db::{TenantTx, Transaction};
use crate::store::executions;
use crate::store::schedules::{self, Schedule};

/// Command that pauses or resumes a schedule.
pub struct SetPaused {
    /// Key of the plan.
    pub plan: String,
    /// Key of the config.
    pub config: String,
    /// Whether to pause (or to resume).
    pub paused: bool,
    /// Time of the request.
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
        let dues = if row.paused { paused(&row) } else { resumed(tx, &row, self.now).await? };
        row.next_due_at = dues.next_at;
        schedules::set_paused(tx, row.id, row.paused, dues, self.now).await?;
        Ok(row)
    }
}

/// Returns the due times of a paused schedule: nothing is due, but `decided_until` stays, because
/// it tells after the pause which times were missed.
fn paused(row: &Schedule) -> DueTimes {
    DueTimes { next_at: None, ..row.due_times() }
}

/// Returns the due times of a resumed schedule: an overdue execution is due at once, others keep
/// the rest of their wait.
async fn resumed(tx: &TenantTx, row: &Schedule, now: DateTime<Utc>) -> Result<DueTimes, CommandError> {
    let last = match row.last_execution_id {
        Some(id) => executions::read::by_id(tx, id).await?,
        None => None,
    };
    let is_active = row.current_execution_id.is_some();
    Ok(row.rules()?.after_resume(row.due_times(), last.and_then(|run| run.ended_at), now, is_active))
}
