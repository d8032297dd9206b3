//! Makes and removes the rows of schedules, so that there is one for each plan and each config that it runs for, and says when
//! each is due. Called in the transaction of every change of a plan or config, under the lock of their integration.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::store::{
    configs::{self, ConfigName},
    db::TenantTx,
    error::StoreError,
    plans::{self, Plan},
    schedules,
};

/// What became of the times at which a plan runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimingChange {
    /// They are what they were.
    Unchanged,
    /// They are others: what the old ones left open does not count.
    Changed,
}

/// Brings the schedules of all plans of an integration up to date.
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

/// Brings the schedules of one plan up to date.
pub async fn sync_plan(
    tx: &TenantTx,
    plan: &Plan,
    times: TimingChange,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let configs = configs::names(tx, plan.integration_id).await?;
    for_configs(tx, plan, &configs, times, now).await
}

/// The configs of an integration that a plan runs for.
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
    times: TimingChange,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let wanted: HashSet<Uuid> = configs_of(plan, configs).map(|config| config.id).collect();
    let mut there = schedules::lock_of_plan(tx, plan.id).await?;
    let obsolete: Vec<Uuid> =
        there.iter().filter(|row| !wanted.contains(&row.config_id)).map(|row| row.id).collect();
    if !obsolete.is_empty() {
        schedules::delete(tx, obsolete).await?;
        there.retain(|row| wanted.contains(&row.config_id));
    }
    let known: HashSet<Uuid> = there.iter().map(|row| row.config_id).collect();
    let missing: Vec<Uuid> =
        configs_of(plan, configs).map(|config| config.id).filter(|id| !known.contains(id)).collect();
    if !missing.is_empty() {
        for config_id in missing {
            schedules::insert(tx, plan.id, config_id, Uuid::now_v7(), now).await?;
        }
        there = schedules::lock_of_plan(tx, plan.id).await?;
    }
    let mut changes = Vec::new();
    for row in &there {
        let is_going = row.current_execution_id.is_some();
        let dues = row.rules()?.after_change(row.due_times(), now, is_going, times == TimingChange::Changed);
        if dues != row.due_times() {
            changes.push((row.id, dues));
        }
    }
    schedules::set_due_times(tx, &changes, now).await
}
