//! Scans of schedules across all tenants, without locks: which are due, stuck or idle. The loops
//! lock what they find and check it again.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::store::db::Databases;
use crate::store::error::StoreError;
use crate::store::keys::{ExecutionKey, ScheduleKey};
use crate::values;

#[derive(FromQueryResult)]
struct ScheduleKeyRow {
    tenant_id: Uuid,
    plan_id: Uuid,
    config_id: Uuid,
}

impl From<ScheduleKeyRow> for ScheduleKey {
    fn from(row: ScheduleKeyRow) -> Self {
        Self { tenant_id: row.tenant_id, plan_id: row.plan_id, config_id: row.config_id }
    }
}

/// Finds schedules that are due, the longest overdue first.
///
/// # Errors
/// The statement fails.
pub async fn find_due(
    databases: &Databases,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ScheduleKey>, StoreError> {
    let rows: Vec<ScheduleKeyRow> = databases
        .find(
            "SELECT tenant_id, plan_id, config_id FROM schedules WHERE next_due_at <= $1 ORDER BY next_due_at LIMIT $2",
            values![now, limit],
        )
        .await?;
    Ok(rows.into_iter().map(ScheduleKey::from).collect())
}

/// Returns the time at which the next schedule is due.
///
/// # Errors
/// The statement fails.
pub async fn next_due(databases: &Databases) -> Result<Option<DateTime<Utc>>, StoreError> {
    #[derive(FromQueryResult)]
    struct NextDueRow {
        next_due_at: Option<DateTime<Utc>>,
    }
    // A partial index over next_due_at answers this from its first entry.
    let rows: Vec<NextDueRow> = databases
        .find(
            "SELECT min(next_due_at) AS next_due_at FROM schedules WHERE next_due_at IS NOT NULL",
            values![],
        )
        .await?;
    Ok(rows.into_iter().next().and_then(|row| row.next_due_at))
}

/// A schedule and the executions that hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromQueryResult)]
pub struct HeldSchedule {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The plan.
    pub plan_id: Uuid,
    /// The config.
    pub config_id: Uuid,
    /// The execution that may save progress.
    pub active_execution_id: Option<Uuid>,
    /// The scheduled execution that has not ended.
    pub current_execution_id: Option<Uuid>,
}

impl HeldSchedule {
    /// Returns the schedule's key.
    pub fn key(&self) -> ScheduleKey {
        ScheduleKey { tenant_id: self.tenant_id, plan_id: self.plan_id, config_id: self.config_id }
    }

    /// Returns the executions that hold it, each once.
    pub fn holders(&self) -> impl Iterator<Item = ExecutionKey> + use<> {
        let Self { tenant_id, active_execution_id, current_execution_id, .. } = *self;
        let current = current_execution_id.filter(|id| Some(*id) != active_execution_id);
        let ids = active_execution_id.into_iter().chain(current);
        ids.map(move |execution_id| ExecutionKey { tenant_id, execution_id })
    }
}

/// Finds schedules that an execution holds, in the order of their keys, after a key.
///
/// # Errors
/// The statement fails.
pub async fn find_held(
    databases: &Databases,
    after: ScheduleKey,
    limit: i64,
) -> Result<Vec<HeldSchedule>, StoreError> {
    databases
        .find(
            "SELECT tenant_id, plan_id, config_id, active_execution_id, current_execution_id FROM schedules \
             WHERE (active_execution_id IS NOT NULL OR current_execution_id IS NOT NULL) \
               AND (tenant_id, plan_id, config_id) > ($1, $2, $3) \
             ORDER BY tenant_id, plan_id, config_id LIMIT $4",
            values![after.tenant_id, after.plan_id, after.config_id, limit],
        )
        .await
}

/// Finds the schedules with these keys.
///
/// # Errors
/// The statement fails.
pub async fn find_by_keys(
    databases: &Databases,
    keys: &[ScheduleKey],
) -> Result<Vec<HeldSchedule>, StoreError> {
    let (tenants, plans, configs) = ScheduleKey::unzip(keys);
    databases
        .find(
            "SELECT s.tenant_id, s.plan_id, s.config_id, s.active_execution_id, s.current_execution_id \
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS v (tenant_id, plan_id, config_id) \
             JOIN schedules s ON s.tenant_id = v.tenant_id AND s.plan_id = v.plan_id AND s.config_id = v.config_id",
            values![tenants, plans, configs],
        )
        .await
}

/// Finds schedules with pending executions, in the order of their keys, after a key. Reads at most
/// `limit` executions, so it may return fewer schedules: the flag tells whether more may follow.
///
/// # Errors
/// The statement fails.
pub async fn find_with_pending(
    databases: &Databases,
    after: ScheduleKey,
    limit: i64,
) -> Result<(Vec<ScheduleKey>, bool), StoreError> {
    // Not DISTINCT, which would read all pending executions of a schedule. The next page begins
    // behind the last schedule of this one, so a long queue is read once and in part.
    let rows: Vec<ScheduleKeyRow> = databases
        .find(
            "SELECT tenant_id, plan_id, config_id FROM plan_executions \
             WHERE state = 'pending' AND (tenant_id, plan_id, config_id) > ($1, $2, $3) \
             ORDER BY tenant_id, plan_id, config_id LIMIT $4",
            values![after.tenant_id, after.plan_id, after.config_id, limit],
        )
        .await?;
    let is_full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= limit;
    let mut keys: Vec<ScheduleKey> = rows.into_iter().map(ScheduleKey::from).collect();
    keys.dedup();
    Ok((keys, is_full))
}

/// Finds schedules that are neither due nor paused and have no scheduled execution, in the order of
/// their keys, after a key. Most of them belong to disabled plans and configs.
///
/// # Errors
/// The statement fails.
pub async fn find_idle(
    databases: &Databases,
    after: ScheduleKey,
    limit: i64,
) -> Result<Vec<ScheduleKey>, StoreError> {
    let rows: Vec<ScheduleKeyRow> = databases
        .find(
            "SELECT tenant_id, plan_id, config_id FROM schedules \
             WHERE next_due_at IS NULL AND current_execution_id IS NULL AND NOT paused \
               AND (tenant_id, plan_id, config_id) > ($1, $2, $3) \
             ORDER BY tenant_id, plan_id, config_id LIMIT $4",
            values![after.tenant_id, after.plan_id, after.config_id, limit],
        )
        .await?;
    Ok(rows.into_iter().map(ScheduleKey::from).collect())
}

/// Returns those of the given schedules whose plan and config are enabled and that have executions
/// left.
///
/// # Errors
/// The statement fails.
pub async fn find_enabled(
    databases: &Databases,
    keys: &[ScheduleKey],
) -> Result<Vec<ScheduleKey>, StoreError> {
    let (tenants, plans, configs) = ScheduleKey::unzip(keys);
    let rows: Vec<ScheduleKeyRow> = databases
        .find(
            "SELECT s.tenant_id, s.plan_id, s.config_id \
             FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS v (tenant_id, plan_id, config_id) \
             JOIN schedules s ON s.tenant_id = v.tenant_id AND s.plan_id = v.plan_id AND s.config_id = v.config_id \
             JOIN plans p ON p.tenant_id = s.tenant_id AND p.id = s.plan_id \
             JOIN configs c ON c.tenant_id = s.tenant_id AND c.id = s.config_id \
             WHERE p.enabled AND c.enabled AND (p.repeat_count IS NULL OR s.run_count < p.repeat_count)",
            values![tenants, plans, configs],
        )
        .await?;
    Ok(rows.into_iter().map(ScheduleKey::from).collect())
}

/// A pending execution, as the scan for stranded ones sees it.
#[derive(Clone, Copy, Debug, FromQueryResult)]
pub struct PendingExecution {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The execution.
    pub id: Uuid,
    /// Time of its last change.
    pub updated_at: DateTime<Utc>,
    /// True if it has no schedule. Nothing will queue it then.
    pub is_stranded: bool,
}

impl PendingExecution {
    /// Returns the execution's key.
    pub fn key(&self) -> ExecutionKey {
        ExecutionKey { tenant_id: self.tenant_id, execution_id: self.id }
    }
}

/// Returns pending executions after a position, those that wait longest first, and whether each has
/// lost its schedule.
///
/// # Errors
/// The statement fails.
pub async fn find_pending(
    databases: &Databases,
    after: (DateTime<Utc>, Uuid),
    limit: i64,
) -> Result<Vec<PendingExecution>, StoreError> {
    // Read in windows, each by the index of pending executions: a join of all pending
    // executions with all schedules would cost the same whether anything is stranded or not.
    databases
        .find(
            "SELECT e.tenant_id, e.id, e.updated_at, s.id IS NULL AS is_stranded FROM plan_executions e \
             LEFT JOIN schedules s ON s.tenant_id = e.tenant_id AND s.plan_id = e.plan_id AND s.config_id = e.config_id \
             WHERE e.state = 'pending' AND (e.updated_at, e.id) > ($1, $2) \
             ORDER BY e.updated_at, e.id LIMIT $3",
            values![after.0, after.1, limit],
        )
        .await
}
