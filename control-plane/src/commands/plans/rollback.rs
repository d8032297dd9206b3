//! Rolls a plan back: creates a new revision with the definition of an older one.

use chrono::{DateTime, Utc};
use orchid_plan::ServerLimits;

use super::document::{CheckedDocument, PlanChanges};
use super::update::PlanChangeBasis;
use super::{WHAT, revise};
use crate::commands::checked::CheckedCommand;
use crate::commands::{CommandError, etag};
use crate::store::db::TenantTx;
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

impl CheckedCommand for RollbackPlan {
    type Basis = PlanChangeBasis;
    type Checked = CheckedDocument;
    type Output = Plan;

    async fn read(&self, tx: &TenantTx) -> Result<PlanChangeBasis, CommandError> {
        let row = plans::by_key(tx, &self.key).await?;
        let row = row.ok_or_else(|| CommandError::not_found(WHAT, &self.key))?;
        etag::check(WHAT, &row.key, row.id, row.version, self.etag.as_deref())?;
        let wanted = plans::revision(tx, row.id, self.revision).await?.ok_or_else(|| {
            CommandError::not_found("plan revision", format!("{}/{}", self.key, self.revision))
        })?;
        let changes = PlanChanges { definition: Some(wanted.definition), ..PlanChanges::default() };
        PlanChangeBasis::read(tx, row, &changes).await
    }

    fn check(&self, basis: &PlanChangeBasis) -> Result<CheckedDocument, CommandError> {
        // The old definition is validated again: this build may be stricter than the one that saved
        // it.
        basis.document.check(&basis.references, &self.limits)
    }

    async fn write(
        &self,
        tx: &TenantTx,
        basis: &PlanChangeBasis,
        _: &CheckedDocument,
    ) -> Result<Plan, CommandError> {
        let mut row = basis.lock(tx).await?;
        revise::set_definition(tx, &mut row, basis.document.definition(), self.now).await?;
        row.version += 1;
        row.updated_at = self.now;
        plans::update(tx, &row).await?;
        Ok(row)
    }
}
