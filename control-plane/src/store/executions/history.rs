//! Writes the history of executions: one row for each transition.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{State, TransitionCause};
use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::store::batch::placeholders;
use crate::store::db::{Databases, Tx};
use crate::store::error::StoreError;
use crate::store::keys::ExecutionKey;
use crate::values;

/// A history row to insert.
#[derive(Clone, Debug)]
pub struct HistoryEntry {
    /// The execution that moved.
    pub key: ExecutionKey,
    /// The state that it entered.
    pub state: State,
    /// The attempt that the transition belongs to; 0 before the first grant.
    pub attempt: i32,
    /// The reason for the transition.
    pub cause: TransitionCause,
    /// Details for people; may be empty.
    pub detail: String,
}

/// Inserts history rows.
///
/// # Errors
/// The statement fails.
pub async fn record(tx: &Tx, now: DateTime<Utc>, entries: &[HistoryEntry]) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO execution_history (tenant_id, execution_id, id, at, state, attempt, cause, detail) VALUES {}",
        placeholders(entries.len(), 8)
    );
    let mut values = Vec::with_capacity(entries.len() * 8);
    for entry in entries {
        values.extend(values![
            entry.key.tenant_id,
            entry.key.execution_id,
            Uuid::now_v7(),
            now,
            entry.state.as_str(),
            entry.attempt,
            entry.cause.as_str(),
            entry.detail.clone(),
        ]);
    }
    tx.execute(&sql, values).await?;
    Ok(())
}

#[derive(FromQueryResult)]
struct EntryCount {
    entries: i64,
}

/// Counts the transitions of an execution with a cause since a time. Reads without locks.
///
/// # Errors
/// The statement fails.
pub async fn count(
    databases: &Databases,
    key: ExecutionKey,
    cause: TransitionCause,
    since: DateTime<Utc>,
) -> Result<u32, StoreError> {
    let rows: Vec<EntryCount> = databases
        .find(
            "SELECT count(*) AS entries FROM execution_history
             WHERE tenant_id = $1 AND execution_id = $2 AND cause = $3 AND at >= $4 AND id >= uuid_floor($4)",
            values![key.tenant_id, key.execution_id, cause.as_str(), since],
        )
        .await?;
    Ok(rows.first().map_or(0, |row| u32::try_from(row.entries).unwrap_or(u32::MAX)))
}
