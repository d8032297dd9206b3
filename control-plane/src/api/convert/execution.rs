//! Converts executions, their attempts and their history.

use orchid_domain::execution::{Kind, Origin, State};
use orchid_proto::v1;
use tonic::Status;
use uuid::Uuid;

use crate::api::{convert, error};
use crate::commands::Diagnostic;
use crate::commands::executions::progress::{
    ExecutionCounts, ExecutionError, ExecutionProgress, ExecutionWarning,
};
use crate::commands::executions::{ExecutionReport, ListExecutions};
use crate::commands::pagination::PageRequest;
use crate::store::executions::{Attempt, Execution, HistoryEvent};

/// Encodes an execution.
pub(crate) fn to_wire(row: Execution) -> Result<v1::Execution, Status> {
    let ExecutionReport { progress, error } =
        ExecutionReport::of(&row).map_err(|error| error::of_store(&error))?;
    let Execution {
        tenant_id: _,
        id,
        plan_id: _,
        plan_key,
        plan_revision,
        integration_key,
        config_id,
        config_key,
        kind,
        origin,
        state,
        waiting_for,
        not_before,
        partial,
        complete,
        attempt,
        losses,
        priority,
        scheduled_at,
        created_at,
        started_at,
        ended_at,
        cancel_requested_at,
        cancel_reason: _,
        needs_upstream_cancel: _,
        continues_execution_id,
        progress: _,
        error: _,
        version: _,
    } = row;
    let (counts, positions, warnings) = progress_to_wire(progress);
    Ok(v1::Execution {
        id: id.to_string(),
        plan: plan_key,
        plan_revision,
        integration: integration_key,
        config: config_key,
        config_id: config_id.to_string(),
        kind: kind_to_wire(&kind)?.into(),
        origin: origin_to_wire(&origin)?.into(),
        state: state_to_wire(&state)?.into(),
        partial,
        complete,
        attempt,
        lost_attempts: losses,
        priority: i32::from(priority),
        schedule_time: Some(convert::timestamp(scheduled_at)),
        create_time: Some(convert::timestamp(created_at)),
        start_time: started_at.map(convert::timestamp),
        end_time: ended_at.map(convert::timestamp),
        not_before: not_before.map(convert::timestamp),
        waiting_for: waiting_for.unwrap_or_default(),
        cancel_request_time: cancel_requested_at.map(convert::timestamp),
        counts: Some(counts),
        positions,
        error: error.map(execution_error),
        warnings,
        continues_execution_id: continues_execution_id.map(|id| id.to_string()).unwrap_or_default(),
    })
}

fn execution_error(error: ExecutionError) -> v1::ExecutionError {
    let ExecutionError { class, code, message, pointer, status_code, step_path, response_excerpt } = error;
    v1::ExecutionError { class, code, message, pointer, status_code, step_path, response_excerpt }
}

type StepPositions = std::collections::HashMap<String, i64>;

fn progress_to_wire(progress: ExecutionProgress) -> (v1::ExecutionCounts, StepPositions, Vec<v1::Warning>) {
    let ExecutionProgress { counts, positions, warnings } = progress;
    let ExecutionCounts { requests, retries, pages, rows, messages, bytes, errors } = counts;
    let counts = v1::ExecutionCounts { requests, retries, pages, rows, messages, bytes, errors };
    let warnings = warnings.into_iter().map(|ExecutionWarning { code, pointer, message }| v1::Warning {
        code,
        pointer,
        message,
    });
    (counts, positions.into_iter().collect(), warnings.collect())
}

/// Encodes an attempt.
pub(crate) fn attempt_to_wire(row: Attempt) -> v1::ExecutionAttempt {
    let Attempt {
        attempt,
        fence,
        executor,
        granted_at,
        ended_at,
        verdict,
        final_seq,
        last_request,
        lease_id: _,
        session_id: _,
    } = row;
    v1::ExecutionAttempt {
        attempt,
        fence,
        executor,
        grant_time: Some(convert::timestamp(granted_at)),
        end_time: ended_at.map(convert::timestamp),
        end_reason: verdict.unwrap_or_default(),
        checkpoint_seq: final_seq,
        last_request: last_request.unwrap_or_default(),
    }
}

/// Encodes a transition.
pub(crate) fn event_to_wire(row: HistoryEvent) -> Result<v1::ExecutionEvent, Status> {
    let HistoryEvent { at, state, attempt, cause, detail } = row;
    Ok(v1::ExecutionEvent {
        time: Some(convert::timestamp(at)),
        state: state_to_wire(&state)?.into(),
        attempt,
        cause,
        detail,
    })
}

/// Decodes the query for a list.
pub(crate) fn list(
    request: v1::ListExecutionsRequest,
    page: PageRequest<Uuid>,
) -> Result<ListExecutions, Status> {
    let v1::ListExecutionsRequest {
        page_size: _,
        page_token: _,
        plan,
        config,
        states,
        created_from,
        created_before,
    } = request;
    let states: Result<Vec<State>, Status> =
        states.into_iter().enumerate().map(|(index, state)| state_from_wire(index, state)).collect();
    Ok(ListExecutions {
        plan: (!plan.is_empty()).then_some(plan),
        config: (!config.is_empty()).then_some(config),
        states: states?,
        from: created_from.map(|time| convert::time(time, "/created_from")).transpose()?,
        before: created_before.map(|time| convert::time(time, "/created_before")).transpose()?,
        page,
    })
}

fn state_from_wire(index: usize, number: i32) -> Result<State, Status> {
    use v1::ExecutionState as Wire;
    let state = match Wire::try_from(number) {
        Ok(Wire::Pending) => State::Pending,
        Ok(Wire::Queued) => State::Queued,
        Ok(Wire::Running) => State::Running,
        Ok(Wire::Parked) => State::Parked,
        Ok(Wire::Blocked) => State::Blocked,
        Ok(Wire::Succeeded) => State::Succeeded,
        Ok(Wire::Failed) => State::Failed,
        Ok(Wire::Aborted) => State::Aborted,
        Ok(Wire::Cancelled) => State::Cancelled,
        Ok(Wire::DeadLettered) => State::DeadLettered,
        Ok(Wire::Unspecified) | Err(_) => {
            let diagnostic = Diagnostic::new(
                "INVALID_VALUE",
                format!("/states/{index}"),
                format!("{number} is not a state"),
            );
            return Err(error::invalid("INVALID_FILTER", diagnostic));
        }
    };
    Ok(state)
}

fn state_to_wire(text: &str) -> Result<v1::ExecutionState, Status> {
    use v1::ExecutionState as Wire;
    let state: State = text.parse().map_err(|error| convert::corrupt("plan_executions.state", error))?;
    Ok(match state {
        State::Pending => Wire::Pending,
        State::Queued => Wire::Queued,
        State::Running => Wire::Running,
        State::Parked => Wire::Parked,
        State::Blocked => Wire::Blocked,
        State::Succeeded => Wire::Succeeded,
        State::Failed => Wire::Failed,
        State::Aborted => Wire::Aborted,
        State::Cancelled => Wire::Cancelled,
        State::DeadLettered => Wire::DeadLettered,
    })
}

fn kind_to_wire(text: &str) -> Result<v1::ExecutionKind, Status> {
    let kind: Kind = text.parse().map_err(|error| convert::corrupt("plan_executions.kind", error))?;
    Ok(match kind {
        Kind::Run => v1::ExecutionKind::Run,
        Kind::Preview => v1::ExecutionKind::Preview,
        Kind::Test => v1::ExecutionKind::Test,
    })
}

fn origin_to_wire(text: &str) -> Result<v1::ExecutionOrigin, Status> {
    let origin: Origin = text.parse().map_err(|error| convert::corrupt("plan_executions.origin", error))?;
    Ok(match origin {
        Origin::Schedule => v1::ExecutionOrigin::Schedule,
        Origin::Trigger => v1::ExecutionOrigin::Trigger,
        // Not on the wire yet: no method creates such executions.
        Origin::Retry | Origin::Replay => v1::ExecutionOrigin::Unspecified,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_converts_to_wire_and_back() {
        for state in State::ALL {
            let wire = state_to_wire(state.as_str()).unwrap();
            assert_eq!(state_from_wire(0, wire.into()).unwrap(), *state);
        }
    }

    #[test]
    fn unspecified_state_filter_is_refused() {
        assert!(state_from_wire(0, v1::ExecutionState::Unspecified.into()).is_err());
    }
}
