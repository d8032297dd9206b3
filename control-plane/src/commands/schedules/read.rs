//! Reads schedules.

use uuid::Uuid;

use super::WHAT;
use crate::commands::CommandError;
use crate::commands::pagination::{PageRequest, ResultPage};
use crate::store::db::{TenantTx, Transaction};
use crate::store::plans;
use crate::store::schedules::{self, Schedule};

/// Query for the schedule of one plan and config.
pub struct GetSchedule {
    /// Key of the plan.
    pub plan: String,
    /// Key of the config.
    pub config: String,
}

impl Transaction<TenantTx> for GetSchedule {
    type Output = Schedule;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Schedule, CommandError> {
        schedules::by_keys(tx, &self.plan, &self.config)
            .await?
            .ok_or_else(|| Self::unknown(&self.plan, &self.config))
    }
}

impl GetSchedule {
    pub(super) fn unknown(plan: &str, config: &str) -> CommandError {
        CommandError::not_found(WHAT, format!("{plan}/{config}"))
    }
}

/// Query for schedules, newest first.
pub struct ListSchedules {
    /// Filter by plan.
    pub plan: Option<String>,
    /// Page to return.
    pub page: PageRequest<Uuid>,
}

impl Transaction<TenantTx> for ListSchedules {
    type Output = ResultPage<Schedule, Uuid>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Output, CommandError> {
        let plan_id = match &self.plan {
            Some(plan) => match plans::ids_by_keys(tx, plan, None).await? {
                Some(ids) => Some(ids.plan_id),
                None => return Ok(ResultPage::empty()),
            },
            None => None,
        };
        let rows = schedules::list(tx, plan_id, self.page.after, self.page.limit()).await?;
        Ok(self.page.cut(rows, |row| row.id))
    }
}
