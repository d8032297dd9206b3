//! Cursors and validators: the values that steps keep from execution to execution, outside the
//! context.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use orchid_domain::cursor::{CursorKind, CursorUsage};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::store::batch::{distinct_tenants, placeholders};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::keys::ScheduleKey;
use crate::values;

/// Maximum rows of one INSERT. Postgres counts the parameters of a statement in 16 bits.
const MAX_ROWS: usize = 1000;

/// Identifies a cursor among those of a plan and config.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CursorKey {
    /// Purpose of the cursor.
    pub kind: CursorKind,
    /// Id of the step.
    pub step: String,
    /// The item of a cursor, or the hash of the URL of a validator.
    pub item: String,
}

/// Cursors of one plan and config, as JSON text.
pub type CursorValues = BTreeMap<CursorKey, Vec<u8>>;

#[derive(FromQueryResult)]
struct CursorRow {
    tenant_id: Uuid,
    plan_id: Uuid,
    config_id: Uuid,
    kind: String,
    step: String,
    item: Vec<u8>,
    value: Vec<u8>,
}

/// Returns all cursors of these plans and configs. Those without cursors are left out.
///
/// # Errors
/// The statement fails, or a row does not parse.
pub async fn read(tx: &Tx, keys: &[ScheduleKey]) -> Result<HashMap<ScheduleKey, CursorValues>, StoreError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let (tenants, plans, configs) = ScheduleKey::unzip(keys);
    let rows: Vec<CursorRow> = tx
        .all(
            "SELECT c.tenant_id, c.plan_id, c.config_id, c.kind, c.step, c.item, c.value \
             FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS v (tenant_id, plan_id, config_id) \
             JOIN cursors c ON c.tenant_id = v.tenant_id AND c.plan_id = v.plan_id AND c.config_id = v.config_id \
             WHERE c.tenant_id = ANY($1)",
            values![distinct_tenants(tenants.clone()), tenants, plans, configs],
        )
        .await?;
    let mut found: HashMap<ScheduleKey, CursorValues> = HashMap::new();
    for row in rows {
        // An item is bytes in the database, since text refuses NUL, but it came from a String.
        let corrupt = |error: &dyn std::fmt::Display| StoreError::corrupt("cursors", error);
        let kind = row.kind.parse().map_err(|error| corrupt(&error))?;
        let item = String::from_utf8(row.item).map_err(|error| corrupt(&error))?;
        let schedule =
            ScheduleKey { tenant_id: row.tenant_id, plan_id: row.plan_id, config_id: row.config_id };
        found.entry(schedule).or_default().insert(CursorKey { kind, step: row.step, item }, row.value);
    }
    Ok(found)
}

/// A cursor to save.
#[derive(Clone, Debug)]
pub struct CursorWrite {
    /// Plan and config of the cursor.
    pub schedule: ScheduleKey,
    /// Key of the cursor.
    pub key: CursorKey,
    /// JSON text.
    pub value: Vec<u8>,
    /// The execution that writes it.
    pub execution_id: Uuid,
}

/// Returns the usage of the plans and configs of these writes, without the cursors that are
/// written. Those without other cursors are left out.
///
/// # Errors
/// The statement fails.
pub async fn usage_without(
    tx: &Tx,
    writes: &[CursorWrite],
) -> Result<HashMap<ScheduleKey, CursorUsage>, StoreError> {
    #[derive(FromQueryResult)]
    struct UsageRow {
        tenant_id: Uuid,
        plan_id: Uuid,
        config_id: Uuid,
        count: i64,
        bytes: i64,
    }
    if writes.is_empty() {
        return Ok(HashMap::new());
    }
    let schedules: HashSet<ScheduleKey> = writes.iter().map(|write| write.schedule).collect();
    let (tenants, plans, configs) = ScheduleKey::unzip(&schedules.into_iter().collect::<Vec<_>>());
    let written: Vec<ScheduleKey> = writes.iter().map(|write| write.schedule).collect();
    // One entry for each write here, and one for each schedule above.
    let (of_tenants, of_plans, of_configs) = ScheduleKey::unzip(&written);
    // The cursors to write are left out by an anti-join instead of being subtracted: only the
    // database knows which of them exist, and how large their old values are.
    let rows: Vec<UsageRow> = tx
        .all(
            "SELECT c.tenant_id, c.plan_id, c.config_id, count(*) AS count, \
               sum(octet_length(c.step) + octet_length(c.item) + octet_length(c.value))::bigint AS bytes \
             FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS s (tenant_id, plan_id, config_id) \
             JOIN cursors c ON c.tenant_id = s.tenant_id AND c.plan_id = s.plan_id AND c.config_id = s.config_id \
             WHERE c.tenant_id = ANY($1) AND NOT EXISTS ( \
               SELECT FROM unnest($5::uuid[], $6::uuid[], $7::uuid[], $8::text[], $9::text[], $10::bytea[]) \
                 AS v (tenant_id, plan_id, config_id, kind, step, item) \
               WHERE v.tenant_id = c.tenant_id AND v.plan_id = c.plan_id AND v.config_id = c.config_id AND v.kind = c.kind \
                 AND v.step = c.step AND v.item = c.item) \
             GROUP BY c.tenant_id, c.plan_id, c.config_id",
            values![
                distinct_tenants(tenants.clone()),
                tenants,
                plans,
                configs,
                of_tenants,
                of_plans,
                of_configs,
                writes.iter().map(|write| write.key.kind.as_str().to_owned()).collect::<Vec<String>>(),
                writes.iter().map(|write| write.key.step.clone()).collect::<Vec<String>>(),
                writes.iter().map(|write| write.key.item.clone().into_bytes()).collect::<Vec<Vec<u8>>>(),
            ],
        )
        .await?;
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    Ok(rows
        .into_iter()
        .map(|row| {
            let schedule =
                ScheduleKey { tenant_id: row.tenant_id, plan_id: row.plan_id, config_id: row.config_id };
            (schedule, CursorUsage { count: number(row.count), bytes: number(row.bytes) })
        })
        .collect())
}

/// Writes cursors. Of several writes to one cursor, the last one wins.
///
/// # Errors
/// A statement fails.
pub async fn write(tx: &Tx, now: DateTime<Utc>, writes: &[CursorWrite]) -> Result<(), StoreError> {
    // One INSERT cannot touch a row twice. The map also sorts the rows by key, which is the order
    // of locking.
    let last: BTreeMap<(ScheduleKey, &CursorKey), &CursorWrite> =
        writes.iter().map(|write| ((write.schedule, &write.key), write)).collect();
    let last: Vec<&CursorWrite> = last.into_values().collect();
    for chunk in last.chunks(MAX_ROWS) {
        let sql = format!(
            "INSERT INTO cursors (tenant_id, plan_id, config_id, kind, step, item, value, execution_id, updated_at) VALUES {} \
             ON CONFLICT (tenant_id, plan_id, config_id, kind, step, item) DO UPDATE SET value = excluded.value, \
             execution_id = excluded.execution_id, updated_at = excluded.updated_at",
            placeholders(chunk.len(), 9)
        );
        let mut values = Vec::with_capacity(chunk.len() * 9);
        for write in chunk {
            values.extend(values![
                write.schedule.tenant_id,
                write.schedule.plan_id,
                write.schedule.config_id,
                write.key.kind.as_str(),
                write.key.step.clone(),
                write.key.item.clone().into_bytes(),
                write.value.clone(),
                write.execution_id,
                now,
            ]);
        }
        tx.execute(&sql, values).await?;
    }
    Ok(())
}
