//! Scans of schedules across all tenants, without locks: which are due, stuck or idle. The loops
//! lock what they find and check it again.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::schedules::FreedSchedule;
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

/// Finds schedules that are held by an execution that has ended or is gone, and schedules with
/// pending executions that no active one holds back.
///
/// # Errors
/// The statement fails.
pub async fn find_stuck(databases: &Databases, limit: i64) -> Result<Vec<FreedSchedule>, StoreError> {
    #[derive(FromQueryResult)]
    struct StuckRow {
        tenant_id: Uuid,
        plan_id: Uuid,
        config_id: Uuid,
        gone: Option<Uuid>,
    }
    let ended =
        "(e.id IS NULL OR e.state IN ('succeeded', 'failed', 'aborted', 'cancelled', 'dead_lettered'))";
    // Three cases: the active execution is gone, the scheduled one is gone, or pending ones wait
    // though no execution is active. LEFT JOIN finds executions whose history was dropped.
    let sql = format!(
        "SELECT s.tenant_id, s.plan_id, s.config_id, s.active_execution_id AS gone FROM schedules s \
           LEFT JOIN plan_executions e ON e.tenant_id = s.tenant_id AND e.id = s.active_execution_id \
           WHERE s.active_execution_id IS NOT NULL AND {ended} \
         UNION SELECT s.tenant_id, s.plan_id, s.config_id, s.current_execution_id FROM schedules s \
           LEFT JOIN plan_executions e ON e.tenant_id = s.tenant_id AND e.id = s.current_execution_id \
           WHERE s.current_execution_id IS NOT NULL AND {ended} \
         UNION SELECT s.tenant_id, s.plan_id, s.config_id, NULL::uuid FROM schedules s \
           JOIN plan_executions e ON e.tenant_id = s.tenant_id AND e.plan_id = s.plan_id AND e.config_id = s.config_id \
           WHERE s.active_execution_id IS NULL AND e.state = 'pending' LIMIT $1"
    );
    let rows: Vec<StuckRow> = databases.find(&sql, values![limit]).await?;
    Ok(rows
        .into_iter()
        .map(|row| FreedSchedule {
            key: ScheduleKey { tenant_id: row.tenant_id, plan_id: row.plan_id, config_id: row.config_id },
            execution_id: row.gone,
            // How it ended is not known here. Beginning where it was meant to loses nothing.
            revision: 0,
            next: None,
        })
        .collect())
}

/// Finds schedules that should run but are not due and have no execution. That happens when a
/// change of the plan or config races with the end of an execution.
///
/// # Errors
/// The statement fails.
pub async fn find_idle(databases: &Databases, limit: i64) -> Result<Vec<ScheduleKey>, StoreError> {
    let rows: Vec<ScheduleKeyRow> = databases
        .find(
            "SELECT s.tenant_id, s.plan_id, s.config_id FROM schedules s \
             JOIN plans p ON p.tenant_id = s.tenant_id AND p.id = s.plan_id \
             JOIN configs c ON c.tenant_id = s.tenant_id AND c.id = s.config_id \
             WHERE s.next_due_at IS NULL AND s.current_execution_id IS NULL AND p.enabled AND c.enabled AND NOT s.paused \
               AND (p.repeat_count IS NULL OR s.run_count < p.repeat_count) LIMIT $1",
            values![limit],
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
    // Read in windows, each by the index over state and updated_at: a join of all pending
    // executions with all schedules would cost the same whether anything is stranded or not.
    databases
        .find(
            "SELECT e.tenant_id, e.id, e.updated_at, s.id IS NULL AS is_stranded FROM plan_executions e \
             LEFT JOIN schedules s ON s.tenant_id = e.tenant_id AND s.plan_id = e.plan_id AND s.config_id = e.config_id \
             WHERE e.state = 'pending' AND e.updated_at >= $1 AND (e.updated_at, e.id) > ($1, $2) \
             ORDER BY e.updated_at, e.id LIMIT $3",
            values![after.0, after.1, limit],
        )
        .await
}
