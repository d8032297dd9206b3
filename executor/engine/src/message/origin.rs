//! The parts that all messages of an attempt share: key, first headers, and first envelope fields.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::json;
use crate::attempt::{ExecutionIdentity, TraceContext};

/// The attempt that messages come from, with its constant JSON printed once.
pub(crate) struct MessageOrigin {
    pub(super) execution_id: String,
    pub(super) key: String,
    /// JSON members `"tenant_id"` to `"attempt"`, without braces.
    pub(super) head: Vec<u8>,
    /// JSON members `"trace_id"` and `"span_id"`, without braces.
    pub(super) trace: Vec<u8>,
    identity: ExecutionIdentity,
    traceparent: String,
    tracestate: String,
}

/// The first fields of every envelope, in the order in which they are sent.
#[derive(Serialize)]
struct EnvelopeHead<'a> {
    tenant_id: String,
    integration: &'a str,
    plan_key: &'a str,
    plan_revision: i32,
    config_id: String,
    config_key: &'a str,
    execution_id: &'a str,
    attempt: i32,
}

#[derive(Serialize)]
struct TraceIds<'a> {
    trace_id: Option<&'a str>,
    span_id: Option<&'a str>,
}

/// The header values that differ between the messages of an attempt.
pub(super) struct MessageNames {
    pub(super) kind: &'static str,
    pub(super) message_id: String,
    pub(super) position: String,
}

impl MessageOrigin {
    pub(crate) fn new(identity: &ExecutionIdentity, trace: &TraceContext) -> Self {
        let execution_id = identity.execution_id.to_string();
        let head = EnvelopeHead {
            tenant_id: identity.tenant_id.to_string(),
            integration: &identity.integration,
            plan_key: &identity.plan_key,
            plan_revision: identity.plan_revision,
            config_id: identity.config_id.to_string(),
            config_key: &identity.config_key,
            execution_id: &execution_id,
            attempt: identity.attempt,
        };
        // A malformed traceparent is forwarded in the header but not split into ids.
        let (trace_id, span_id) = trace_ids(&trace.traceparent);
        Self {
            head: json::members(&head),
            trace: json::members(&TraceIds { trace_id, span_id }),
            key: format!("{}:{}:{}", identity.tenant_id, identity.plan_key, identity.config_id),
            execution_id,
            identity: identity.clone(),
            traceparent: trace.traceparent.clone(),
            tracestate: trace.tracestate.clone(),
        }
    }

    pub(crate) fn identity(&self) -> &ExecutionIdentity {
        &self.identity
    }

    /// Returns all headers of a message, in order; trace headers only if the execution is traced.
    pub(super) fn headers(&self, names: MessageNames) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("tenant_id", self.identity.tenant_id.to_string()),
            ("integration", self.identity.integration.clone()),
            ("plan_key", self.identity.plan_key.clone()),
            ("config_key", self.identity.config_key.clone()),
            ("execution_id", self.execution_id.clone()),
            ("type", names.kind.to_owned()),
            ("orchid-schema", "1".to_owned()),
            ("orchid-message-id", names.message_id),
            ("orchid-position", names.position),
            // Orders attempts: a consumer can tell a late message of an earlier attempt by its
            // fence.
            ("orchid-fence", self.identity.fence.to_string()),
            ("orchid-attempt", self.identity.attempt.to_string()),
        ];
        if !self.traceparent.is_empty() {
            headers.push(("traceparent", self.traceparent.clone()));
        }
        if !self.tracestate.is_empty() {
            headers.push(("tracestate", self.tracestate.clone()));
        }
        headers.push(("content-type", "application/json".to_owned()));
        headers
    }
}

/// Returns trace and span id of a `traceparent` (W3C Trace Context: `version-trace-span-flags`).
fn trace_ids(traceparent: &str) -> (Option<&str>, Option<&str>) {
    let mut parts = traceparent.split('-').skip(1);
    // W3C ids have fixed lengths: anything else would only look like an id.
    let trace = parts.next().filter(|id| id.len() == 32);
    let span = parts.next().filter(|id| id.len() == 16);
    (trace, span)
}

/// Formats a time for messages: RFC 3339 in UTC with milliseconds and `Z`.
pub(super) fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_traceparent_has_no_ids() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace_ids(parent), (Some("0af7651916cd43dd8448eb211c80319c"), Some("b7ad6b7169203331")));
        assert_eq!(trace_ids(""), (None, None));
        assert_eq!(trace_ids("00-zz"), (None, None));
    }
}
