//! Rolls a plan back: creates a new revision with the definition of an older one.

use chrono::{DateTime, Utc};
use orchid_plan::ServerLimits;

use super::document::{PlanChanges, PlanDocument};
use super::{WHAT, revise, update};
use crate::commands::{CommandError, etag};
use crate::store::db::{TenantTx, Transaction};
use crate::store::plans::{self, Plan};

/// Command that rolls a plan back.
pub struct RollbackPlan {
    /// Key of the resource.
    pub key: String,
    /// Revision whose definition is restored.
    pub revision: i32,
    /// Etag that must be the current one, if given.
    pub etag: Option<String>,
    /// Limits of plans on this server.
    pub limits: ServerLimits,
    /// Time of the request.
    pub now: DateTime<Utc>,
}

impl Transaction<TenantTx> for RollbackPlan {
    type Output = Plan;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Plan, CommandError> {
        let mut row = update::lock(tx, &self.key).await?;
        etag::check(WHAT, &row.key, row.id, row.version, self.etag.as_deref())?;
        let wanted = plans::revision(tx, row.id, self.revision).await?.ok_or_else(|| {
            CommandError::not_found("plan revision", format!("{}/{}", self.key, self.revision))
        })?;
        let changes = PlanChanges { definition: Some(wanted.definition), ..PlanChanges::default() };
        let document = PlanDocument::changed(&row, &changes)?;
        // The old definition is validated again: this build may be stricter than the one that saved
        // it.
        document.check(tx, &self.limits).await?;
        revise::set_definition(tx, &mut row, document.definition(), self.now).await?;
        row.version += 1;
        row.updated_at = self.now;
        plans::update(tx, &row).await?;
        Ok(row)
    }
}
