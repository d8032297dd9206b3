//! `execution.completed`: the event of a run's end, made in the transaction that ends it, so that it follows the commit.

use chrono::{DateTime, SecondsFormat, Utc};
use orchid_domain::execution::State;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use uuid::Uuid;

use super::progress::{ExecutionCounts, ExecutionError, ExecutionProgress};
use crate::store::error::StoreError;
use crate::store::fleet::announcements::Announcement;
use crate::store::fleet::runs::LockedExecution;

const TYPE: &str = "execution.completed";

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'a> {
    /// A terminal state.
    pub(super) state: State,
    /// Something was ignored, skipped or limited.
    pub(super) partial: bool,
    /// Every loop ended by itself.
    pub(super) complete: bool,
    /// What it did, encoded.
    pub(super) progress: &'a [u8],
    /// Why it ended.
    pub(super) fault: Option<&'a ExecutionError>,
}

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    tenant_id: Uuid,
    integration: &'a str,
    plan_key: &'a str,
    plan_revision: i32,
    config_id: Uuid,
    config_key: &'a str,
    execution_id: Uuid,
    attempt: i32,
    status: &'static str,
    partial: bool,
    complete: bool,
    timestamp: String,
    scheduled_at: String,
    counts: ExecutionCounts,
    positions: BTreeMap<String, i64>,
    error: Option<&'a ExecutionError>,
}

/// The announcement of a run's end.
pub(super) fn completed(
    run: &LockedExecution,
    end: &End<'_>,
    now: DateTime<Utc>,
) -> Result<Announcement, StoreError> {
    let progress = ExecutionProgress::decode(end.progress)?;
    let payload = Payload {
        kind: TYPE,
        tenant_id: run.key.tenant_id,
        integration: &run.integration_key,
        plan_key: &run.plan_key,
        plan_revision: run.plan_revision,
        config_id: run.config_id,
        config_key: &run.config_key,
        execution_id: run.key.execution_id,
        attempt: run.attempt,
        status: end.state.as_str(),
        partial: end.partial,
        complete: end.complete,
        timestamp: timestamp(now),
        scheduled_at: timestamp(run.scheduled_at),
        counts: progress.counts,
        positions: progress.positions,
        error: end.fault,
    };
    Ok(Announcement {
        tenant_id: run.key.tenant_id,
        id: Uuid::now_v7(),
        execution_id: run.key.execution_id,
        pool: run.pool.clone(),
        message_key: format!("{}:{}:{}", run.key.tenant_id, run.plan_key, run.config_id),
        headers: headers(run),
        payload: serde_json::to_vec(&payload).map_err(|error| StoreError::corrupt("announcement", error))?,
    })
}

fn headers(run: &LockedExecution) -> Vec<(String, String)> {
    let execution_id = run.key.execution_id.to_string();
    let mut headers = vec![
        ("tenant_id", run.key.tenant_id.to_string()),
        ("integration", run.integration_key.clone()),
        ("plan_key", run.plan_key.clone()),
        ("config_key", run.config_key.clone()),
        ("execution_id", execution_id.clone()),
        ("type", TYPE.to_owned()),
        ("orchid-schema", "1".to_owned()),
        // A run ends once, so its id is enough to name what it says.
        ("orchid-message-id", message_id(&execution_id)),
        ("orchid-position", position(&execution_id)),
        ("orchid-fence", run.fence.to_string()),
        ("orchid-attempt", run.attempt.to_string()),
    ];
    headers.extend(run.traceparent.clone().map(|traceparent| ("traceparent", traceparent)));
    headers.push(("content-type", "application/json".to_owned()));
    headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// As messages spell times: RFC 3339, milliseconds, `Z`.
fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Hex of the first 16 bytes of SHA-256 over execution id, type, an empty step path and chunk 0, joined by newlines.
fn position(execution_id: &str) -> String {
    hex::encode(&Sha256::digest(format!("{execution_id}\n{TYPE}\n\n0"))[..16])
}

/// Hex of the first 16 bytes of SHA-256 over execution id and type, each after its length in 8 bytes, big endian.
fn message_id(execution_id: &str) -> String {
    let mut hash = Sha256::new();
    for field in [execution_id, TYPE] {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hex::encode(&hash.finalize()[..16])
}
