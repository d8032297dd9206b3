//! Predicts the next due times of a schedule.

use chrono::{DateTime, Utc};

use super::GetSchedule;
use crate::commands::CommandError;
use crate::store::db::{TenantTx, Transaction};

/// Query for the next due times of a schedule.
pub struct ListNextRuns {
    /// The schedule.
    pub schedule: GetSchedule,
    /// Maximum number of times.
    pub count: usize,
    /// Time of the request.
    pub now: DateTime<Utc>,
}

impl Transaction<TenantTx> for ListNextRuns {
    type Output = Vec<DateTime<Utc>>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Output, CommandError> {
        let row = self.schedule.run(tx).await?;
        let is_active = row.current_execution_id.is_some();
        Ok(row.rules()?.upcoming(row.due_times(), is_active, self.now, self.count))
    }
}
