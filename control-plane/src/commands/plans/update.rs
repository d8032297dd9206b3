//! Changes a plan; another definition makes a new revision, and runs that are going keep theirs.

use chrono::{DateTime, Utc};
use orchid_plan::ServerLimits;

use super::{
    WHAT,
    document::{PlanChanges, PlanDocument},
    revise,
};
use crate::{
    commands::{
        CommandError, Diagnostic, etag,
        schedules::sync_schedules::{self, TimingChange},
    },
    store::{
        db::{TenantTx, Transaction},
        integrations,
        plans::{self, Plan},
    },
};

/// What to change.
pub struct UpdatePlan {
    /// Its key.
    pub key: String,
    /// Only if this is still its etag.
    pub etag: Option<String>,
    /// Its integration, where the caller named one; it never changes.
    pub integration: Option<String>,
    /// What changes.
    pub changes: PlanChanges,
    /// What this server allows a plan.
    pub limits: ServerLimits,
    /// When.
    pub now: DateTime<Utc>,
}

impl Transaction<TenantTx> for UpdatePlan {
    type Output = Plan;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Plan, CommandError> {
        let mut row = lock(tx, &self.key).await?;
        etag::check(WHAT, &row.key, row.id, row.version, self.etag.as_deref())?;
        if let Some(other) = self.integration.as_deref().filter(|key| *key != row.integration_key) {
            let message =
                format!("a plan's integration never changes: it is {:?}, not {other:?}", row.integration_key);
            return Err(CommandError::invalid(
                "INVALID_PLAN",
                Diagnostic::new("INVALID_VALUE", "/integration", message),
            ));
        }
        let document = PlanDocument::changed(&row, &self.changes)?;
        let (checked, _, _) = document.check(tx, &self.limits).await?;
        let before = row.clone();
        row.set_header(checked.header);
        row.updated_at = self.now;
        revise::set_definition(tx, &mut row, document.definition(), self.now).await?;
        row.version += 1;
        plans::update(tx, &row).await?;
        sync_schedules::sync_plan(tx, &row, times(&before, &row), self.now).await?;
        Ok(row)
    }
}

fn times(before: &Plan, after: &Plan) -> TimingChange {
    let of = |row: &Plan| (row.cron.clone(), row.timezone.clone(), row.spread_seconds.unwrap_or(0));
    if of(before) == of(after) { TimingChange::Unchanged } else { TimingChange::Changed }
}

/// A plan, under the lock of its integration.
pub(super) async fn lock(tx: &TenantTx, key: &str) -> Result<Plan, CommandError> {
    let missing = || CommandError::not_found(WHAT, key);
    // A plan's integration never changes, so it may be looked up before the lock; the rest is read again under it.
    let row = plans::by_key(tx, key).await?.ok_or_else(missing)?;
    integrations::lock_by_key(tx, &row.integration_key).await?.ok_or_else(missing)?;
    plans::by_key(tx, key).await?.ok_or_else(missing)
}
