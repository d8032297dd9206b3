//! Revisions of a plan: updates and rollbacks add one if the definition differs.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use crate::store::{
    db::TenantTx,
    error::StoreError,
    plans::{self, Plan, Revision},
};

/// Sets the definition of a stored plan. If its hash differs, this adds a revision.
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

/// Returns the SHA-256 of the definition's canonical JSON.
pub(super) fn hash(definition: &Json) -> Vec<u8> {
    orchid_plan::definition_hash(definition).0.to_vec()
}
