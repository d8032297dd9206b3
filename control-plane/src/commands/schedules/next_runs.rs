//! When a schedule would run next, as far as that is known now.

use chrono::{DateTime, Utc};

use super::GetSchedule;
use crate::{
    commands::CommandError,
    store::db::{TenantTx, Transaction},
};

/// Which schedule, how far.
pub struct ListNextRuns {
    /// Which schedule.
    pub schedule: GetSchedule,
    /// At most this many times.
    pub count: usize,
    /// When it is asked.
    pub now: DateTime<Utc>,
}

impl Transaction<TenantTx> for ListNextRuns {
    type Output = Vec<DateTime<Utc>>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Output, CommandError> {
        let row = self.schedule.run(tx).await?;
        let is_going = row.current_execution_id.is_some();
        Ok(row.rules()?.upcoming(row.due_times(), is_going, self.now, self.count))
    }
}
