//! Schedules: which are due, whose turn it is, and how they move on.

use chrono::{DateTime, Utc};
use orchid_domain::schedule::{DueTimes, ScheduleRules};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::rows::{ExecutionKey, tenants_of};
use crate::store::db::{Databases, Tx};
use crate::store::error::StoreError;
use crate::store::timing::{ScheduleColumns, or_epoch};
use crate::values;

/// Names a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleKey {
    /// Whose.
    pub tenant_id: Uuid,
    /// The plan.
    pub plan_id: Uuid,
    /// The config.
    pub config_id: Uuid,
}

/// A schedule as it stands, its row locked.
#[derive(Clone, Debug)]
pub struct LockedSchedule {
    /// Which.
    pub key: ScheduleKey,
    /// Its id.
    pub id: Uuid,
    /// How it stands in time.
    pub dues: DueTimes,
    /// Its scheduled run that is going.
    pub current: Option<Uuid>,
    /// The run that may save progress.
    pub going: Option<Uuid>,
    /// What decides.
    pub rules: ScheduleRules,
    /// The plan's key.
    pub plan_key: String,
    /// The plan's newest revision.
    pub revision: i32,
    /// The plan's priority.
    pub priority: i16,
    /// The integration's key.
    pub integration_key: String,
    /// The config's key.
    pub config_key: String,
    /// The tenant's pool.
    pub pool: String,
}

#[derive(FromQueryResult)]
struct KeyRow {
    tenant_id: Uuid,
    plan_id: Uuid,
    config_id: Uuid,
}

impl From<KeyRow> for ScheduleKey {
    fn from(row: KeyRow) -> Self {
        Self { tenant_id: row.tenant_id, plan_id: row.plan_id, config_id: row.config_id }
    }
}

#[derive(FromQueryResult)]
struct Row {
    tenant_id: Uuid,
    plan_id: Uuid,
    config_id: Uuid,
    id: Uuid,
    next_due_at: Option<DateTime<Utc>>,
    decided_until: Option<DateTime<Utc>>,
    owed_until: Option<DateTime<Utc>>,
    current_execution_id: Option<Uuid>,
    going_execution_id: Option<Uuid>,
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

impl TryFrom<Row> for LockedSchedule {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let rules = ScheduleColumns {
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
        let rules = rules.rules_or_suspended()?;
        Ok(Self {
            key: ScheduleKey { tenant_id: row.tenant_id, plan_id: row.plan_id, config_id: row.config_id },
            id: row.id,
            dues: DueTimes {
                next_at: row.next_due_at,
                decided_until: row.decided_until,
                owed_until: row.owed_until,
            },
            current: row.current_execution_id,
            going: row.going_execution_id,
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

/// Which rows a lock leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleLock {
    /// None: it waits for those that are locked.
    All,
    /// Those that are locked, or not due any more at this time.
    Due(DateTime<Utc>),
}

/// Locks schedules and reads them with what decides about them, in the order of their keys.
pub async fn lock(
    tx: &Tx,
    keys: &[ScheduleKey],
    which: ScheduleLock,
) -> Result<Vec<LockedSchedule>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (due, skip) = match which {
        ScheduleLock::All => ("$5::timestamptz IS NULL", ""),
        ScheduleLock::Due(_) => ("s.next_due_at <= $5::timestamptz", " SKIP LOCKED"),
    };
    let due_at = match which {
        ScheduleLock::All => None,
        ScheduleLock::Due(at) => Some(at),
    };
    let sql = format!(
        "SELECT s.tenant_id, s.plan_id, s.config_id, s.id, s.next_due_at, s.decided_until, s.owed_until, s.current_execution_id, \
           s.going_execution_id, s.run_count, (p.enabled AND c.enabled) AS enabled, s.paused, p.wait_seconds, p.cron, p.timezone, \
           p.spread_seconds, p.overlap, p.catch_up, p.repeat_count, p.key AS plan_key, p.revision, p.priority, i.key AS integration_key, c.key AS config_key, t.pool \
         FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS v (tenant_id, plan_id, config_id) \
         JOIN schedules s ON s.tenant_id = v.tenant_id AND s.plan_id = v.plan_id AND s.config_id = v.config_id \
         JOIN plans p ON p.tenant_id = s.tenant_id AND p.id = s.plan_id \
         JOIN configs c ON c.tenant_id = s.tenant_id AND c.id = s.config_id \
         JOIN integrations i ON i.tenant_id = s.tenant_id AND i.id = p.integration_id \
         JOIN tenants t ON t.id = s.tenant_id \
         WHERE s.tenant_id = ANY($1) AND p.tenant_id = ANY($1) AND c.tenant_id = ANY($1) AND i.tenant_id = ANY($1) AND t.id = ANY($1) \
           AND {due} ORDER BY s.tenant_id, s.plan_id, s.config_id FOR UPDATE OF s{skip}"
    );
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    let tenants: Vec<Uuid> = keys.iter().map(|key| key.tenant_id).collect();
    let plans: Vec<Uuid> = keys.iter().map(|key| key.plan_id).collect();
    let configs: Vec<Uuid> = keys.iter().map(|key| key.config_id).collect();
    let rows: Vec<Row> =
        tx.all(&sql, values![tenants_of(tenants.clone()), tenants, plans, configs, due_at]).await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// How a schedule moves on.
#[derive(Clone, Debug)]
pub struct ScheduleMove {
    /// Which.
    pub key: ScheduleKey,
    /// How it stands in time from now on.
    pub dues: DueTimes,
    /// Its scheduled run that is going from now on.
    pub current: Option<Uuid>,
    /// The run that may save progress from now on.
    pub going: Option<Uuid>,
    /// Its scheduled run that ended now, if one did.
    pub ended: Option<Uuid>,
    /// Runs that began now.
    pub began: i32,
}

impl ScheduleMove {
    /// Nothing changes yet.
    pub fn of(schedule: &LockedSchedule) -> Self {
        Self {
            key: schedule.key,
            dues: schedule.dues,
            current: schedule.current,
            going: schedule.going,
            ended: None,
            began: 0,
        }
    }
}

/// Moves locked schedules on.
pub async fn apply(tx: &Tx, now: DateTime<Utc>, moves: &[ScheduleMove]) -> Result<(), StoreError> {
    if moves.is_empty() {
        return Ok(());
    }
    let ids = |of: fn(&ScheduleMove) -> Option<Uuid>| {
        moves.iter().map(|entry| of(entry).unwrap_or_default()).collect::<Vec<Uuid>>()
    };
    let tenants: Vec<Uuid> = moves.iter().map(|entry| entry.key.tenant_id).collect();
    tx.execute(
        "UPDATE schedules s SET next_due_at = NULLIF(v.next_due_at, to_timestamp(0)), \
           decided_until = NULLIF(v.decided_until, to_timestamp(0)), owed_until = NULLIF(v.owed_until, to_timestamp(0)), \
           current_execution_id = NULLIF(v.current, '00000000-0000-0000-0000-000000000000'), \
           going_execution_id = NULLIF(v.going, '00000000-0000-0000-0000-000000000000'), \
           last_execution_id = COALESCE(NULLIF(v.ended, '00000000-0000-0000-0000-000000000000'), s.last_execution_id), \
           run_count = s.run_count + v.began, updated_at = $2 \
         FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[], $9::uuid[], $10::uuid[], \
           $11::uuid[], $12::integer[]) \
           AS v (tenant_id, plan_id, config_id, next_due_at, decided_until, owed_until, current, going, ended, began) \
         WHERE s.tenant_id = ANY($1) AND s.tenant_id = v.tenant_id AND s.plan_id = v.plan_id AND s.config_id = v.config_id",
        values![
            tenants_of(tenants.clone()),
            now,
            tenants,
            moves.iter().map(|entry| entry.key.plan_id).collect::<Vec<Uuid>>(),
            moves.iter().map(|entry| entry.key.config_id).collect::<Vec<Uuid>>(),
            moves.iter().map(|entry| or_epoch(entry.dues.next_at)).collect::<Vec<DateTime<Utc>>>(),
            moves.iter().map(|entry| or_epoch(entry.dues.decided_until)).collect::<Vec<DateTime<Utc>>>(),
            moves.iter().map(|entry| or_epoch(entry.dues.owed_until)).collect::<Vec<DateTime<Utc>>>(),
            ids(|entry| entry.current),
            ids(|entry| entry.going),
            ids(|entry| entry.ended),
            moves.iter().map(|entry| entry.began).collect::<Vec<i32>>(),
        ],
    )
    .await?;
    Ok(())
}

/// The oldest pending run behind each of these schedules.
pub async fn oldest_pending(
    tx: &Tx,
    keys: &[ScheduleKey],
) -> Result<Vec<(ScheduleKey, ExecutionKey)>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: Uuid,
        plan_id: Uuid,
        config_id: Uuid,
        id: Uuid,
    }
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let tenants: Vec<Uuid> = keys.iter().map(|key| key.tenant_id).collect();
    let rows: Vec<Row> = tx
        .all(
            "SELECT DISTINCT ON (e.tenant_id, e.plan_id, e.config_id) e.tenant_id, e.plan_id, e.config_id, e.id \
             FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS v (tenant_id, plan_id, config_id) \
             JOIN plan_executions e ON e.tenant_id = v.tenant_id AND e.plan_id = v.plan_id AND e.config_id = v.config_id \
             WHERE e.tenant_id = ANY($1) AND e.state = 'pending' ORDER BY e.tenant_id, e.plan_id, e.config_id, e.created_at, e.id",
            values![
                tenants_of(tenants.clone()),
                tenants,
                keys.iter().map(|key| key.plan_id).collect::<Vec<Uuid>>(),
                keys.iter().map(|key| key.config_id).collect::<Vec<Uuid>>(),
            ],
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

/// Schedules whose time has come, those due longest first.
pub async fn find_due(
    databases: &Databases,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ScheduleKey>, StoreError> {
    let rows: Vec<KeyRow> = databases
        .find(
            "SELECT tenant_id, plan_id, config_id FROM schedules WHERE next_due_at <= $1 ORDER BY next_due_at LIMIT $2",
            values![now, limit],
        )
        .await?;
    Ok(rows.into_iter().map(ScheduleKey::from).collect())
}

/// When the next schedule is due.
pub async fn next_due(databases: &Databases) -> Result<Option<DateTime<Utc>>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        next_due_at: Option<DateTime<Utc>>,
    }
    let rows: Vec<Row> = databases
        .find(
            "SELECT min(next_due_at) AS next_due_at FROM schedules WHERE next_due_at IS NOT NULL",
            values![],
        )
        .await?;
    Ok(rows.into_iter().next().and_then(|row| row.next_due_at))
}

/// Schedules that point at a run that is gone or has ended, with that run, and pending runs that nothing stands before.
pub async fn find_stuck(
    databases: &Databases,
    limit: i64,
) -> Result<Vec<(ScheduleKey, Option<Uuid>)>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: Uuid,
        plan_id: Uuid,
        config_id: Uuid,
        gone: Option<Uuid>,
    }
    let ended =
        "(e.id IS NULL OR e.state IN ('succeeded', 'failed', 'aborted', 'cancelled', 'dead_lettered'))";
    let sql = format!(
        "SELECT s.tenant_id, s.plan_id, s.config_id, s.going_execution_id AS gone FROM schedules s \
           LEFT JOIN plan_executions e ON e.tenant_id = s.tenant_id AND e.id = s.going_execution_id \
           WHERE s.going_execution_id IS NOT NULL AND {ended} \
         UNION SELECT s.tenant_id, s.plan_id, s.config_id, s.current_execution_id FROM schedules s \
           LEFT JOIN plan_executions e ON e.tenant_id = s.tenant_id AND e.id = s.current_execution_id \
           WHERE s.current_execution_id IS NOT NULL AND {ended} \
         UNION SELECT s.tenant_id, s.plan_id, s.config_id, NULL::uuid FROM schedules s \
           JOIN plan_executions e ON e.tenant_id = s.tenant_id AND e.plan_id = s.plan_id AND e.config_id = s.config_id \
           WHERE s.going_execution_id IS NULL AND e.state = 'pending' LIMIT $1"
    );
    let rows: Vec<Row> = databases.find(&sql, values![limit]).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            (
                ScheduleKey { tenant_id: row.tenant_id, plan_id: row.plan_id, config_id: row.config_id },
                row.gone,
            )
        })
        .collect())
}

/// Schedules that should run and wait for nothing: a change of plan or config met the end of a run.
pub async fn find_idle(databases: &Databases, limit: i64) -> Result<Vec<ScheduleKey>, StoreError> {
    let rows: Vec<KeyRow> = databases
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
