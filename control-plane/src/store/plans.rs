//! Rows of `plans` and `plan_revisions`.

use chrono::{DateTime, Utc};
use orchid_plan::{CatchUpPolicy, OverlapPolicy, PlanHeader};
use sea_orm::FromQueryResult;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::{
    store::{batch::ListStatement, db::TenantTx, error::StoreError, name_row::NameRow},
    values,
};

/// A plan with the definition of its newest revision.
#[derive(Debug, Clone, FromQueryResult, Serialize, Deserialize)]
pub struct Plan {
    /// UUID v7.
    pub id: Uuid,
    /// Id of the integration.
    pub integration_id: Uuid,
    /// Key of the integration.
    pub integration_key: String,
    /// Key, unique in the tenant.
    pub key: String,
    /// Display name.
    pub name: String,
    /// Description for people.
    pub description: String,
    /// True if the scheduler runs it.
    pub enabled: bool,
    /// JSON list of the keys of its configs; `None` means all configs of the integration.
    pub configs: Option<Json>,
    /// Seconds from the end of one execution to the start of the next; without meaning if `cron` is
    /// set.
    pub wait_seconds: i32,
    /// Cron expression.
    pub cron: Option<String>,
    /// IANA time zone of `cron`; `None` means UTC.
    pub timezone: Option<String>,
    /// Length in seconds of the period over which the configs are spread; `None` means 0.
    pub spread_seconds: Option<i32>,
    /// `skip` or `queue`.
    pub overlap: String,
    /// `run_once`, `skip` or `run_each`.
    #[serde(default = "default_catch_up")]
    pub catch_up: String,
    /// Number of scheduled executions per config after which the schedule ends.
    pub repeat_count: Option<i32>,
    /// 0 to 9.
    pub priority: i16,
    /// Number of the latest revision.
    pub revision: i32,
    /// Definition of the revision.
    pub definition: Json,
    /// Version, which rises with every change.
    pub version: i64,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Time of the last change.
    pub updated_at: DateTime<Utc>,
}

/// The identity of a plan in its tenant, which never changes.
pub struct PlanIdentity {
    /// Key, unique in the tenant.
    pub key: String,
    /// Id of the integration.
    pub integration_id: Uuid,
    /// Key of the integration.
    pub integration_key: String,
}

impl Plan {
    /// Creates the row of a new plan at its first revision.
    pub fn new(
        id: Uuid,
        identity: PlanIdentity,
        header: PlanHeader,
        definition: Json,
        now: DateTime<Utc>,
    ) -> Self {
        let PlanIdentity { key, integration_id, integration_key } = identity;
        let mut plan = Self {
            id,
            integration_id,
            integration_key,
            key,
            name: String::new(),
            description: String::new(),
            enabled: false,
            configs: None,
            wait_seconds: 0,
            cron: None,
            timezone: None,
            spread_seconds: None,
            overlap: String::new(),
            catch_up: String::new(),
            repeat_count: None,
            priority: 0,
            revision: 1,
            definition,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        plan.set_header(header);
        plan
    }

    /// Returns the header as the columns hold it.
    ///
    /// # Errors
    /// Fails if a column holds a text that this build does not know.
    pub fn header(&self) -> Result<PlanHeader, StoreError> {
        let Self {
            id: _,
            integration_id: _,
            integration_key,
            key,
            name,
            description,
            enabled,
            configs: _,
            wait_seconds,
            cron,
            timezone,
            spread_seconds,
            overlap,
            catch_up,
            repeat_count,
            priority,
            revision: _,
            definition: _,
            version: _,
            created_at: _,
            updated_at: _,
        } = self;
        Ok(PlanHeader {
            key: key.clone(),
            integration: integration_key.clone(),
            configs: self.listed_configs()?.unwrap_or_default(),
            name: name.clone(),
            description: description.clone(),
            enabled: Some(*enabled),
            // The column is not null; beside a cron expression it means nothing.
            wait_seconds: cron.is_none().then_some(*wait_seconds),
            cron: cron.clone(),
            timezone: timezone.clone(),
            spread_seconds: *spread_seconds,
            overlap: Some(
                OverlapPolicy::from_name(overlap)
                    .ok_or_else(|| StoreError::corrupt("plans.overlap", overlap))?,
            ),
            catch_up: Some(
                CatchUpPolicy::from_name(catch_up)
                    .ok_or_else(|| StoreError::corrupt("plans.catch_up", catch_up))?,
            ),
            repeat_count: *repeat_count,
            priority: Some(i32::from(*priority)),
        })
    }

    /// Returns the keys of the configs that it lists; none when it runs for all of its integration.
    ///
    /// # Errors
    /// Fails if the column does not hold a list of texts.
    pub fn listed_configs(&self) -> Result<Option<Vec<String>>, StoreError> {
        let configs = self.configs.clone().map(serde_json::from_value).transpose();
        configs.map_err(|error| StoreError::corrupt("plans.configs", error))
    }

    /// Writes a checked header into the columns, with the defaults of what it leaves out. The key
    /// and the integration of a plan never change.
    pub fn set_header(&mut self, header: PlanHeader) {
        let PlanHeader {
            key: _,
            integration: _,
            configs,
            name,
            description,
            enabled,
            wait_seconds,
            cron,
            timezone,
            spread_seconds,
            overlap,
            catch_up,
            repeat_count,
            priority,
        } = header;
        self.configs = (!configs.is_empty()).then(|| Json::from(configs));
        self.name = name;
        self.description = description;
        self.enabled = enabled.unwrap_or_default();
        self.wait_seconds = wait_seconds.unwrap_or(PlanHeader::DEFAULT_WAIT_SECONDS);
        self.cron = cron;
        self.timezone = timezone;
        self.spread_seconds = spread_seconds;
        self.overlap = overlap.unwrap_or_default().name().to_owned();
        self.catch_up = catch_up.unwrap_or_default().name().to_owned();
        self.repeat_count = repeat_count;
        // A checked priority is a single digit.
        self.priority = i16::try_from(priority.unwrap_or(PlanHeader::DEFAULT_PRIORITY)).unwrap_or(i16::MAX);
    }
}

/// The value of `catch_up` in a stored response that an older build wrote without it.
pub(super) fn default_catch_up() -> String {
    CatchUpPolicy::default().name().to_owned()
}

/// One immutable state of a plan's definition.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Revision {
    /// Number, counted from 1.
    pub revision: i32,
    /// Definition of the revision.
    pub definition: Json,
    /// SHA-256 of the definition's canonical JSON.
    pub definition_hash: Vec<u8>,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
}

const COLUMNS: &str =
    "SELECT p.id, p.integration_id, i.key AS integration_key, p.key, p.name, p.description, p.enabled,
        p.configs, p.wait_seconds, p.cron, p.timezone, p.spread_seconds, p.overlap, p.catch_up, p.repeat_count, p.priority, p.revision, r.definition, p.version,
        p.created_at, p.updated_at
    FROM plans p
    JOIN integrations i ON i.tenant_id = p.tenant_id AND i.id = p.integration_id
    JOIN plan_revisions r ON r.tenant_id = p.tenant_id AND r.plan_id = p.id AND r.revision = p.revision
    WHERE p.tenant_id = $1";

/// Inserts a plan without its revision. Returns false if the key is taken.
pub async fn insert(tx: &TenantTx, row: &Plan) -> Result<bool, StoreError> {
    let inserted = tx
        .execute(
            "INSERT INTO plans (tenant_id, id, integration_id, key, name, description, enabled, configs, wait_seconds,
                 overlap, repeat_count, priority, revision, version, created_at, updated_at, cron, timezone, spread_seconds, catch_up)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
             ON CONFLICT DO NOTHING",
            values![
                tx.tenant_id(),
                row.id,
                row.integration_id,
                row.key.as_str(),
                row.name.as_str(),
                row.description.as_str(),
                row.enabled,
                row.configs.clone(),
                row.wait_seconds,
                row.overlap.as_str(),
                row.repeat_count,
                row.priority,
                row.revision,
                row.version,
                row.created_at,
                row.updated_at,
                row.cron.clone(),
                row.timezone.clone(),
                row.spread_seconds,
                row.catch_up.as_str(),
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Returns a plan by its key.
pub async fn by_key(tx: &TenantTx, key: &str) -> Result<Option<Plan>, StoreError> {
    tx.one(&format!("{COLUMNS} AND p.key = $2"), values![tx.tenant_id(), key]).await
}

#[derive(FromQueryResult)]
struct IdRow {
    id: Uuid,
}

/// Returns the ids of all plans of an integration.
pub async fn of_integration(tx: &TenantTx, integration_id: Uuid) -> Result<Vec<Uuid>, StoreError> {
    let rows: Vec<IdRow> = tx
        .all(
            "SELECT id FROM plans WHERE tenant_id = $1 AND integration_id = $2",
            values![tx.tenant_id(), integration_id],
        )
        .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Returns the ids of the plans of an integration that run for the config with this key.
pub async fn of_config(
    tx: &TenantTx,
    integration_id: Uuid,
    config_key: &str,
) -> Result<Vec<Uuid>, StoreError> {
    // `@>` on a JSON list of texts: the list contains this text.
    let rows: Vec<IdRow> = tx
        .all(
            "SELECT id FROM plans WHERE tenant_id = $1 AND integration_id = $2
               AND (configs IS NULL OR configs @> to_jsonb($3::text))",
            values![tx.tenant_id(), integration_id, config_key],
        )
        .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// The ids of a plan and of one of its integration's configs.
#[derive(Debug, Clone, Copy)]
pub struct PlanIds {
    /// Id of the plan.
    pub plan_id: Uuid,
    /// Id of the config, if there is one with the key.
    pub config_id: Option<Uuid>,
}

/// Returns the ids of a plan, and of a config of its integration, by their keys.
pub async fn ids_by_keys(
    tx: &TenantTx,
    plan: &str,
    config: Option<&str>,
) -> Result<Option<PlanIds>, StoreError> {
    #[derive(FromQueryResult)]
    struct PlanRow {
        id: Uuid,
        integration_id: Uuid,
    }
    // Two statements: Citus refuses an outer join under row security.
    let plan: Option<PlanRow> = tx
        .one(
            "SELECT id, integration_id FROM plans WHERE tenant_id = $1 AND key = $2",
            values![tx.tenant_id(), plan],
        )
        .await?;
    let Some(plan) = plan else { return Ok(None) };
    let config: Option<IdRow> = match config {
        Some(key) => {
            tx.one(
                "SELECT id FROM configs WHERE tenant_id = $1 AND integration_id = $2 AND key = $3",
                values![tx.tenant_id(), plan.integration_id, key],
            )
            .await?
        }
        None => None,
    };
    Ok(Some(PlanIds { plan_id: plan.id, config_id: config.map(|row| row.id) }))
}

/// Returns plans with lower ids than `before`, newest first, optionally of one integration.
pub async fn list(
    tx: &TenantTx,
    integration_id: Option<Uuid>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Plan>, StoreError> {
    let list = ListStatement::new(tx.tenant_id(), limit)
        .only_if("p.integration_id =", integration_id)
        .only_if("p.id <", before);
    tx.all(&format!("{COLUMNS}{} ORDER BY p.id DESC LIMIT $2", list.conditions), list.values).await
}

/// Returns keys of the tenant's plans, from which a misspelled one is suggested.
pub async fn keys(tx: &TenantTx) -> Result<Vec<String>, StoreError> {
    let names: Vec<NameRow> = tx
        .all(
            "SELECT key AS name FROM plans WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1000",
            values![tx.tenant_id()],
        )
        .await?;
    Ok(names.into_iter().map(|row| row.name).collect())
}

/// Writes the columns that can change.
pub async fn update(tx: &TenantTx, row: &Plan) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE plans SET name = $3, description = $4, enabled = $5, configs = $6, wait_seconds = $7, overlap = $8,
             repeat_count = $9, priority = $10, revision = $11, version = $12, updated_at = $13, cron = $14, timezone = $15,
             spread_seconds = $16, catch_up = $17
         WHERE tenant_id = $1 AND id = $2",
        values![
            tx.tenant_id(),
            row.id,
            row.name.as_str(),
            row.description.as_str(),
            row.enabled,
            row.configs.clone(),
            row.wait_seconds,
            row.overlap.as_str(),
            row.repeat_count,
            row.priority,
            row.revision,
            row.version,
            row.updated_at,
            row.cron.clone(),
            row.timezone.clone(),
            row.spread_seconds,
            row.catch_up.as_str(),
        ],
    )
    .await?;
    Ok(())
}

/// Holds the rows of a plan and a config, so that neither is deleted before this transaction ends.
/// Returns false if one of them is gone.
pub async fn hold_with_config(tx: &TenantTx, plan_id: Uuid, config_id: Uuid) -> Result<bool, StoreError> {
    let held: Option<NameRow> = tx
        .one(
            "SELECT p.key AS name FROM plans p JOIN configs c ON c.tenant_id = $1 AND c.id = $3
             WHERE p.tenant_id = $1 AND p.id = $2 FOR KEY SHARE OF p, c",
            values![tx.tenant_id(), plan_id, config_id],
        )
        .await?;
    Ok(held.is_some())
}

/// Locks a plan for its deletion: waits for transactions that hold it, and keeps others from
/// holding it.
pub async fn lock_for_delete(tx: &TenantTx, id: Uuid) -> Result<(), StoreError> {
    tx.execute(
        "SELECT id FROM plans WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
        values![tx.tenant_id(), id],
    )
    .await?;
    Ok(())
}

/// Deletes a plan, with its revisions, schedules, contexts and cursors.
pub async fn delete(tx: &TenantTx, id: Uuid) -> Result<(), StoreError> {
    tx.execute("DELETE FROM plans WHERE tenant_id = $1 AND id = $2", values![tx.tenant_id(), id]).await?;
    Ok(())
}

/// Returns the ids of up to ten executions of a plan that have not ended.
pub async fn open_executions(tx: &TenantTx, id: Uuid) -> Result<Vec<String>, StoreError> {
    let names: Vec<NameRow> = tx
        .all(
            "SELECT id::text AS name FROM plan_executions
             WHERE tenant_id = $1 AND plan_id = $2 AND state IN ('pending', 'queued', 'running', 'parked', 'blocked')
             ORDER BY id LIMIT 10",
            values![tx.tenant_id(), id],
        )
        .await?;
    Ok(names.into_iter().map(|row| row.name).collect())
}

/// Inserts a revision.
pub async fn insert_revision(tx: &TenantTx, plan_id: Uuid, row: &Revision) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO plan_revisions (tenant_id, plan_id, revision, definition, definition_hash, created_at,
             max_execution_seconds)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        values![
            tx.tenant_id(),
            plan_id,
            row.revision,
            row.definition.clone(),
            row.definition_hash.clone(),
            row.created_at,
            row.definition.get("max_execution_seconds").and_then(Json::as_i64),
        ],
    )
    .await?;
    Ok(())
}

/// Returns a revision of a plan.
pub async fn revision(tx: &TenantTx, plan_id: Uuid, revision: i32) -> Result<Option<Revision>, StoreError> {
    tx.one(
        "SELECT revision, definition, definition_hash, created_at FROM plan_revisions
         WHERE tenant_id = $1 AND plan_id = $2 AND revision = $3",
        values![tx.tenant_id(), plan_id, revision],
    )
    .await
}

/// Returns revisions before `before`, newest first.
pub async fn list_revisions(
    tx: &TenantTx,
    plan_id: Uuid,
    before: Option<i32>,
    limit: i64,
) -> Result<Vec<Revision>, StoreError> {
    tx.all(
        "SELECT revision, definition, definition_hash, created_at FROM plan_revisions
         WHERE tenant_id = $1 AND plan_id = $2 AND ($3::integer IS NULL OR revision < $3)
         ORDER BY revision DESC LIMIT $4",
        values![tx.tenant_id(), plan_id, before, limit],
    )
    .await
}
