//! Reads plans and their revisions.

use orchid_common::suggest::closest;
use uuid::Uuid;

use super::WHAT;
use crate::{
    commands::{
        CommandError,
        pagination::{PageRequest, ResultPage},
    },
    store::{
        db::{TenantTx, Transaction},
        plans::{self, Plan, Revision},
    },
};

/// One plan by its key.
pub struct GetPlan {
    /// Its key.
    pub key: String,
}

impl Transaction<TenantTx> for GetPlan {
    type Output = Plan;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Plan, CommandError> {
        by_key(tx, &self.key).await
    }
}

/// One plan; where there is none, the error names the key that is nearest.
pub(super) async fn by_key(tx: &TenantTx, key: &str) -> Result<Plan, CommandError> {
    if let Some(plan) = plans::by_key(tx, key).await? {
        return Ok(plan);
    }
    let known = plans::keys(tx).await?;
    let near = closest(key, known.iter().map(String::as_str));
    let hint = near.map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default();
    Err(CommandError::NotFound { what: WHAT, name: key.to_owned(), hint })
}

/// Plans, newest first.
pub struct ListPlans {
    /// Only of this integration.
    pub integration: Option<String>,
    /// Which page.
    pub page: PageRequest<Uuid>,
}

impl Transaction<TenantTx> for ListPlans {
    type Output = ResultPage<Plan, Uuid>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Output, CommandError> {
        let rows = plans::list(tx, self.integration.as_deref(), self.page.after, self.page.limit()).await?;
        Ok(self.page.cut(rows, |row| row.id))
    }
}

/// Revisions of a plan, newest first.
pub struct ListPlanRevisions {
    /// Key of the plan.
    pub plan: String,
    /// Which page.
    pub page: PageRequest<i32>,
}

impl Transaction<TenantTx> for ListPlanRevisions {
    type Output = ResultPage<Revision, i32>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Output, CommandError> {
        let plan = by_key(tx, &self.plan).await?;
        let rows = plans::list_revisions(tx, plan.id, self.page.after, self.page.limit()).await?;
        Ok(self.page.cut(rows, |row| row.revision))
    }
}

/// One revision of a plan.
pub struct GetPlanRevision {
    /// Key of the plan.
    pub plan: String,
    /// Counts from 1.
    pub revision: i32,
}

impl Transaction<TenantTx> for GetPlanRevision {
    type Output = Revision;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Revision, CommandError> {
        let plan = by_key(tx, &self.plan).await?;
        plans::revision(tx, plan.id, self.revision).await?.ok_or_else(|| {
            CommandError::not_found("plan revision", format!("{}/{}", self.plan, self.revision))
        })
    }
}
