//! When a schedule would run next, as far as that is known now.

use chrono::{DateTime, Utc};

use super::GetSchedule;
use crate::{
    commands::CommandError,
    store::db::{TenantTx, Work},
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

impl Work<TenantTx> for ListNextRuns {
    type Done = Vec<DateTime<Utc>>;
    type Fault = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Done, CommandError> {
        let row = self.schedule.run(tx).await?;
        let is_going = row.current_execution_id.is_some();
        Ok(row.decides()?.upcoming(row.dues(), is_going, self.now, self.count))
    }
}
