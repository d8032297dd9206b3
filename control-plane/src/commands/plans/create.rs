//! Creates a plan with its first revision and its schedules.

use chrono::{DateTime, Utc};
use orchid_plan::ServerLimits;
use uuid::Uuid;

use super::{
    WHAT,
    document::{CheckedDocument, PlanDocument, PlanReferences},
    revise,
};
use crate::{
    commands::{
        CommandError,
        checked::CheckedCommand,
        schedules::sync_schedules::{self, TimingChange},
    },
    store::{
        db::TenantTx,
        plans::{self, Plan, PlanIdentity, Revision},
    },
};

/// Creates a plan with revision 1 and its schedules.
pub struct CreatePlan {
    /// Id of the new plan, a UUID v7.
    pub id: Uuid,
    /// Key of the plan; the document contains it too.
    pub key: String,
    /// Document of the plan.
    pub document: PlanDocument,
    /// Limits of this server for a plan.
    pub limits: ServerLimits,
    /// Time of the request.
    pub now: DateTime<Utc>,
}

impl CheckedCommand for CreatePlan {
    type Basis = PlanReferences;
    type Checked = CheckedDocument;
    type Output = Plan;

    async fn read(&self, tx: &TenantTx) -> Result<PlanReferences, CommandError> {
        self.document.references(tx).await
    }

    fn check(&self, references: &PlanReferences) -> Result<CheckedDocument, CommandError> {
        self.document.check(references, &self.limits)
    }

    async fn write(
        &self,
        tx: &TenantTx,
        references: &PlanReferences,
        checked: &CheckedDocument,
    ) -> Result<Plan, CommandError> {
        let integration = self.document.lock(tx, references).await?;
        let identity = PlanIdentity {
            key: self.key.clone(),
            integration_id: integration.id,
            integration_key: integration.key,
        };
        let definition = self.document.definition();
        let row = Plan::new(self.id, identity, checked.header.clone(), definition, self.now);
        if !plans::insert(tx, &row).await? {
            return Err(CommandError::AlreadyExists { what: WHAT, name: row.key });
        }
        let first = Revision {
            revision: 1,
            definition_hash: revise::hash(&row.definition),
            definition: row.definition.clone(),
            created_at: self.now,
        };
        plans::insert_revision(tx, row.id, &first).await?;
        sync_schedules::sync_plan(tx, &row, TimingChange::Changed, self.now).await?;
        Ok(row)
    }
}
