//! Changes a plan. A different definition becomes a new revision; active executions keep theirs.

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

/// Changes some fields of a plan.
pub struct UpdatePlan {
    /// Key of the plan.
    pub key: String,
    /// Etag that the plan must still have, if the caller sent one.
    pub etag: Option<String>,
    /// Integration that the caller sent, if any. It must be the current one.
    pub integration: Option<String>,
    /// The changes.
    pub changes: PlanChanges,
    /// Limits of this server for a plan.
    pub limits: ServerLimits,
    /// Time of the request.
    pub now: DateTime<Utc>,
}

impl Transaction<TenantTx> for UpdatePlan {
    type Output = Plan;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Plan, CommandError> {
        let mut row = lock(tx, &self.key).await?;
        etag::check(WHAT, &row.key, row.id, row.version, self.etag.as_deref())?;
        if let Some(other) = self.integration.as_deref().filter(|key| *key != row.integration_key) {
            let message = format!(
                "the integration of a plan cannot change: it is {:?}, not {other:?}",
                row.integration_key
            );
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
        sync_schedules::sync_plan(tx, &row, timing_change(&before, &row), self.now).await?;
        Ok(row)
    }
}

/// Returns whether the times of the schedules have changed. A wait counts from the last execution,
/// so a new wait changes none of them.
fn timing_change(before: &Plan, after: &Plan) -> TimingChange {
    let of = |row: &Plan| (row.cron.clone(), row.timezone.clone(), row.spread_seconds.unwrap_or(0));
    if of(before) == of(after) { TimingChange::Unchanged } else { TimingChange::Changed }
}

/// Returns a plan and locks its integration.
pub(super) async fn lock(tx: &TenantTx, key: &str) -> Result<Plan, CommandError> {
    let missing = || CommandError::not_found(WHAT, key);
    // The integration of a plan never changes, so it can be looked up before the lock. Everything
    // else is read again under it.
    let row = plans::by_key(tx, key).await?.ok_or_else(missing)?;
    integrations::lock_by_key(tx, &row.integration_key).await?.ok_or_else(missing)?;
    plans::by_key(tx, key).await?.ok_or_else(missing)
}
