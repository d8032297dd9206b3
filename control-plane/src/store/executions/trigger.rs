//! Triggers an execution in one statement, which is one round trip. This is for plain Postgres:
//! Citus cannot insert what it selects from such a statement.

use chrono::{DateTime, Utc};
use orchid_domain::execution::{Kind, Origin, State, TransitionCause};
use uuid::Uuid;

use super::read::Execution;
use crate::store::db::TenantTx;
use crate::store::error::StoreError;
use crate::values;

/// The start of an execution: its state, and the reason for the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartState {
    /// The state.
    pub state: State,
    /// The reason.
    pub cause: TransitionCause,
}

/// An execution to trigger, with what was decided for both cases that the statement may find.
#[derive(Clone, Debug)]
pub struct TriggeredExecution<'a> {
    /// Id of the execution, a UUID v7.
    pub id: Uuid,
    /// Id of its first history row.
    pub history_id: Uuid,
    /// Key of the plan.
    pub plan_key: &'a str,
    /// Key of the config; none if the plan has only one.
    pub config_key: Option<&'a str>,
    /// True if it saves context and cursors.
    pub persists: bool,
    /// True if it may continue the execution that ended at a limit.
    pub chains: bool,
    /// True if the context is saved although there is an override.
    pub persist_context: bool,
    /// JSON object that overrides fields of the context.
    pub context_override: Option<Vec<u8>>,
    /// W3C trace context of the trigger.
    pub traceparent: Option<String>,
    /// Time of the trigger.
    pub now: DateTime<Utc>,
    /// The start if no other execution of the plan and config is active. It enters the queue.
    pub alone: StartState,
    /// The start behind an active execution.
    pub behind: StartState,
}

/// The schedule's row is the lock under which the one active execution of a plan and config is
/// chosen, so the statement decides by the row as it is once it is locked. `continued` and
/// `dropped` are `orchid_domain::execution::beginning` in SQL. An execution that saves nothing
/// needs no schedule; it holds plan and config themselves, so that neither is deleted meanwhile.
///
/// An execution that saves its state is created under the lock of its schedule. One that saves
/// nothing needs none, so it holds plan and config themselves until it is committed.
fn statement(config_condition: &str, persists: bool) -> String {
    let hold = if persists { "" } else { "FOR KEY SHARE OF p, c" };
    format!(
        "WITH target AS ( \
           SELECT p.id AS plan_id, p.key AS plan_key, p.revision, p.priority, i.key AS integration_key, \
             c.id AS config_id, c.key AS config_key, c.enabled, t.pool \
           FROM plans p \
           JOIN integrations i ON i.tenant_id = p.tenant_id AND i.id = p.integration_id \
           JOIN configs c ON c.tenant_id = p.tenant_id AND c.integration_id = p.integration_id \
           JOIN tenants t ON t.id = p.tenant_id \
           WHERE p.tenant_id = $1 AND i.tenant_id = $1 AND c.tenant_id = $1 AND t.id = $1 AND p.key = $2 AND {config_condition} \
             AND (p.configs IS NULL OR p.configs @> to_jsonb(c.key)) LIMIT 2 {hold}), \
         single AS (SELECT * FROM target WHERE enabled AND (SELECT count(*) FROM target) = 1), \
         schedule AS ( \
           SELECT s.plan_id, s.active_execution_id, s.limited_execution_id, s.limited_revision \
           FROM schedules s JOIN single o ON o.plan_id = s.plan_id AND o.config_id = s.config_id \
           WHERE s.tenant_id = $1 AND $5::boolean FOR UPDATE OF s), \
         definition AS ( \
           SELECT p.id FROM single o \
           JOIN plans p ON p.tenant_id = $1 AND p.id = o.plan_id JOIN configs c ON c.tenant_id = $1 AND c.id = o.config_id \
           WHERE NOT $5::boolean FOR KEY SHARE OF p, c), \
         decided AS ( \
           SELECT o.*, s.active_execution_id IS NOT NULL AS behind, \
             CASE WHEN s.active_execution_id IS NULL AND $6::boolean AND s.limited_revision = o.revision THEN s.limited_execution_id END AS continued, \
             CASE WHEN s.active_execution_id IS NULL AND $6::boolean AND s.limited_revision <> o.revision THEN s.limited_execution_id END AS dropped \
           FROM single o LEFT JOIN schedule s ON s.plan_id = o.plan_id WHERE s.plan_id IS NOT NULL OR EXISTS (SELECT FROM definition)), \
         created AS ( \
           INSERT INTO plan_executions (tenant_id, id, plan_id, plan_key, plan_revision, integration_key, config_id, config_key, kind, \
             origin, persists, context_override, persist_context, state, priority, scheduled_at, created_at, traceparent, updated_at, \
             continues_execution_id, dropped_execution_id) \
           SELECT $1, $4::uuid, plan_id, plan_key, revision, integration_key, config_id, config_key, $17::text, \
             $18::text, $5::boolean, $8::bytea, $7::boolean, CASE WHEN behind THEN $15::text ELSE $13::text END, priority, $10, $10, $9::text, $10, \
             continued, dropped FROM decided \
           RETURNING tenant_id, id, plan_id, plan_key, plan_revision, integration_key, config_id, config_key, kind, \
             origin, state, waiting_for, not_before, partial, complete, attempt, losses, priority, scheduled_at, created_at, \
             started_at, ended_at, cancel_requested_at, cancel_reason, needs_upstream_cancel, continues_execution_id, progress, \
             error, version), \
         queued AS ( \
           INSERT INTO ready (tenant_id, execution_id, pool, priority, seq, traceparent) \
           SELECT $1, $4::uuid, pool, priority, $11::bigint, $9::text FROM decided WHERE NOT behind), \
         recorded AS ( \
           INSERT INTO execution_history (tenant_id, execution_id, id, at, state, attempt, cause) \
           SELECT $1, $4::uuid, $12::uuid, $10, CASE WHEN behind THEN $15::text ELSE $13::text END, 0, \
             CASE WHEN behind THEN $16::text ELSE $14::text END FROM decided), \
         held AS ( \
           UPDATE schedules s SET active_execution_id = $4::uuid, updated_at = $10 FROM decided d \
           WHERE s.tenant_id = $1 AND s.plan_id = d.plan_id AND s.config_id = d.config_id AND $5::boolean AND NOT d.behind) \
         SELECT tenant_id, id, plan_id, plan_key, plan_revision, integration_key, config_id, config_key, kind, \
           origin, state, waiting_for, not_before, partial, complete, attempt, losses, priority, scheduled_at, created_at, \
           started_at, ended_at, cancel_requested_at, cancel_reason, needs_upstream_cancel, continues_execution_id, progress, \
           error, version FROM created"
    )
}

/// Triggers an execution. Returns none, and changes nothing, unless the plan exists, has exactly
/// one such config, and that config is enabled. On a Citus cluster it always returns none: the
/// caller triggers step by step.
///
/// # Errors
/// The statement fails.
pub async fn trigger(
    tx: &TenantTx,
    triggered: &TriggeredExecution<'_>,
) -> Result<Option<Execution>, StoreError> {
    if tx.is_distributed() {
        return Ok(None);
    }
    // Two texts, so that a named config is found by its index.
    let sql = match triggered.config_key {
        Some(_) => statement("c.key = $3::text", triggered.persists),
        None => statement("$3::text IS NULL", triggered.persists),
    };
    let TriggeredExecution { alone, behind, .. } = triggered;
    let values = values![
        tx.tenant_id(),
        triggered.plan_key,
        triggered.config_key,
        triggered.id,
        triggered.persists,
        triggered.chains,
        triggered.persist_context,
        triggered.context_override.clone(),
        triggered.traceparent.clone(),
        triggered.now,
        triggered.now.timestamp_millis(),
        triggered.history_id,
        alone.state.as_str(),
        alone.cause.as_str(),
        behind.state.as_str(),
        behind.cause.as_str(),
        Kind::Run.as_str(),
        Origin::Trigger.as_str(),
    ];
    tx.one(&sql, values).await
}
