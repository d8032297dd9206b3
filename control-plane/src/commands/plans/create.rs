//! Creates a plan with its first revision and its schedules.

use chrono::{DateTime, Utc};
use orchid_plan::ServerLimits;
use uuid::Uuid;

use super::{WHAT, document::PlanDocument, revise};
use crate::{
    commands::{
        CommandError,
        schedules::sync_schedules::{self, TimingChange},
    },
    store::{
        db::{TenantTx, Transaction},
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

impl Transaction<TenantTx> for CreatePlan {
    type Output = Plan;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Plan, CommandError> {
        let (checked, integration, _) = self.document.check(tx, &self.limits).await?;
        let identity = PlanIdentity {
            key: self.key.clone(),
            integration_id: integration.id,
            integration_key: integration.key,
        };
        let row = Plan::new(self.id, identity, checked.header, self.document.definition(), self.now);
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
