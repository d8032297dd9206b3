//! Executions and their history, as they are inserted.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{Kind, Origin, State};
use uuid::Uuid;

use super::rows::{ExecutionKey, KeyRow, placeholders};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::values;

/// An execution to insert.
#[derive(Clone, Debug)]
pub struct NewExecution {
    /// Which.
    pub key: ExecutionKey,
    /// The plan.
    pub plan_id: Uuid,
    /// The plan's key.
    pub plan_key: String,
    /// The revision to run.
    pub plan_revision: i32,
    /// The integration's key.
    pub integration_key: String,
    /// The config.
    pub config_id: Uuid,
    /// The config's key.
    pub config_key: String,
    /// What it is for.
    pub kind: Kind,
    /// What made it.
    pub origin: Origin,
    /// Whether it saves context and cursors, and so waits behind others that do.
    pub persists: bool,
    /// JSON object over the context.
    pub context_override: Option<Vec<u8>>,
    /// Whether the run's writes are saved although there is an override.
    pub persist_context: bool,
    /// 0 to 9.
    pub priority: i16,
    /// When it was due, or asked for.
    pub scheduled_at: DateTime<Utc>,
    /// W3C trace context of what made it.
    pub traceparent: Option<String>,
    /// The tenant's pool.
    pub pool: String,
}

/// Inserts executions in the given states, those of which the id is not there yet; answers which.
pub async fn insert(
    tx: &Tx,
    now: DateTime<Utc>,
    runs: &[(NewExecution, State)],
) -> Result<Vec<ExecutionKey>, StoreError> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "INSERT INTO plan_executions (tenant_id, id, plan_id, plan_key, plan_revision, integration_key, config_id, config_key, kind, \
         origin, persists, context_override, persist_context, state, priority, scheduled_at, created_at, traceparent, updated_at) \
         VALUES {} ON CONFLICT (tenant_id, id) DO NOTHING RETURNING tenant_id, id",
        placeholders(runs.len(), 19)
    );
    let mut values = Vec::with_capacity(runs.len() * 19);
    for (run, state) in runs {
        values.extend(values![
            run.key.tenant_id,
            run.key.execution_id,
            run.plan_id,
            run.plan_key.clone(),
            run.plan_revision,
            run.integration_key.clone(),
            run.config_id,
            run.config_key.clone(),
            run.kind.as_str(),
            run.origin.as_str(),
            run.persists,
            run.context_override.clone(),
            run.persist_context,
            state.as_str(),
            run.priority,
            run.scheduled_at,
            now,
            run.traceparent.clone(),
            now,
        ]);
    }
    let rows: Vec<KeyRow> = tx.all(&sql, values).await?;
    Ok(rows.into_iter().map(ExecutionKey::from).collect())
}

/// A row of history.
#[derive(Clone, Debug)]
pub struct HistoryEntry {
    /// Of which execution.
    pub key: ExecutionKey,
    /// The state that it entered.
    pub state: State,
    /// The attempt that it concerns; 0 where none.
    pub attempt: i32,
    /// Why.
    pub cause: &'static str,
    /// In words.
    pub detail: String,
}

/// Writes down what happened.
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
            entry.cause,
            entry.detail.clone(),
        ]);
    }
    tx.execute(&sql, values).await?;
    Ok(())
}
