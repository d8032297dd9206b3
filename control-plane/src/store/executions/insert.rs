//! Inserts executions.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{Beginning, Kind, Origin, State, chains};
use uuid::Uuid;

use super::locked::LockedExecution;
use crate::store::batch::placeholders;
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::keys::{ExecutionKey, ExecutionKeyRow};
use crate::values;

/// An execution to insert.
#[derive(Clone, Debug)]
pub struct NewExecution {
    /// The tenant and the id that the execution gets.
    pub key: ExecutionKey,
    /// Id of the plan.
    pub plan_id: Uuid,
    /// Key of the plan.
    pub plan_key: String,
    /// Revision of the plan to run.
    pub plan_revision: i32,
    /// Key of the integration.
    pub integration_key: String,
    /// Id of the config.
    pub config_id: Uuid,
    /// Key of the config.
    pub config_key: String,
    /// Purpose of the execution.
    pub kind: Kind,
    /// Source of the execution: its schedule, a trigger, a retry or a replay.
    pub origin: Origin,
    /// True if the execution saves context and cursors, and so waits behind others that do.
    pub persists: bool,
    /// JSON object that overrides fields of the context.
    pub context_override: Option<Vec<u8>>,
    /// True if context writes are saved despite an override.
    pub persist_context: bool,
    /// Priority inside the tenant, 0 to 9; higher starts first.
    pub priority: i16,
    /// Time at which the execution was due or requested.
    pub scheduled_at: DateTime<Utc>,
    /// W3C trace context of the trigger or the schedule.
    pub traceparent: Option<String>,
    /// Pool of the tenant.
    pub pool: String,
}

impl NewExecution {
    /// Returns whether the execution may continue another one and be continued.
    pub fn chains(&self) -> bool {
        chains(self.persists, self.context_override.is_some())
    }

    /// Returns the execution as its inserted row holds it. The transaction that inserted a row
    /// holds its lock.
    pub fn into_locked(self, state: State) -> LockedExecution {
        let Self {
            key,
            plan_id,
            plan_key,
            plan_revision,
            integration_key,
            config_id,
            config_key,
            kind,
            origin,
            persists,
            context_override,
            persist_context: _,
            priority,
            scheduled_at,
            traceparent,
            pool,
        } = self;
        LockedExecution {
            key,
            plan_id,
            plan_key,
            plan_revision,
            integration_key,
            config_id,
            config_key,
            kind,
            origin,
            persists,
            context_override,
            state,
            attempt: 0,
            fence: 0,
            lease_id: None,
            losses: 0,
            priority,
            scheduled_at,
            started_at: None,
            cancel_requested_at: None,
            needs_upstream_cancel: false,
            ran_ms: 0,
            attempt_ran_ms: 0,
            checkpoint_seq: 0,
            continues_execution_id: None,
            dropped_execution_id: None,
            traceparent,
            progress: None,
            pool,
        }
    }
}

/// An execution to insert, with what was decided about it.
#[derive(Clone, Debug)]
pub struct InsertedExecution {
    /// The execution.
    pub new: NewExecution,
    /// The state in which it begins.
    pub state: State,
    /// The place where it begins; an execution behind another one learns it later.
    pub beginning: Beginning,
}

/// Inserts executions in the given states and returns the keys of those that were inserted. An
/// execution whose id exists already is left as it is.
///
/// # Errors
/// The statement fails.
pub async fn insert(
    tx: &Tx,
    now: DateTime<Utc>,
    executions: &[InsertedExecution],
) -> Result<Vec<ExecutionKey>, StoreError> {
    if executions.is_empty() {
        return Ok(Vec::new());
    }
    // A scheduled execution derives its id from the occurrence. The conflict clause makes a second
    // insert of the same occurrence a no-op, also when a fail-over lost the schedule's update.
    let sql = format!(
        "INSERT INTO plan_executions (tenant_id, id, plan_id, plan_key, plan_revision, integration_key, config_id, config_key, kind, \
         origin, persists, context_override, persist_context, state, priority, scheduled_at, created_at, traceparent, updated_at, \
         continues_execution_id, dropped_execution_id) VALUES {} ON CONFLICT (tenant_id, id) DO NOTHING RETURNING tenant_id, id",
        placeholders(executions.len(), 21)
    );
    let mut values = Vec::with_capacity(executions.len() * 21);
    for InsertedExecution { new: execution, state, beginning } in executions {
        values.extend(values![
            execution.key.tenant_id,
            execution.key.execution_id,
            execution.plan_id,
            execution.plan_key.clone(),
            execution.plan_revision,
            execution.integration_key.clone(),
            execution.config_id,
            execution.config_key.clone(),
            execution.kind.as_str(),
            execution.origin.as_str(),
            execution.persists,
            execution.context_override.clone(),
            execution.persist_context,
            state.as_str(),
            execution.priority,
            execution.scheduled_at,
            now,
            execution.traceparent.clone(),
            now,
            beginning.continued().map(Uuid::from),
            beginning.dropped().map(Uuid::from),
        ]);
    }
    let rows: Vec<ExecutionKeyRow> = tx.all(&sql, values).await?;
    Ok(rows.into_iter().map(ExecutionKey::from).collect())
}
