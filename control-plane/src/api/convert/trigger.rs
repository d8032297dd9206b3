//! Converts triggers.

use chrono::{DateTime, Utc};
use orchid_common::limits::{CONTEXT_FIELD_MAX_BYTES, CONTEXT_MAX_BYTES};
use orchid_kit::telemetry::{self, Traceparent};
use orchid_proto::v1;
use tonic::Status;
use uuid::Uuid;

use crate::api::{convert, error, request};
use crate::commands::Diagnostic;
use crate::commands::plans::TriggerPlan;

/// Decodes a trigger.
pub(crate) fn decode(request: v1::TriggerPlanRequest, now: DateTime<Utc>) -> Result<TriggerPlan, Status> {
    let v1::TriggerPlanRequest { key, config, context_override_json, persist_context, request_id: _ } =
        request;
    let context_override =
        request::non_empty(context_override_json).map(|text| context(&text)).transpose()?;
    // The trace of an execution starts at its trigger. Without an active trace, random ids still
    // link the log lines of all processes.
    let traceparent = telemetry::current_traceparent().unwrap_or_else(Traceparent::random).to_string();
    Ok(TriggerPlan {
        id: Uuid::now_v7(),
        key,
        config: request::non_empty(config),
        context_override,
        persist_context,
        traceparent: Some(traceparent),
        now,
    })
}

fn context(text: &str) -> Result<Vec<u8>, Status> {
    let pointer = "/context_override_json";
    let fields = convert::json::object_from_text(text, pointer)?;
    let mut diagnostics = Vec::new();
    if text.len() > CONTEXT_MAX_BYTES {
        let message = format!("{} bytes are more than the {CONTEXT_MAX_BYTES} of a context", text.len());
        diagnostics.push(Diagnostic::new("TOO_LARGE", pointer, message));
    }
    for (name, value) in &fields {
        if value.get().len() > CONTEXT_FIELD_MAX_BYTES {
            let message = format!(
                "field {name:?} has {} bytes, more than {CONTEXT_FIELD_MAX_BYTES}",
                value.get().len()
            );
            diagnostics.push(Diagnostic::new("TOO_LARGE", pointer, message));
        }
    }
    match diagnostics.pop() {
        Some(diagnostic) => Err(error::invalid("CONTEXT_TOO_LARGE", diagnostic)),
        None => serde_json::to_vec(&fields).map_err(|error| convert::corrupt("context override", error)),
    }
}
