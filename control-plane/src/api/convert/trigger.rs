//! Converts triggers.

use chrono::{DateTime, Utc};
use orchid_kit::telemetry::{self, Traceparent};
use orchid_proto::v1;
use tonic::Status;
use uuid::Uuid;

use crate::api::{error, request};
use crate::commands::plans::{ContextOverride, TriggerPlan};

/// Decodes a trigger.
pub(crate) fn decode(request: v1::TriggerPlanRequest, now: DateTime<Utc>) -> Result<TriggerPlan, Status> {
    let v1::TriggerPlanRequest { key, config, context_override_json, persist_context, request_id: _ } =
        request;
    let context_override = request::non_empty(context_override_json)
        .map(|text| ContextOverride::parse(&text).map_err(error::status))
        .transpose()?;
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
