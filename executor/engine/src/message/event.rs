//! The `execution.started` event. The control plane creates `execution.completed` after its commit.

use std::collections::BTreeMap;

use serde::Serialize;

use super::id::{MessagePosition, fingerprint};
use super::kafka::{Message, Topic};
use super::origin::{MessageNames, MessageOrigin, timestamp};
use crate::attempt::{ExecutionIdentity, TraceContext};
use crate::input::CurrentTime;
use crate::progress::{Counts, Progress};

const STARTED: &str = "execution.started";

#[derive(Serialize)]
struct StartedEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    tenant_id: String,
    integration: &'a str,
    plan_key: &'a str,
    plan_revision: i32,
    config_id: String,
    config_key: &'a str,
    execution_id: String,
    attempt: i32,
    status: &'a str,
    partial: bool,
    complete: bool,
    timestamp: String,
    scheduled_at: String,
    counts: Counts,
    positions: &'a BTreeMap<String, u64>,
    error: Option<()>,
}

/// Creates the event of an attempt's start. `progress` is that of earlier attempts.
///
/// The message id differs for each attempt, since it also hashes the fence: it is the
/// [`fingerprint`] of execution id, type and fence. The position is that of the execution and stays
/// the same.
pub fn started(
    identity: &ExecutionIdentity,
    trace: &TraceContext,
    progress: &Progress,
    now: CurrentTime,
) -> Message {
    let event = StartedEvent {
        kind: STARTED,
        tenant_id: identity.tenant_id.to_string(),
        integration: &identity.integration,
        plan_key: &identity.plan_key,
        plan_revision: identity.plan_revision,
        config_id: identity.config_id.to_string(),
        config_key: &identity.config_key,
        execution_id: identity.execution_id.to_string(),
        attempt: identity.attempt,
        status: "running",
        partial: false,
        complete: false,
        timestamp: timestamp(now.wall),
        scheduled_at: timestamp(identity.scheduled_at),
        counts: progress.counts,
        positions: &progress.positions,
        error: None,
    };
    let origin = MessageOrigin::new(identity, trace);
    let position =
        MessagePosition { execution_id: &event.execution_id, kind: STARTED, step_path: "", chunk: 0 };
    let fence = identity.fence.to_string();
    let names = MessageNames {
        kind: STARTED,
        message_id: fingerprint(&[event.execution_id.as_bytes(), STARTED.as_bytes(), fence.as_bytes()]),
        position: position.hex(),
    };
    // Printing a struct of strings and numbers cannot fail.
    let payload = serde_json::to_vec(&event).unwrap_or_default();
    Message {
        topic: Topic::Events,
        key: origin.key.clone(),
        headers: origin.headers(names),
        payload: payload.into(),
    }
}
