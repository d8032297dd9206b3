//! Converts API messages to JSON for programs. Field names are those of the protos; every
//! conversion destructures its message exhaustively, so that a new field breaks the build here.

use orchid_sdk::admin::v1::Tenant;
use orchid_sdk::v1::{Execution, ExecutionAttempt, ExecutionCounts, ExecutionError, ExecutionEvent, Warning};
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::text;

/// Converts an execution.
pub(crate) fn execution(execution: &Execution) -> Value {
    let Execution {
        id,
        plan,
        plan_revision,
        integration,
        config,
        config_id,
        kind: _,
        origin: _,
        state: _,
        partial,
        complete,
        attempt,
        lost_attempts,
        priority,
        schedule_time,
        create_time,
        start_time,
        end_time,
        not_before,
        waiting_for,
        cancel_request_time,
        counts,
        positions,
        error,
        warnings,
        continues_execution_id,
    } = execution;
    let positions: Value =
        positions.iter().map(|(step, count)| (step.clone(), Value::from(*count))).collect();
    json!({
        "id": id, "plan": plan, "plan_revision": plan_revision, "integration": integration, "config": config,
        "config_id": config_id, "kind": short_name(execution.kind().as_str_name(), "EXECUTION_KIND_"),
        "origin": short_name(execution.origin().as_str_name(), "EXECUTION_ORIGIN_"),
        "state": short_name(execution.state().as_str_name(), "EXECUTION_STATE_"),
        "partial": partial, "complete": complete, "attempt": attempt, "lost_attempts": lost_attempts, "priority": priority,
        "schedule_time": time(schedule_time.as_ref()), "create_time": time(create_time.as_ref()),
        "start_time": time(start_time.as_ref()), "end_time": time(end_time.as_ref()),
        "not_before": time(not_before.as_ref()), "waiting_for": waiting_for,
        "cancel_request_time": time(cancel_request_time.as_ref()), "counts": counts.as_ref().map(self::counts),
        "positions": positions, "error": error.as_ref().map(execution_error),
        "warnings": warnings.iter().map(warning).collect::<Vec<_>>(),
        "continues_execution_id": continues_execution_id,
    })
}

fn counts(counts: &ExecutionCounts) -> Value {
    let ExecutionCounts { requests, retries, pages, rows, messages, bytes, errors } = counts;
    json!({
        "requests": requests, "retries": retries, "pages": pages, "rows": rows, "messages": messages, "bytes": bytes,
        "errors": errors,
    })
}

fn execution_error(error: &ExecutionError) -> Value {
    let ExecutionError { class, code, message, pointer, status_code, step_path, response_excerpt } = error;
    json!({
        "class": class, "code": code, "message": message, "pointer": pointer, "status_code": status_code,
        "step_path": step_path, "response_excerpt": response_excerpt,
    })
}

fn warning(warning: &Warning) -> Value {
    let Warning { code, pointer, message } = warning;
    json!({ "code": code, "pointer": pointer, "message": message })
}

/// Converts an entry of an execution's history.
pub(crate) fn event(event: &ExecutionEvent) -> Value {
    let ExecutionEvent { time: at, state: _, attempt, cause, detail } = event;
    json!({
        "time": time(at.as_ref()), "state": short_name(event.state().as_str_name(), "EXECUTION_STATE_"), "attempt": attempt,
        "cause": cause, "detail": detail,
    })
}

/// Converts an attempt.
pub(crate) fn attempt(attempt: &ExecutionAttempt) -> Value {
    let ExecutionAttempt {
        attempt: number,
        fence,
        executor,
        grant_time,
        end_time,
        end_reason,
        checkpoint_seq,
        last_request,
    } = attempt;
    json!({
        "attempt": number, "fence": fence, "executor": executor, "grant_time": time(grant_time.as_ref()),
        "end_time": time(end_time.as_ref()), "end_reason": end_reason, "checkpoint_seq": checkpoint_seq,
        "last_request": last_request,
    })
}

/// Converts a tenant.
pub(crate) fn tenant(tenant: &Tenant) -> Value {
    let Tenant { id, display_name, pool, weight, create_time } = tenant;
    json!({
        "id": id, "display_name": display_name, "pool": pool, "weight": weight, "create_time": time(create_time.as_ref()),
    })
}

/// Returns an enum value's name without its prefix, in lower case: `queued` for
/// `EXECUTION_STATE_QUEUED`.
pub(crate) fn short_name(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

fn time(timestamp: Option<&Timestamp>) -> Option<String> {
    let time = text::instant(timestamp?)?;
    Some(time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use orchid_sdk::v1::ExecutionState;

    use super::*;

    #[test]
    fn execution_has_short_state_and_null_for_missing_fields() {
        let mut message = Execution { id: "e".into(), ..Execution::default() };
        message.set_state(ExecutionState::DeadLettered);
        message.positions.insert("orders".into(), 20);
        let json = execution(&message);
        assert_eq!(json["state"], "dead_lettered");
        assert_eq!(json["end_time"], Value::Null);
        assert_eq!(json["positions"], json!({"orders": 20}));
    }
}
