//! Changes a plan. A different definition becomes a new revision; active executions keep theirs.

use chrono::{DateTime, Utc};
use orchid_plan::ServerLimits;

use super::{
    WHAT,
    document::{CheckedDocument, PlanChanges, PlanDocument, PlanReferences},
    revise,
};
use crate::{
    commands::{
        CommandError, Diagnostic,
        checked::CheckedCommand,
        etag,
        schedules::sync_schedules::{self, TimingChange},
    },
    store::{
        db::TenantTx,
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

/// Rows that a change of a plan is checked against.
pub struct PlanChangeBasis {
    pub(super) row: Plan,
    /// The plan with the changes applied.
    pub(super) document: PlanDocument,
    pub(super) references: PlanReferences,
}

impl PlanChangeBasis {
    /// Reads a plan and applies changes to its document.
    ///
    /// # Errors
    /// Fails if the stored plan does not read, or the database fails.
    pub(super) async fn read(tx: &TenantTx, row: Plan, changes: &PlanChanges) -> Result<Self, CommandError> {
        let document = PlanDocument::changed(&row, changes)?;
        let references = document.references(tx).await?;
        Ok(Self { row, document, references })
    }

    /// Locks the integration and returns the plan, if it is still the one that was read.
    ///
    /// # Errors
    /// Fails if it is not, or the database fails.
    pub(super) async fn lock(&self, tx: &TenantTx) -> Result<Plan, CommandError> {
        self.document.lock(tx, &self.references).await?;
        let row = plans::by_key(tx, &self.row.key).await?;
        row.filter(|row| (row.id, row.version) == (self.row.id, self.row.version))
            .ok_or(CommandError::BasisChanged)
    }
}

impl CheckedCommand for UpdatePlan {
    type Basis = PlanChangeBasis;
    type Checked = CheckedDocument;
    type Output = Plan;

    async fn read(&self, tx: &TenantTx) -> Result<PlanChangeBasis, CommandError> {
        let row = plans::by_key(tx, &self.key).await?;
        let row = row.ok_or_else(|| CommandError::not_found(WHAT, &self.key))?;
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
        PlanChangeBasis::read(tx, row, &self.changes).await
    }

    fn check(&self, basis: &PlanChangeBasis) -> Result<CheckedDocument, CommandError> {
        basis.document.check(&basis.references, &self.limits)
    }

    async fn write(
        &self,
        tx: &TenantTx,
        basis: &PlanChangeBasis,
        checked: &CheckedDocument,
    ) -> Result<Plan, CommandError> {
        let mut row = basis.lock(tx).await?;
        row.set_header(checked.header.clone());
        row.updated_at = self.now;
        revise::set_definition(tx, &mut row, basis.document.definition(), self.now).await?;
        row.version += 1;
        plans::update(tx, &row).await?;
        // A plan has one schedule per config, and a change of the definition concerns none.
        if schedule_columns(&basis.row) != schedule_columns(&row) {
            sync_schedules::sync_plan(tx, &row, timing_change(&basis.row, &row), self.now).await?;
        }
        Ok(row)
    }
}

/// Returns the columns that decide which schedules a plan has, and when they are due.
fn schedule_columns(row: &Plan) -> impl PartialEq {
    let when = (row.wait_seconds, row.cron.clone(), row.timezone.clone(), row.spread_seconds);
    let how = (row.overlap.clone(), row.catch_up.clone(), row.repeat_count);
    (row.enabled, row.configs.clone(), when, how)
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
