//! The `traceparent` of W3C Trace Context, which doorbells, leases, requests and message headers
//! carry.

use std::fmt;
use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// A span of a trace, written `00-{trace id}-{span id}-{flags}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    trace_id: TraceId,
    span_id: SpanId,
    flags: TraceFlags,
}

/// A text that is not a valid traceparent.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a W3C traceparent")]
pub struct TraceparentError(String);

impl Traceparent {
    /// Creates a traceparent from ids, or returns `None` if one of them is all zeros.
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8], sampled: bool) -> Option<Self> {
        let flags = TraceFlags::default().with_sampled(sampled);
        Self { trace_id: TraceId::from_bytes(trace_id), span_id: SpanId::from_bytes(span_id), flags }
            .validated()
    }

    /// Creates a sampled traceparent with random ids.
    pub fn random() -> Self {
        let trace_id = uuid::Uuid::new_v4().into_bytes();
        // An id of all zeros is invalid, so the lowest bit is always set.
        let span_id = rand::random::<u64>() | 1;
        Self {
            trace_id: TraceId::from_bytes(trace_id),
            span_id: SpanId::from_bytes(span_id.to_be_bytes()),
            flags: TraceFlags::SAMPLED,
        }
    }

    /// Returns the trace id as 32 hex digits.
    pub fn trace_id_hex(&self) -> String {
        self.trace_id.to_string()
    }

    /// Returns the span id as 16 hex digits.
    pub fn span_id_hex(&self) -> String {
        self.span_id.to_string()
    }

    /// Returns true if the trace is recorded.
    pub fn sampled(&self) -> bool {
        self.flags.is_sampled()
    }

    fn validated(self) -> Option<Self> {
        (self.trace_id != TraceId::INVALID && self.span_id != SpanId::INVALID).then_some(self)
    }

    fn remote_context(&self) -> SpanContext {
        SpanContext::new(self.trace_id, self.span_id, self.flags, true, TraceState::default())
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.span_id, self.flags.to_u8())
    }
}

impl FromStr for Traceparent {
    type Err = TraceparentError;

    /// Parses version 00 exactly. Later versions may have more fields at the end, which are ignored
    /// as the recommendation requires.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| TraceparentError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Traceparent> {
    let mut fields = text.split('-');
    let version = hex_field(fields.next()?, 2)?;
    let trace_id = hex_field(fields.next()?, 32)?;
    let span_id = hex_field(fields.next()?, 16)?;
    let flags = hex_field(fields.next()?, 2)?;
    let rest = fields.next();
    if version == "ff" || (version == "00" && rest.is_some()) {
        return None;
    }
    Traceparent {
        trace_id: TraceId::from_hex(trace_id).ok()?,
        span_id: SpanId::from_hex(span_id).ok()?,
        // Only the sampled flag is defined; others must not be passed on.
        flags: TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
    }
    .validated()
}

fn hex_field(text: &str, length: usize) -> Option<&str> {
    let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == length && text.bytes().all(lower_hex)).then_some(text)
}

/// Returns the current span, or `None` outside of any span.
pub fn current_traceparent() -> Option<Traceparent> {
    let context = Span::current().context();
    let span = context.span();
    let current = span.span_context();
    Traceparent { trace_id: current.trace_id(), span_id: current.span_id(), flags: current.trace_flags() }
        .validated()
}

/// Makes `span` a child of a span in another process. It only has an effect before the span is
/// first entered, and only if telemetry is running.
pub fn set_parent(span: &Span, parent: &Traceparent) {
    let context = opentelemetry::Context::new().with_remote_span_context(parent.remote_context());
    if let Err(error) = span.set_parent(context) {
        tracing::trace!(%error, "span keeps its parent");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn malformed_traceparent_error_contains_its_text() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(text.parse::<Traceparent>(), Err(TraceparentError(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn traceparent_round_trips() {
        let traceparent: Traceparent = EXAMPLE.parse().unwrap();
        assert_eq!(traceparent.to_string(), EXAMPLE);
        assert_eq!(traceparent.trace_id_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(traceparent.span_id_hex(), "00f067aa0ba902b7");
        assert!(traceparent.sampled());
        let random = Traceparent::random();
        assert_eq!(random.to_string().parse(), Ok(random));
    }

    #[test]
    fn later_version_with_more_fields_is_parsed() {
        let later = EXAMPLE.replacen("00", "01", 1) + "-more";
        assert_eq!(later.parse::<Traceparent>().unwrap().to_string(), EXAMPLE);
    }

    #[test]
    fn there_is_no_traceparent_outside_of_a_span() {
        assert_eq!(current_traceparent(), None);
    }
}
