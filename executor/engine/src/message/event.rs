//! `execution.started`: the run's own event. (`execution.completed` is the control plane's, after its commit.)

use serde::Serialize;

use super::id::{Place, fingerprint};
use super::origin::{MessageOrigin, Names, timestamp};
use super::{Message, Topic};
use crate::attempt::{ExecutionIdentity, TraceContext};
use crate::input::CurrentTime;
use crate::progress::{Counts, Progress};

const STARTED: &str = "execution.started";

#[derive(Serialize)]
struct Event<'a> {
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
    positions: &'a std::collections::BTreeMap<String, u64>,
    error: Option<()>,
}

/// The event of an attempt's beginning. `progress` is what earlier attempts did. Each attempt has an id of its own: it
/// hashes the fence as well (the same lengths-and-bytes form as other ids: execution id, type, fence).
pub fn started(
    identity: &ExecutionIdentity,
    trace: &TraceContext,
    progress: &Progress,
    now: CurrentTime,
) -> Message {
    let event = Event {
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
    let place = Place { execution_id: &event.execution_id, kind: STARTED, step_path: "", chunk: 0 };
    let fence = identity.fence.to_string();
    let names = Names {
        kind: STARTED,
        message_id: fingerprint(&[event.execution_id.as_bytes(), STARTED.as_bytes(), fence.as_bytes()]),
        position: place.position(),
    };
    let payload = serde_json::to_vec(&event).unwrap_or_default();
    Message {
        topic: Topic::Events,
        key: origin.key.clone(),
        headers: origin.headers(names),
        payload: payload.into(),
    }
}
