//! Schedules as the scheduler and promotion see them: which are due, which execution is active, and
//! how they move on.
//!
//! A schedule's row is the lock under which the one active execution of its plan and config is
//! chosen.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{LimitedExecution, NextBeginning};
use orchid_domain::schedule::{DueTimes, ScheduleRules};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::store::batch::distinct_tenants;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::keys::{ExecutionKey, ScheduleKey};
use crate::store::timing::{ScheduleColumns, or_epoch};
use crate::values;

/// A schedule that an execution no longer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreedSchedule {
    /// The schedule.
    pub key: ScheduleKey,
    /// The execution that ended or is gone; none when the schedule only has to be checked for
    /// pending executions.
    pub execution_id: Option<Uuid>,
    /// Revision of the plan that it ran.
    pub revision: i32,
    /// The place where the next execution begins; none leaves it as it is.
    pub next: Option<NextBeginning>,
}

/// A schedule whose row is locked by the transaction that read it.
#[derive(Clone, Debug)]
pub struct LockedSchedule {
    /// The schedule's key.
    pub key: ScheduleKey,
    /// Its id.
    pub id: Uuid,
    /// Its due times.
    pub due: DueTimes,
    /// The scheduled execution that has not ended.
    pub current: Option<Uuid>,
    /// The execution that may save progress, whatever its origin.
    pub active: Option<Uuid>,
    /// The execution that ended at a limit, and that the next one continues.
    pub limited: Option<LimitedExecution>,
    /// The rules that decide when it is due.
    pub rules: ScheduleRules,
    /// Key of the plan.
    pub plan_key: String,
    /// Newest revision of the plan.
    pub revision: i32,
    /// Priority of the plan.
    pub priority: i16,
    /// Key of the integration.
    pub integration_key: String,
    /// Key of the config.
    pub config_key: String,
    /// Pool of the tenant.
    pub pool: String,
}

#[derive(FromQueryResult)]
struct ScheduleRow {
    tenant_id: Uuid,
    plan_id: Uuid,
    config_id: Uuid,
    id: Uuid,
    next_due_at: Option<DateTime<Utc>>,
    decided_until: Option<DateTime<Utc>>,
    owed_until: Option<DateTime<Utc>>,
    current_execution_id: Option<Uuid>,
    active_execution_id: Option<Uuid>,
    limited_execution_id: Option<Uuid>,
    limited_revision: Option<i32>,
    run_count: i32,
    enabled: bool,
    paused: bool,
    wait_seconds: i32,
    cron: Option<String>,
    timezone: Option<String>,
    spread_seconds: Option<i32>,
    overlap: String,
    catch_up: String,
    repeat_count: Option<i32>,
    plan_key: String,
    revision: i32,
    priority: i16,
    integration_key: String,
    config_key: String,
    pool: String,
}

impl TryFrom<ScheduleRow> for LockedSchedule {
    type Error = StoreError;

    fn try_from(row: ScheduleRow) -> Result<Self, StoreError> {
        let columns = ScheduleColumns {
            plan_id: row.plan_id,
            config_id: row.config_id,
            enabled: row.enabled,
            paused: row.paused,
            wait_seconds: row.wait_seconds,
            cron: row.cron.as_deref(),
            timezone: row.timezone.as_deref(),
            spread_seconds: row.spread_seconds,
            overlap: &row.overlap,
            catch_up: &row.catch_up,
            repeat_count: row.repeat_count,
            run_count: row.run_count,
        };
        // An invalid cron text suspends this schedule and leaves the rest of the batch alone.
        let rules = columns.rules_or_suspended()?;
        Ok(Self {
            key: ScheduleKey { tenant_id: row.tenant_id, plan_id: row.plan_id, config_id: row.config_id },
            id: row.id,
            due: DueTimes {
                next_at: row.next_due_at,
                decided_until: row.decided_until,
                owed_until: row.owed_until,
            },
            current: row.current_execution_id,
            active: row.active_execution_id,
            limited: row
                .limited_execution_id
                .zip(row.limited_revision)
                .map(|(id, revision)| LimitedExecution { id: id.into(), revision }),
            rules,
            plan_key: row.plan_key,
            revision: row.revision,
            priority: row.priority,
            integration_key: row.integration_key,
            config_key: row.config_key,
            pool: row.pool,
        })
    }
}

/// The rows that a lock takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleLock {
    /// All rows. Waits for rows that another transaction has locked.
    All,
    /// Rows that are due at this time. Leaves out rows that another transaction has locked.
    Due(DateTime<Utc>),
}

/// Locks schedules in the order of their keys, and returns them with the rules of their plans and
/// configs.
///
/// # Errors
/// The statement fails, or a column does not parse.
pub async fn lock(
    tx: &Tx,
    keys: &[ScheduleKey],
    lock: ScheduleLock,
) -> Result<Vec<LockedSchedule>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    // A due row that is locked is being handled by another replica's scheduler, so it is skipped.
    // With `All` the parameter is null, and its condition is true.
    let (condition, skip, due_at) = match lock {
        ScheduleLock::All => ("$5::timestamptz IS NULL", "", None),
        ScheduleLock::Due(at) => ("s.next_due_at <= $5::timestamptz", " SKIP LOCKED", Some(at)),
    };
    // Each joined table names the tenants once more: Citus pushes a join down to a shard only when
    // every table of it is restricted to that shard's tenants.
    let sql = format!(
        "SELECT s.tenant_id, s.plan_id, s.config_id, s.id, s.next_due_at, s.decided_until, s.owed_until, s.current_execution_id, \
           s.active_execution_id, s.limited_execution_id, s.limited_revision, s.run_count, (p.enabled AND c.enabled) AS enabled, s.paused, p.wait_seconds, p.cron, p.timezone, \
           p.spread_seconds, p.overlap, p.catch_up, p.repeat_count, p.key AS plan_key, p.revision, p.priority, i.key AS integration_key, c.key AS config_key, t.pool \
         FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS v (tenant_id, plan_id, config_id) \
         JOIN schedules s ON s.tenant_id = v.tenant_id AND s.plan_id = v.plan_id AND s.config_id = v.config_id \
         JOIN plans p ON p.tenant_id = s.tenant_id AND p.id = s.plan_id \
         JOIN configs c ON c.tenant_id = s.tenant_id AND c.id = s.config_id \
         JOIN integrations i ON i.tenant_id = s.tenant_id AND i.id = p.integration_id \
         JOIN tenants t ON t.id = s.tenant_id \
         WHERE s.tenant_id = ANY($1) AND p.tenant_id = ANY($1) AND c.tenant_id = ANY($1) AND i.tenant_id = ANY($1) AND t.id = ANY($1) \
           AND {condition} ORDER BY s.tenant_id, s.plan_id, s.config_id FOR UPDATE OF s{skip}"
    );
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    let (tenants, plans, configs) = ScheduleKey::unzip(&keys);
    let rows: Vec<ScheduleRow> =
        tx.all(&sql, values![distinct_tenants(tenants.clone()), tenants, plans, configs, due_at]).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The columns that a locked schedule gets.
#[derive(Clone, Debug)]
pub struct ScheduleChange {
    /// The schedule.
    pub key: ScheduleKey,
    /// Its due times.
    pub due: DueTimes,
    /// The scheduled execution that has not ended.
    pub current: Option<Uuid>,
    /// The execution that may save progress.
    pub active: Option<Uuid>,
    /// The execution that ended at a limit, and that the next one continues.
    pub limited: Option<LimitedExecution>,
    /// The scheduled execution that ended now; none when none did.
    pub ended: Option<Uuid>,
    /// Scheduled executions that started now.
    pub started: i32,
}

impl ScheduleChange {
    /// Returns a change that keeps everything as it is.
    pub fn unchanged(schedule: &LockedSchedule) -> Self {
        Self {
            key: schedule.key,
            due: schedule.due,
            current: schedule.current,
            active: schedule.active,
            limited: schedule.limited,
            ended: None,
            started: 0,
        }
    }
}

/// Writes changes of locked schedules.
///
/// # Errors
/// The statement fails.
pub async fn apply_changes(
    tx: &Tx,
    now: DateTime<Utc>,
    changes: &[ScheduleChange],
) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    // Arrays hold no nulls: the nil id and the epoch replace them, and NULLIF turns them back.
    let ids = |of: fn(&ScheduleChange) -> Option<Uuid>| {
        changes.iter().map(|change| of(change).unwrap_or_default()).collect::<Vec<Uuid>>()
    };
    let times = |of: fn(&DueTimes) -> Option<DateTime<Utc>>| {
        changes.iter().map(|change| or_epoch(of(&change.due))).collect::<Vec<DateTime<Utc>>>()
    };
    let tenants: Vec<Uuid> = changes.iter().map(|change| change.key.tenant_id).collect();
    tx.execute(
        "UPDATE schedules s SET next_due_at = NULLIF(v.next_due_at, to_timestamp(0)), \
           decided_until = NULLIF(v.decided_until, to_timestamp(0)), owed_until = NULLIF(v.owed_until, to_timestamp(0)), \
           current_execution_id = NULLIF(v.current, '00000000-0000-0000-0000-000000000000'), \
           active_execution_id = NULLIF(v.active, '00000000-0000-0000-0000-000000000000'), \
           last_execution_id = COALESCE(NULLIF(v.ended, '00000000-0000-0000-0000-000000000000'), s.last_execution_id), \
           limited_execution_id = NULLIF(v.limited, '00000000-0000-0000-0000-000000000000'), \
           limited_revision = NULLIF(v.limited_revision, 0), \
           run_count = s.run_count + v.started, updated_at = $2 \
         FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[], $9::uuid[], $10::uuid[], \
           $11::uuid[], $12::integer[], $13::uuid[], $14::integer[]) \
           AS v (tenant_id, plan_id, config_id, next_due_at, decided_until, owed_until, current, active, ended, started, limited, limited_revision) \
         WHERE s.tenant_id = ANY($1) AND s.tenant_id = v.tenant_id AND s.plan_id = v.plan_id AND s.config_id = v.config_id",
        values![
            distinct_tenants(tenants.clone()),
            now,
            tenants,
            changes.iter().map(|change| change.key.plan_id).collect::<Vec<Uuid>>(),
            changes.iter().map(|change| change.key.config_id).collect::<Vec<Uuid>>(),
            times(|due| due.next_at),
            times(|due| due.decided_until),
            times(|due| due.owed_until),
            ids(|change| change.current),
            ids(|change| change.active),
            ids(|change| change.ended),
            changes.iter().map(|change| change.started).collect::<Vec<i32>>(),
            ids(|change| change.limited.map(|limited| limited.id.into())),
            changes.iter().map(|change| change.limited.map_or(0, |limited| limited.revision)).collect::<Vec<i32>>(),
        ],
    )
    .await?;
    Ok(())
}

/// Returns the oldest pending execution of each of these schedules that has one.
///
/// # Errors
/// The statement fails.
pub async fn oldest_pending(
    tx: &Tx,
    keys: &[ScheduleKey],
) -> Result<Vec<(ScheduleKey, ExecutionKey)>, StoreError> {
    #[derive(FromQueryResult)]
    struct PendingRow {
        tenant_id: Uuid,
        plan_id: Uuid,
        config_id: Uuid,
        id: Uuid,
    }
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    // One look into the index per schedule: a long queue is not read to find its head.
    let (tenants, plans, configs) = ScheduleKey::unzip(keys);
    let rows: Vec<PendingRow> = tx
        .all(
            "SELECT v.tenant_id, v.plan_id, v.config_id, p.id \
             FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS v (tenant_id, plan_id, config_id) \
             CROSS JOIN LATERAL (SELECT e.id FROM plan_executions e \
               WHERE e.tenant_id = ANY($1) AND e.tenant_id = v.tenant_id AND e.plan_id = v.plan_id AND e.config_id = v.config_id \
                 AND e.state = 'pending' ORDER BY e.created_at, e.id LIMIT 1) p",
            values![distinct_tenants(tenants.clone()), tenants, plans, configs],
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let schedule =
                ScheduleKey { tenant_id: row.tenant_id, plan_id: row.plan_id, config_id: row.config_id };
            (schedule, ExecutionKey { tenant_id: row.tenant_id, execution_id: row.id })
        })
        .collect())
}
