//! The terminal announcement `execution.completed`: made in the transaction that ends an execution,
//! so that it exists exactly when the end is committed. Its headers and ids are part of the message
//! contract.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::decided::DecidedTransition;
use crate::commands::executions::progress::{ExecutionCounts, ExecutionError, ExecutionProgress};
use crate::store::error::StoreError;
use crate::store::executions::locked::LockedExecution;
use crate::store::fleet::announcements::Announcement;

/// Type of the message, also part of its ids.
const TYPE: &str = "execution.completed";

#[derive(Serialize)]
struct CompletedPayload<'a> {
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

/// Makes the announcement of an execution's end.
///
/// # Errors
/// The payload cannot be written as JSON.
pub(super) fn completed(decided: &DecidedTransition, now: DateTime<Utc>) -> Result<Announcement, StoreError> {
    let DecidedTransition { execution, transition, facts } = decided;
    // A call that brought no progress leaves what the last checkpoint stored.
    let stored = execution.progress.as_deref().unwrap_or_default();
    let progress = if facts.progress.is_empty() { stored } else { &facts.progress };
    // An end must always be possible, so progress that cannot be read is left out.
    let progress = ExecutionProgress::decode(progress).unwrap_or_else(|error| {
        tracing::error!(%error, execution_id = %execution.key.execution_id, "announced without its progress");
        ExecutionProgress::default()
    });
    let payload = CompletedPayload {
        kind: TYPE,
        tenant_id: execution.key.tenant_id,
        integration: &execution.integration_key,
        plan_key: &execution.plan_key,
        plan_revision: execution.plan_revision,
        config_id: execution.config_id,
        config_key: &execution.config_key,
        execution_id: execution.key.execution_id,
        attempt: execution.attempt,
        status: transition.next.as_str(),
        partial: facts.partial,
        complete: facts.complete,
        timestamp: timestamp(now),
        scheduled_at: timestamp(execution.scheduled_at),
        counts: progress.counts,
        positions: progress.positions,
        error: facts.error.as_ref(),
    };
    Ok(Announcement {
        tenant_id: execution.key.tenant_id,
        // This id names the row alone. Consumers deduplicate by the derived message id below.
        id: Uuid::now_v7(),
        execution_id: execution.key.execution_id,
        pool: execution.pool.clone(),
        message_key: format!("{}:{}:{}", execution.key.tenant_id, execution.plan_key, execution.config_id),
        headers: headers(execution),
        payload: serde_json::to_vec(&payload).map_err(|error| StoreError::corrupt("announcement", error))?,
    })
}

fn headers(execution: &LockedExecution) -> Vec<(String, String)> {
    let execution_id = execution.key.execution_id.to_string();
    // The order is part of the message contract.
    let mut headers = vec![
        ("tenant_id", execution.key.tenant_id.to_string()),
        ("integration", execution.integration_key.clone()),
        ("plan_key", execution.plan_key.clone()),
        ("config_key", execution.config_key.clone()),
        ("execution_id", execution_id.clone()),
        ("type", TYPE.to_owned()),
        ("orchid-schema", "1".to_owned()),
        // An execution ends once, so its id names the content.
        ("orchid-message-id", message_id(&execution_id)),
        ("orchid-position", position(&execution_id)),
        ("orchid-fence", execution.fence.to_string()),
        ("orchid-attempt", execution.attempt.to_string()),
    ];
    headers.extend(execution.traceparent.clone().map(|traceparent| ("traceparent", traceparent)));
    headers.push(("content-type", "application/json".to_owned()));
    headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Formats a time as messages do: RFC 3339 with milliseconds and `Z`.
fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Returns the message position: hex of the first 16 bytes of SHA-256 over execution id, type, an
/// empty step path and chunk 0, joined by newlines.
fn position(execution_id: &str) -> String {
    hex::encode(&Sha256::digest(format!("{execution_id}\n{TYPE}\n\n0"))[..16])
}

/// Returns the message id: hex of the first 16 bytes of SHA-256 over execution id and type, each
/// after its length in 8 bytes, big endian.
fn message_id(execution_id: &str) -> String {
    let mut hash = Sha256::new();
    for field in [execution_id, TYPE] {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hex::encode(&hash.finalize()[..16])
}
