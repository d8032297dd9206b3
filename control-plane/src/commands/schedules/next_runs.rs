//! When a schedule would run next, as far as that is known.

use chrono::{DateTime, Utc};

use super::{ScheduleName, rules};
use crate::{
    commands::CommandError,
    store::db::{TenantTx, Work},
};

/// Whose next runs, how many.
pub struct ListNextRuns {
    /// Of which schedule.
    pub name: ScheduleName,
    /// At most this many.
    pub count: usize,
    /// Seen from when.
    pub now: DateTime<Utc>,
}

impl Work<TenantTx> for ListNextRuns {
    type Done = Vec<DateTime<Utc>>;
    type Fault = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Done, CommandError> {
        let row = self.name.find(tx).await?;
        let going = row.current_execution_id.is_some();
        Ok(rules(&row)?.upcoming(row.next_due_at, going, self.now, self.count))
    }
}
