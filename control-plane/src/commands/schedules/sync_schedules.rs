//! Creates and deletes schedules, so that there is one for every plan and config, and sets when
//! each is due. Called in the transaction of every change of a plan or config, which holds the lock
//! of their integration.
//!
//! A change of a config costs one schedule per plan of its integration, and a change of a plan one
//! per config. Nothing here looks at all plans and all configs.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::store::configs;
use crate::store::db::TenantTx;
use crate::store::error::StoreError;
use crate::store::plans::{self, Plan};
use crate::store::schedules::{self, NewSchedule, ScheduleOwner};

/// Whether an update changed the times at which a plan runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimingChange {
    /// The times are the same.
    Unchanged,
    /// The times changed; missed executions of the old times are dropped.
    Changed,
}

/// Synchronises the schedules of one config with all plans that run for it.
///
/// # Errors
/// Fails if the database does.
pub async fn sync_config(
    tx: &TenantTx,
    integration_id: Uuid,
    (config_id, config_key): (Uuid, &str),
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let plans = plans::of_config(tx, integration_id, config_key).await?;
    let wanted = plans.into_iter().map(|plan_id| (plan_id, config_id)).collect();
    sync(tx, ScheduleOwner::Config(config_id), wanted, TimingChange::Unchanged, now).await
}

/// Synchronises the schedules of one plan with all configs that it runs for.
///
/// # Errors
/// Fails if the database does.
pub async fn sync_plan(
    tx: &TenantTx,
    plan: &Plan,
    timing: TimingChange,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let configs = configs::names_of_plan(tx, plan, None).await?;
    let wanted = configs.into_iter().map(|config| (plan.id, config.id)).collect();
    sync(tx, ScheduleOwner::Plan(plan.id), wanted, timing, now).await
}

async fn sync(
    tx: &TenantTx,
    owner: ScheduleOwner,
    wanted: HashSet<(Uuid, Uuid)>,
    timing: TimingChange,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut existing = schedules::lock_of(tx, owner).await?;
    let obsolete: Vec<Uuid> =
        existing.iter().filter(|row| !wanted.contains(&row.pair())).map(|row| row.id).collect();
    if !obsolete.is_empty() {
        schedules::delete(tx, obsolete).await?;
        existing.retain(|row| wanted.contains(&row.pair()));
    }
    let known: HashSet<(Uuid, Uuid)> = existing.iter().map(schedules::Schedule::pair).collect();
    let mut missing: Vec<(Uuid, Uuid)> = wanted.difference(&known).copied().collect();
    if !missing.is_empty() {
        missing.sort_unstable();
        insert(tx, &missing, now).await?;
        // Read again: the due times are computed from columns that the insert has filled.
        existing = schedules::lock_of(tx, owner).await?;
    }
    let mut changes = Vec::new();
    for row in &existing {
        let is_active = row.current_execution_id.is_some();
        let dues =
            row.rules()?.after_change(row.due_times(), now, is_active, timing == TimingChange::Changed);
        if dues != row.due_times() {
            changes.push((row.id, dues));
        }
    }
    schedules::set_due_times(tx, &changes, now).await
}

/// Inserts the schedules of plans and configs that have none.
async fn insert(tx: &TenantTx, missing: &[(Uuid, Uuid)], now: DateTime<Utc>) -> Result<(), StoreError> {
    // The config may have been taken out of the plan and put back while an execution was active.
    // That execution is the active one again.
    let active = schedules::active_executions(tx, missing).await?;
    let new = missing.iter().map(|&(plan_id, config_id)| NewSchedule {
        id: Uuid::now_v7(),
        plan_id,
        config_id,
        active_execution_id: active.get(&(plan_id, config_id)).copied(),
    });
    schedules::insert(tx, &new.collect::<Vec<_>>(), now).await
}
