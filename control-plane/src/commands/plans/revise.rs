//! What creating, updating and rolling back a plan share: its row from a checked document, and a revision where the definition is
//! another one.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::document::{Checked, StoredTiming};
use crate::store::{
    db::TenantTx,
    error::StoreError,
    plans::{self, Plan, Revision},
};

/// Writes what a checked document says into a row.
pub(super) fn apply(row: &mut Plan, checked: Checked, now: DateTime<Utc>) {
    let Checked {
        configs,
        name,
        description,
        enabled,
        timing: StoredTiming { wait_seconds, cron, timezone, spread_seconds },
        overlap,
        catch_up,
        repeat_count,
        priority,
        // Told by ValidatePlan alone.
        warnings: _,
    } = checked;
    row.configs = configs;
    row.name = name;
    row.description = description;
    row.enabled = enabled;
    row.wait_seconds = wait_seconds;
    row.cron = cron;
    row.timezone = timezone;
    row.spread_seconds = spread_seconds;
    row.overlap = overlap.to_owned();
    row.catch_up = catch_up.to_owned();
    row.repeat_count = repeat_count;
    row.priority = priority;
    row.updated_at = now;
}

/// Gives a stored plan a definition: another one, by its hash, makes a new revision.
pub(super) async fn set_definition(
    tx: &TenantTx,
    row: &mut Plan,
    definition: Json,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let definition_hash = hash(&definition);
    if hash(&row.definition) == definition_hash {
        return Ok(());
    }
    row.revision += 1;
    let revision =
        Revision { revision: row.revision, definition: definition.clone(), definition_hash, created_at: now };
    plans::insert_revision(tx, row.id, &revision).await?;
    row.definition = definition;
    Ok(())
}

/// SHA-256 of the canonical JSON.
pub(super) fn hash(definition: &Json) -> Vec<u8> {
    orchid_plan::definition_hash(definition).0.to_vec()
}
