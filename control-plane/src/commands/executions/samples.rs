//! Sample rows for tests.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::store::executions::{Attempt, Execution};

/// Returns `2026-03-01T12:00:00Z` plus some seconds.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_366_400 + seconds, 0).unwrap()
}

/// Returns a queued execution that was triggered 100 s before `at(0)`.
pub(crate) fn execution() -> Execution {
    Execution {
        tenant_id: Uuid::from_u128(1),
        id: Uuid::from_u128(2),
        plan_id: Uuid::from_u128(3),
        plan_key: "orders".to_owned(),
        plan_revision: 4,
        integration_key: "shop".to_owned(),
        config_id: Uuid::from_u128(5),
        config_key: "main".to_owned(),
        kind: "run".to_owned(),
        origin: "trigger".to_owned(),
        state: "queued".to_owned(),
        waiting_for: None,
        not_before: None,
        partial: false,
        complete: false,
        attempt: 0,
        losses: 0,
        priority: 5,
        scheduled_at: at(-100),
        created_at: at(-100),
        started_at: None,
        ended_at: None,
        cancel_requested_at: None,
        cancel_reason: None,
        needs_upstream_cancel: false,
        continues_execution_id: None,
        progress: None,
        error: None,
        version: 1,
    }
}

/// Returns a running attempt that was granted 60 s before `at(0)`.
pub(crate) fn attempt() -> Attempt {
    Attempt {
        attempt: 2,
        fence: 8,
        executor: "worker-7".to_owned(),
        granted_at: at(-60),
        ended_at: None,
        verdict: None,
        final_seq: 0,
        last_request: None,
        lease_id: Uuid::from_u128(6),
        session_id: Uuid::from_u128(7),
    }
}
