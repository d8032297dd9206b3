//! What all messages of an attempt share: the key, the first headers, the head of the envelope.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::attempt::{ExecutionIdentity, TraceContext};

use super::json;

/// The attempt that a message comes from, its constant parts printed once.
pub(crate) struct MessageOrigin {
    pub(super) execution_id: String,
    pub(super) key: String,
    /// `"tenant_id": … "attempt": …`, without braces.
    pub(super) head: Vec<u8>,
    /// `"trace_id": … "span_id": …`, without braces.
    pub(super) trace: Vec<u8>,
    identity: ExecutionIdentity,
    traceparent: String,
    tracestate: String,
}

/// First fields of every envelope, in the order in which they are sent.
#[derive(Serialize)]
pub(super) struct Head<'a> {
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
struct Trace<'a> {
    trace_id: Option<&'a str>,
    span_id: Option<&'a str>,
}

/// What the headers of one message say beside those of its attempt.
pub(super) struct Names {
    pub(super) kind: &'static str,
    pub(super) message_id: String,
    pub(super) position: String,
}

impl MessageOrigin {
    pub(crate) fn new(identity: &ExecutionIdentity, trace: &TraceContext) -> MessageOrigin {
        let execution_id = identity.execution_id.to_string();
        let head = Head {
            tenant_id: identity.tenant_id.to_string(),
            integration: &identity.integration,
            plan_key: &identity.plan_key,
            plan_revision: identity.plan_revision,
            config_id: identity.config_id.to_string(),
            config_key: &identity.config_key,
            execution_id: &execution_id,
            attempt: identity.attempt,
        };
        let (trace_id, span_id) = trace_ids(&trace.traceparent);
        MessageOrigin {
            head: json::members(&head),
            trace: json::members(&Trace { trace_id, span_id }),
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

    /// All headers of a message, in order. Those of a run that is not traced lack the trace.
    pub(super) fn headers(&self, names: Names) -> Vec<(&'static str, String)> {
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

/// Trace and span id of a `traceparent` (W3C Trace Context: `version-trace-span-flags`).
fn trace_ids(traceparent: &str) -> (Option<&str>, Option<&str>) {
    let mut parts = traceparent.split('-').skip(1);
    let trace = parts.next().filter(|id| id.len() == 32);
    let span = parts.next().filter(|id| id.len() == 16);
    (trace, span)
}

/// A time as messages spell it: RFC 3339, milliseconds, `Z`.
pub(super) fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_ids_come_from_a_whole_traceparent_alone() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace_ids(parent), (Some("0af7651916cd43dd8448eb211c80319c"), Some("b7ad6b7169203331")));
        assert_eq!(trace_ids(""), (None, None));
        assert_eq!(trace_ids("00-zz"), (None, None));
    }
}
