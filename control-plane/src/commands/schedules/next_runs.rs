//! Predicts the next due times of a schedule.

use chrono::{DateTime, Utc};

use super::read::GetSchedule;
use crate::commands::{CommandError, Diagnostic};
use crate::store::db::{TenantTx, Transaction};

/// Number of times returned if the request names none.
const DEFAULT_COUNT: usize = 5;
/// Maximum number of times.
const MAX_COUNT: usize = 100;

/// Query for the next due times of a schedule.
pub struct ListNextRuns {
    /// The schedule.
    pub schedule: GetSchedule,
    /// Requested number of times; 0 for the default.
    pub count: i32,
    /// Time of the request.
    pub now: DateTime<Utc>,
}

impl Transaction<TenantTx> for ListNextRuns {
    type Output = Vec<DateTime<Utc>>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Output, CommandError> {
        let count = self.bounded_count()?;
        let row = self.schedule.run(tx).await?;
        let is_active = row.current_execution_id.is_some();
        Ok(row.rules()?.upcoming(row.due_times(), is_active, self.now, count))
    }
}

impl ListNextRuns {
    fn bounded_count(&self) -> Result<usize, CommandError> {
        match usize::try_from(self.count) {
            Ok(0) => Ok(DEFAULT_COUNT),
            Ok(count) => Ok(count.min(MAX_COUNT)),
            Err(_) => {
                let message = format!("{} is negative", self.count);
                let diagnostic = Diagnostic::new("OUT_OF_RANGE", "/count", message);
                Err(CommandError::invalid("INVALID_COUNT", diagnostic))
            }
        }
    }
}
