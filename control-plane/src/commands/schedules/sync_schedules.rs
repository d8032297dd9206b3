//! Creates and deletes schedules, so that there is one for every plan and config, and sets when
//! each is due. Called in the transaction of every change of a plan or config, which holds the lock
//! of their integration.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::store::configs::{self, ConfigName};
use crate::store::db::TenantTx;
use crate::store::error::StoreError;
use crate::store::plans::{self, Plan};
use crate::store::schedules;

/// Whether an update changed the times at which a plan runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimingChange {
    /// The times are the same.
    Unchanged,
    /// The times changed; missed executions of the old times are dropped.
    Changed,
}

/// Synchronises the schedules of all plans of an integration.
///
/// # Errors
/// Fails if the database does.
pub async fn sync_integration(
    tx: &TenantTx,
    integration_id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let configs = configs::names(tx, integration_id).await?;
    for plan in plans::of_integration(tx, integration_id).await? {
        for_configs(tx, &plan, &configs, TimingChange::Unchanged, now).await?;
    }
    Ok(())
}

/// Synchronises the schedules of one plan.
///
/// # Errors
/// Fails if the database does.
pub async fn sync_plan(
    tx: &TenantTx,
    plan: &Plan,
    timing: TimingChange,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let configs = configs::names(tx, plan.integration_id).await?;
    for_configs(tx, plan, &configs, timing, now).await
}

/// Returns the configs of an integration that a plan runs for.
pub fn configs_of<'a>(plan: &Plan, configs: &'a [ConfigName]) -> impl Iterator<Item = &'a ConfigName> {
    let named: Option<HashSet<String>> = plan.configs.as_ref().map(|keys| {
        keys.as_array().into_iter().flatten().filter_map(|key| key.as_str().map(str::to_owned)).collect()
    });
    configs.iter().filter(move |config| named.as_ref().is_none_or(|keys| keys.contains(&config.key)))
}

async fn for_configs(
    tx: &TenantTx,
    plan: &Plan,
    configs: &[ConfigName],
    timing: TimingChange,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let wanted: HashSet<Uuid> = configs_of(plan, configs).map(|config| config.id).collect();
    let mut existing = schedules::lock_of_plan(tx, plan.id).await?;
    let obsolete: Vec<Uuid> =
        existing.iter().filter(|row| !wanted.contains(&row.config_id)).map(|row| row.id).collect();
    if !obsolete.is_empty() {
        schedules::delete(tx, obsolete).await?;
        existing.retain(|row| wanted.contains(&row.config_id));
    }
    let known: HashSet<Uuid> = existing.iter().map(|row| row.config_id).collect();
    let missing: Vec<Uuid> =
        configs_of(plan, configs).map(|config| config.id).filter(|id| !known.contains(id)).collect();
    if !missing.is_empty() {
        for config_id in missing {
            schedules::insert(tx, plan.id, config_id, Uuid::now_v7(), now).await?;
        }
        // Read again: the due times are computed from columns that the insert has filled.
        existing = schedules::lock_of_plan(tx, plan.id).await?;
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
