//! Rows of `schedules`: when each plan runs next for each config.

use chrono::{DateTime, Utc};
use orchid_domain::schedule::{DueTimes, ScheduleRules};
use sea_orm::FromQueryResult;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    plans::default_catch_up,
    timing::{ScheduleColumns, or_epoch},
};
use crate::{
    store::{db::TenantTx, error::StoreError},
    values,
};

/// A schedule, with what of its plan and config decides when it is due.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub struct Schedule {
    /// UUID v7.
    pub id: Uuid,
    /// Of which plan.
    pub plan_id: Uuid,
    /// For which config.
    pub config_id: Uuid,
    /// Key of the plan.
    pub plan_key: String,
    /// Key of the integration.
    pub integration_key: String,
    /// Key of the config.
    pub config_key: String,
    /// Whether it was paused.
    pub paused: bool,
    /// When the next run is due.
    pub next_due_at: Option<DateTime<Utc>>,
    /// The scheduled run that is going.
    pub current_execution_id: Option<Uuid>,
    /// The last scheduled run that ended.
    pub last_execution_id: Option<Uuid>,
    /// Scheduled runs so far.
    pub run_count: i32,
    /// Whether the plan is enabled.
    pub plan_enabled: bool,
    /// Whether the config is enabled.
    pub config_enabled: bool,
    /// By cron: how far its times are decided.
    pub decided_until: Option<DateTime<Utc>>,
    /// By cron: up to when its times get their runs however late.
    pub owed_until: Option<DateTime<Utc>>,
    /// Seconds from the end of one run to the start of the next; nothing with `cron`.
    pub wait_seconds: i32,
    /// When it runs, instead.
    pub cron: Option<String>,
    /// IANA zone of `cron`; none: UTC.
    pub timezone: Option<String>,
    /// The configs' offsets are below this; none: 0.
    pub spread_seconds: Option<i32>,
    /// `skip` or `queue`.
    pub overlap: String,
    /// `run_once`, `skip` or `run_each`.
    #[serde(default = "default_catch_up")]
    pub catch_up: String,
    /// Scheduled runs per config.
    pub repeat_count: Option<i32>,
}

impl Schedule {
    /// How it stands in time.
    pub fn due_times(&self) -> DueTimes {
        DueTimes { next_at: self.next_due_at, decided_until: self.decided_until, owed_until: self.owed_until }
    }

    /// What decides when it is due.
    ///
    /// # Errors
    /// A column does not read.
    pub fn rules(&self) -> Result<ScheduleRules, StoreError> {
        let rules = ScheduleColumns {
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
        rules.rules()
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

/// One schedule.
pub async fn by_keys(tx: &TenantTx, plan: &str, config: &str) -> Result<Option<Schedule>, StoreError> {
    tx.one(&format!("{COLUMNS} AND p.key = $2 AND c.key = $3"), values![tx.tenant_id(), plan, config]).await
}

/// One schedule, locked.
pub async fn lock_by_keys(tx: &TenantTx, plan: &str, config: &str) -> Result<Option<Schedule>, StoreError> {
    tx.one(
        &format!("{COLUMNS} AND p.key = $2 AND c.key = $3 FOR UPDATE OF s"),
        values![tx.tenant_id(), plan, config],
    )
    .await
}

/// All schedules of a plan, locked in the order of their ids.
pub async fn lock_of_plan(tx: &TenantTx, plan_id: Uuid) -> Result<Vec<Schedule>, StoreError> {
    tx.all(
        &format!("{COLUMNS} AND s.plan_id = $2 ORDER BY s.id FOR UPDATE OF s"),
        values![tx.tenant_id(), plan_id],
    )
    .await
}

/// Schedules below an id, newest first; of one plan where one is named.
pub async fn list(
    tx: &TenantTx,
    plan: Option<&str>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Schedule>, StoreError> {
    tx.all(
        &format!(
            "{COLUMNS} AND ($2::text IS NULL OR p.key = $2) AND ($3::uuid IS NULL OR s.id < $3)
             ORDER BY s.id DESC LIMIT $4"
        ),
        values![tx.tenant_id(), plan, before, limit],
    )
    .await
}

/// Adds the schedule of a plan for a config. A run of the two that is going already (the config was taken out of the plan, and
/// is back) is the one that saves progress.
pub async fn insert(
    tx: &TenantTx,
    plan_id: Uuid,
    config_id: Uuid,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO schedules (tenant_id, plan_id, config_id, id, created_at, updated_at, active_execution_id)
         VALUES ($1, $2, $3, $4, $5, $5, (
             SELECT e.id FROM plan_executions e
             WHERE e.tenant_id = $1 AND e.plan_id = $2 AND e.config_id = $3 AND e.persists
               AND e.state IN ('queued', 'running', 'parked', 'blocked')
             ORDER BY e.id LIMIT 1))
         ON CONFLICT DO NOTHING",
        values![tx.tenant_id(), plan_id, config_id, id, now],
    )
    .await?;
    Ok(())
}

/// Removes schedules.
pub async fn delete(tx: &TenantTx, ids: Vec<Uuid>) -> Result<(), StoreError> {
    tx.execute("DELETE FROM schedules WHERE tenant_id = $1 AND id = ANY($2)", values![tx.tenant_id(), ids])
        .await?;
    Ok(())
}

/// Says how schedules stand in time, all at once.
pub async fn set_due_times(
    tx: &TenantTx,
    dues: &[(Uuid, DueTimes)],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if dues.is_empty() {
        return Ok(());
    }
    let times = |of: fn(&DueTimes) -> Option<DateTime<Utc>>| {
        dues.iter().map(|(_, dues)| or_epoch(of(dues))).collect::<Vec<DateTime<Utc>>>()
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
            dues.iter().map(|(id, _)| *id).collect::<Vec<Uuid>>(),
            times(|dues| dues.next_at),
            times(|dues| dues.decided_until),
            times(|dues| dues.owed_until),
        ],
    )
    .await?;
    Ok(())
}

/// Pauses a schedule or lets it go on, and says how it stands in time then.
pub async fn set_paused(
    tx: &TenantTx,
    id: Uuid,
    paused: bool,
    dues: DueTimes,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE schedules SET paused = $3, next_due_at = $4, decided_until = $5, owed_until = $6, updated_at = $7
         WHERE tenant_id = $1 AND id = $2",
        values![tx.tenant_id(), id, paused, dues.next_at, dues.decided_until, dues.owed_until, now],
    )
    .await?;
    Ok(())
}
