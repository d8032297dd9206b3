//! Writes the history of executions: one row for each transition.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{State, TransitionCause};
use uuid::Uuid;

use crate::store::batch::placeholders;
use crate::store::db::Tx;
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
