//! Gives a plan the definition of one of its older revisions, as a new revision.

use chrono::{DateTime, Utc};
use orchid_plan::ServerLimits;

use super::{
    WHAT,
    document::{PlanChanges, PlanDocument},
    revise, update,
};
use crate::{
    commands::{CommandError, etag},
    store::{
        db::{TenantTx, Transaction},
        plans::{self, Plan},
    },
};

/// What to roll back to.
pub struct RollbackPlan {
    /// Its key.
    pub key: String,
    /// The revision whose definition is wanted again.
    pub revision: i32,
    /// Only if this is still its etag.
    pub etag: Option<String>,
    /// What this server allows a plan.
    pub limits: ServerLimits,
    /// When.
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
        // What an older build accepted, this one may refuse.
        document.check(tx, &self.limits).await?;
        revise::set_definition(tx, &mut row, document.definition(), self.now).await?;
        row.version += 1;
        row.updated_at = self.now;
        plans::update(tx, &row).await?;
        Ok(row)
    }
}
