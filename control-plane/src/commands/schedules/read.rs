//! Reads schedules.

use uuid::Uuid;

use super::ScheduleName;
use crate::{
    commands::{
        CommandError,
        list::{Listed, Page},
    },
    store::{
        db::{TenantTx, Work},
        schedules::{self, Schedule},
    },
};

/// The schedule of one plan for one config.
pub struct GetSchedule(
    /// Which.
    pub ScheduleName,
);

impl Work<TenantTx> for GetSchedule {
    type Done = Schedule;
    type Fault = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Schedule, CommandError> {
        self.0.find(tx).await
    }
}

/// Schedules, newest first.
pub struct ListSchedules {
    /// Only of this plan.
    pub plan: Option<String>,
    /// Which page.
    pub page: Page<Uuid>,
}

impl Work<TenantTx> for ListSchedules {
    type Done = Listed<Schedule, Uuid>;
    type Fault = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Done, CommandError> {
        let rows = schedules::list(tx, self.plan.as_deref(), self.page.after, self.page.limit()).await?;
        Ok(self.page.cut(rows, |row| row.id))
    }
}
