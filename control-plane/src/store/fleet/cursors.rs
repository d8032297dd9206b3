//! Cursors and validators: what steps keep from run to run, outside the context.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use orchid_domain::cursor::{Amount, CursorKind};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::rows::{placeholders, tenants_of};
use super::schedules::ScheduleKey;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::values;

/// Rows of one INSERT: its parameters are counted by 16 bits.
const MAX_ROWS: usize = 1000;

/// Names a cursor among those of a plan and config.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CursorKey {
    /// What it is for.
    pub kind: CursorKind,
    /// Id of the step.
    pub step: String,
    /// The item or url that it is of.
    pub item: String,
}

/// Cursors of one plan and config: JSON text each.
pub type CursorValues = BTreeMap<CursorKey, Vec<u8>>;

#[derive(FromQueryResult)]
struct Row {
    tenant_id: Uuid,
    plan_id: Uuid,
    config_id: Uuid,
    kind: String,
    step: String,
    item: Vec<u8>,
    value: Vec<u8>,
}

/// All cursors of these plans and configs; none where there are none.
pub async fn of(tx: &Tx, keys: &[ScheduleKey]) -> Result<HashMap<ScheduleKey, CursorValues>, StoreError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let (tenants, plans, configs) = split(keys);
    let rows: Vec<Row> = tx
        .all(
            "SELECT c.tenant_id, c.plan_id, c.config_id, c.kind, c.step, c.item, c.value \
             FROM unnest($2::uuid[], $3::uuid[], $4::uuid[]) AS v (tenant_id, plan_id, config_id) \
             JOIN cursors c ON c.tenant_id = v.tenant_id AND c.plan_id = v.plan_id AND c.config_id = v.config_id \
             WHERE c.tenant_id = ANY($1)",
            values![tenants_of(tenants.clone()), tenants, plans, configs],
        )
        .await?;
    let mut found: HashMap<ScheduleKey, CursorValues> = HashMap::new();
    for row in rows {
        let corrupt = |error: &dyn std::fmt::Display| StoreError::corrupt("cursors", error);
        let kind = row.kind.parse().map_err(|error| corrupt(&error))?;
        let item = String::from_utf8(row.item).map_err(|error| corrupt(&error))?;
        let of = ScheduleKey { tenant_id: row.tenant_id, plan_id: row.plan_id, config_id: row.config_id };
        found.entry(of).or_default().insert(CursorKey { kind, step: row.step, item }, row.value);
    }
    Ok(found)
}

/// A cursor to save.
#[derive(Clone, Debug)]
pub struct CursorWrite {
    /// Of which plan and config.
    pub of: ScheduleKey,
    /// Which.
    pub key: CursorKey,
    /// JSON text.
    pub value: Vec<u8>,
    /// The run that writes it.
    pub execution_id: Uuid,
}

/// What the plans and configs of these writes keep beside the cursors that are written: none where that is nothing.
pub async fn kept_beside(
    tx: &Tx,
    writes: &[CursorWrite],
) -> Result<HashMap<ScheduleKey, Amount>, StoreError> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: Uuid,
        plan_id: Uuid,
        config_id: Uuid,
        count: i64,
        bytes: i64,
    }
    if writes.is_empty() {
        return Ok(HashMap::new());
    }
    let of: HashSet<ScheduleKey> = writes.iter().map(|write| write.of).collect();
    let (tenants, plans, configs) = split(&of.into_iter().collect::<Vec<_>>());
    let written: Vec<ScheduleKey> = writes.iter().map(|write| write.of).collect();
    let (of_tenants, of_plans, of_configs) = split(&written);
    let rows: Vec<Row> = tx
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
                tenants_of(tenants.clone()),
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
            let of = ScheduleKey { tenant_id: row.tenant_id, plan_id: row.plan_id, config_id: row.config_id };
            (of, Amount { count: number(row.count), bytes: number(row.bytes) })
        })
        .collect())
}

/// Saves cursors, in the order of their keys; of the same cursor, the last one wins.
pub async fn write(tx: &Tx, now: DateTime<Utc>, writes: &[CursorWrite]) -> Result<(), StoreError> {
    let last: BTreeMap<(ScheduleKey, &CursorKey), &CursorWrite> =
        writes.iter().map(|write| ((write.of, &write.key), write)).collect();
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
                write.of.tenant_id,
                write.of.plan_id,
                write.of.config_id,
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

fn split(keys: &[ScheduleKey]) -> (Vec<Uuid>, Vec<Uuid>, Vec<Uuid>) {
    keys.iter().map(|key| (key.tenant_id, key.plan_id, key.config_id)).collect()
}
