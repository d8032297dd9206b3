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
        plans::{self, Plan, Revision},
    },
};

/// What to create.
pub struct CreatePlan {
    /// UUID v7 that it gets.
    pub id: Uuid,
    /// Its key, which the document holds too.
    pub key: String,
    /// The plan.
    pub document: PlanDocument,
    /// What this server allows a plan.
    pub limits: ServerLimits,
    /// When.
    pub now: DateTime<Utc>,
}

impl Transaction<TenantTx> for CreatePlan {
    type Output = Plan;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Plan, CommandError> {
        let (checked, integration, _) = self.document.check(tx, &self.limits).await?;
        let mut row = Plan {
            id: self.id,
            integration_id: integration.id,
            integration_key: integration.key,
            key: self.key.clone(),
            name: String::new(),
            description: String::new(),
            enabled: false,
            configs: None,
            wait_seconds: 0,
            cron: None,
            timezone: None,
            spread_seconds: None,
            overlap: String::new(),
            catch_up: String::new(),
            repeat_count: None,
            priority: 0,
            revision: 1,
            definition: self.document.definition(),
            version: 1,
            created_at: self.now,
            updated_at: self.now,
        };
        row.set_header(checked.header);
        row.updated_at = self.now;
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
