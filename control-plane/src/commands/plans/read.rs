//! Reads plans and their revisions.

use orchid_common::suggest::closest;
use uuid::Uuid;

use super::WHAT;
use crate::commands::CommandError;
use crate::commands::pagination::{PageRequest, ResultPage};
use crate::store::db::{TenantTx, Transaction};
use crate::store::integrations;
use crate::store::plans::{self, Plan, Revision};

/// Query for one plan.
pub struct GetPlan {
    /// Key of the resource.
    pub key: String,
}

impl Transaction<TenantTx> for GetPlan {
    type Output = Plan;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Plan, CommandError> {
        by_key(tx, &self.key).await
    }
}

/// Returns a plan.
///
/// # Errors
/// Fails if it does not exist; the error suggests the closest existing key.
pub(super) async fn by_key(tx: &TenantTx, key: &str) -> Result<Plan, CommandError> {
    if let Some(plan) = plans::by_key(tx, key).await? {
        return Ok(plan);
    }
    let known = plans::keys(tx).await?;
    let near = closest(key, known.iter().map(String::as_str));
    let hint = near.map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default();
    Err(CommandError::NotFound { what: WHAT, name: key.to_owned(), hint })
}

/// Query for plans, newest first.
pub struct ListPlans {
    /// Filter by integration.
    pub integration: Option<String>,
    /// Page to return.
    pub page: PageRequest<Uuid>,
}

impl Transaction<TenantTx> for ListPlans {
    type Output = ResultPage<Plan, Uuid>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Self::Output, CommandError> {
        let integration_id = match &self.integration {
            Some(key) => match integrations::by_key(tx, key).await? {
                Some(integration) => Some(integration.id),
                None => return Ok(ResultPage::empty()),
            },
            None => None,
        };
        let rows = plans::list(tx, integration_id, self.page.after, self.page.limit()).await?;
        Ok(self.page.cut(rows, |row| row.id))
    }
}

/// Query for the revisions of a plan, newest first.
pub struct ListPlanRevisions {
    /// Key of the plan.
    pub plan: String,
    /// Page to return.
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

/// Query for one revision of a plan.
pub struct GetPlanRevision {
    /// Key of the plan.
    pub plan: String,
    /// Number of the revision, from 1.
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
