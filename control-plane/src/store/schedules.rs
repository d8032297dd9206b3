//! Rows of `schedules` as users see and change them: when each plan runs next for each config.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use orchid_domain::schedule::{DueTimes, ScheduleRules};
use sea_orm::FromQueryResult;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::plans::default_catch_up;
use super::timing::{ScheduleColumns, or_epoch};
use crate::store::batch::{ListStatement, distinct, placeholders};
use crate::store::db::TenantTx;
use crate::store::error::StoreError;
use crate::values;

/// Maximum rows of one insert.
const MAX_INSERTED: usize = 1000;

/// A schedule, with the columns of its plan and config that decide when it is due.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub struct Schedule {
    /// Id of the schedule, a UUID v7.
    pub id: Uuid,
    /// Id of the plan.
    pub plan_id: Uuid,
    /// Id of the config.
    pub config_id: Uuid,
    /// Key of the plan.
    pub plan_key: String,
    /// Key of the integration.
    pub integration_key: String,
    /// Key of the config.
    pub config_key: String,
    /// True if it is paused.
    pub paused: bool,
    /// Time at which the next execution is due.
    pub next_due_at: Option<DateTime<Utc>>,
    /// The scheduled execution that has not ended.
    pub current_execution_id: Option<Uuid>,
    /// The last scheduled execution that ended.
    pub last_execution_id: Option<Uuid>,
    /// Number of scheduled executions so far.
    pub run_count: i32,
    /// True if the plan is enabled.
    pub plan_enabled: bool,
    /// True if the config is enabled.
    pub config_enabled: bool,
    /// With cron: the time up to which its times are decided.
    pub decided_until: Option<DateTime<Utc>>,
    /// With cron: the time up to which its times get their executions however late.
    pub owed_until: Option<DateTime<Utc>>,
    /// Seconds from the end of one execution to the start of the next; ignored with `cron`.
    pub wait_seconds: i32,
    /// Cron text, instead of a wait.
    pub cron: Option<String>,
    /// IANA time zone of `cron`; none means UTC.
    pub timezone: Option<String>,
    /// Upper bound of the configs' offsets, in seconds; none means 0.
    pub spread_seconds: Option<i32>,
    /// `skip` or `queue`.
    pub overlap: String,
    /// `run_once`, `skip` or `run_each`.
    #[serde(default = "default_catch_up")]
    pub catch_up: String,
    /// Number of scheduled executions per config, after which the schedule ends.
    pub repeat_count: Option<i32>,
}

impl Schedule {
    /// Returns the ids of its plan and config.
    pub fn pair(&self) -> (Uuid, Uuid) {
        (self.plan_id, self.config_id)
    }

    /// Returns its due times.
    pub fn due_times(&self) -> DueTimes {
        DueTimes { next_at: self.next_due_at, decided_until: self.decided_until, owed_until: self.owed_until }
    }

    /// Returns the rules that decide when it is due.
    ///
    /// # Errors
    /// A column does not parse.
    pub fn rules(&self) -> Result<ScheduleRules, StoreError> {
        let columns = ScheduleColumns {
            plan_id: self.plan_id,
            config_id: self.config_id,
            enabled: self.plan_enabled && self.config_enabled,
            paused: self.paused,
            wait_seconds: self.wait_seconds,
            cron: self.cron.as_deref(),
            timezone: self.timezone.as_deref(),
            spread_seconds: self.spread_seconds,
            overlap: &self.overlap,
            catch_up: &self.catch_up,
            repeat_count: self.repeat_count,
            run_count: self.run_count,
        };
        columns.rules()
    }
}

const COLUMNS: &str = "SELECT s.id, s.plan_id, s.config_id, p.key AS plan_key, i.key AS integration_key, c.key AS config_key,
        s.paused, s.next_due_at, s.decided_until, s.owed_until, s.current_execution_id, s.last_execution_id, s.run_count, p.enabled AS plan_enabled,
        c.enabled AS config_enabled, p.wait_seconds, p.cron, p.timezone, p.spread_seconds, p.overlap, p.catch_up, p.repeat_count
    FROM schedules s
    JOIN plans p ON p.tenant_id = s.tenant_id AND p.id = s.plan_id
    JOIN integrations i ON i.tenant_id = s.tenant_id AND i.id = p.integration_id
    JOIN configs c ON c.tenant_id = s.tenant_id AND c.id = s.config_id
    WHERE s.tenant_id = $1";

/// Returns the schedule of a plan for a config.
///
/// # Errors
/// The statement fails.
pub async fn by_keys(tx: &TenantTx, plan: &str, config: &str) -> Result<Option<Schedule>, StoreError> {
    tx.one(&format!("{COLUMNS} AND p.key = $2 AND c.key = $3"), values![tx.tenant_id(), plan, config]).await
}

/// Locks the schedule of a plan for a config and returns it.
///
/// # Errors
/// The statement fails.
pub async fn lock_by_keys(tx: &TenantTx, plan: &str, config: &str) -> Result<Option<Schedule>, StoreError> {
    tx.one(
        &format!("{COLUMNS} AND p.key = $2 AND c.key = $3 FOR UPDATE OF s"),
        values![tx.tenant_id(), plan, config],
    )
    .await
}

/// The plan or the config whose schedules are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleOwner {
    /// All schedules of a plan.
    Plan(Uuid),
    /// All schedules of a config.
    Config(Uuid),
}

/// Locks all schedules of a plan or config in the order of their keys, as the fleet does, and
/// returns them.
///
/// # Errors
/// The statement fails.
pub async fn lock_of(tx: &TenantTx, owner: ScheduleOwner) -> Result<Vec<Schedule>, StoreError> {
    let (column, id) = match owner {
        ScheduleOwner::Plan(id) => ("s.plan_id", id),
        ScheduleOwner::Config(id) => ("s.config_id", id),
    };
    tx.all(
        &format!("{COLUMNS} AND {column} = $2 ORDER BY s.plan_id, s.config_id FOR UPDATE OF s"),
        values![tx.tenant_id(), id],
    )
    .await
}

/// Lists schedules with ids below `before`, newest first, of one plan or of all.
///
/// # Errors
/// The statement fails.
pub async fn list(
    tx: &TenantTx,
    plan_id: Option<Uuid>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Schedule>, StoreError> {
    let list =
        ListStatement::new(tx.tenant_id(), limit).only_if("s.plan_id =", plan_id).only_if("s.id <", before);
    tx.all(&format!("{COLUMNS}{} ORDER BY s.id DESC LIMIT $2", list.conditions), list.values).await
}

/// A schedule to insert.
#[derive(Clone, Copy, Debug)]
pub struct NewSchedule {
    /// Id of the schedule, a UUID v7.
    pub id: Uuid,
    /// Id of the plan.
    pub plan_id: Uuid,
    /// Id of the config.
    pub config_id: Uuid,
    /// The execution that may save progress, if there is one already.
    pub active_execution_id: Option<Uuid>,
}

/// Inserts schedules. One that exists already is left as it is.
///
/// # Errors
/// A statement fails.
pub async fn insert(tx: &TenantTx, rows: &[NewSchedule], now: DateTime<Utc>) -> Result<(), StoreError> {
    // A statement has at most 65,535 parameters.
    for rows in rows.chunks(MAX_INSERTED) {
        let sql = format!(
            "INSERT INTO schedules (tenant_id, plan_id, config_id, id, active_execution_id, created_at, updated_at)
             VALUES {} ON CONFLICT DO NOTHING",
            placeholders(rows.len(), 7)
        );
        let mut values = Vec::with_capacity(rows.len() * 7);
        for row in rows {
            values.extend(values![
                tx.tenant_id(),
                row.plan_id,
                row.config_id,
                row.id,
                row.active_execution_id,
                now,
                now,
            ]);
        }
        tx.execute(&sql, values).await?;
    }
    Ok(())
}

/// Returns the oldest execution that saves progress and has begun, for each of these plans and
/// configs that has one.
///
/// # Errors
/// The statement fails.
pub async fn active_executions(
    tx: &TenantTx,
    pairs: &[(Uuid, Uuid)],
) -> Result<HashMap<(Uuid, Uuid), Uuid>, StoreError> {
    #[derive(FromQueryResult)]
    struct ActiveRow {
        plan_id: Uuid,
        config_id: Uuid,
        id: Uuid,
    }
    let (plans, configs): (Vec<Uuid>, Vec<Uuid>) = pairs.iter().copied().unzip();
    // Plans and configs are two lists and not pairs, so that the index of open executions answers
    // this; either list has one element only.
    let rows: Vec<ActiveRow> = tx
        .all(
            "SELECT DISTINCT ON (plan_id, config_id) plan_id, config_id, id FROM plan_executions
             WHERE tenant_id = $1 AND plan_id = ANY($2) AND config_id = ANY($3) AND persists
               AND state IN ('queued', 'running', 'parked', 'blocked')
             ORDER BY plan_id, config_id, id",
            values![tx.tenant_id(), distinct(plans), distinct(configs)],
        )
        .await?;
    Ok(rows.into_iter().map(|row| ((row.plan_id, row.config_id), row.id)).collect())
}

/// Deletes schedules.
///
/// # Errors
/// The statement fails.
pub async fn delete(tx: &TenantTx, ids: Vec<Uuid>) -> Result<(), StoreError> {
    tx.execute("DELETE FROM schedules WHERE tenant_id = $1 AND id = ANY($2)", values![tx.tenant_id(), ids])
        .await?;
    Ok(())
}

/// Writes the due times of schedules in one statement.
///
/// # Errors
/// The statement fails.
pub async fn set_due_times(
    tx: &TenantTx,
    due: &[(Uuid, DueTimes)],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if due.is_empty() {
        return Ok(());
    }
    let times = |of: fn(&DueTimes) -> Option<DateTime<Utc>>| {
        due.iter().map(|(_, due)| or_epoch(of(due))).collect::<Vec<DateTime<Utc>>>()
    };
    tx.execute(
        "UPDATE schedules s SET next_due_at = NULLIF(v.next_due_at, to_timestamp(0)),
             decided_until = NULLIF(v.decided_until, to_timestamp(0)), owed_until = NULLIF(v.owed_until, to_timestamp(0)),
             updated_at = $2
         FROM unnest($3::uuid[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
             AS v (id, next_due_at, decided_until, owed_until)
         WHERE s.tenant_id = $1 AND s.id = v.id",
        values![
            tx.tenant_id(),
            now,
            due.iter().map(|(id, _)| *id).collect::<Vec<Uuid>>(),
            times(|due| due.next_at),
            times(|due| due.decided_until),
            times(|due| due.owed_until),
        ],
    )
    .await?;
    Ok(())
}

/// Pauses or resumes a schedule, and writes its due times.
///
/// # Errors
/// The statement fails.
pub async fn set_paused(
    tx: &TenantTx,
    id: Uuid,
    paused: bool,
    due: DueTimes,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE schedules SET paused = $3, next_due_at = $4, decided_until = $5, owed_until = $6, updated_at = $7
         WHERE tenant_id = $1 AND id = $2",
        values![tx.tenant_id(), id, paused, due.next_at, due.decided_until, due.owed_until, now],
    )
    .await?;
    Ok(())
}
