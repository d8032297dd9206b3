//! W3C Trace Context: the `traceparent` that goes through doorbells, leases, requests and message headers.

use std::{fmt, str::FromStr};

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// A place in a trace: `00-{trace id}-{span id}-{flags}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    trace_id: TraceId,
    span_id: SpanId,
    flags: TraceFlags,
}

/// A text is no traceparent.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a W3C traceparent")]
pub struct TraceparentError(String);

impl Traceparent {
    /// From ids that the caller has; neither may be all zeros.
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8], sampled: bool) -> Option<Self> {
        let flags = TraceFlags::default().with_sampled(sampled);
        Self { trace_id: TraceId::from_bytes(trace_id), span_id: SpanId::from_bytes(span_id), flags }.valid()
    }

    /// A new trace with random ids.
    pub fn random() -> Self {
        let trace_id = uuid::Uuid::new_v4().into_bytes();
        let span_id = rand::random::<u64>() | 1;
        Self {
            trace_id: TraceId::from_bytes(trace_id),
            span_id: SpanId::from_bytes(span_id.to_be_bytes()),
            flags: TraceFlags::SAMPLED,
        }
    }

    /// 32 hex digits.
    pub fn trace_id_hex(&self) -> String {
        self.trace_id.to_string()
    }

    /// 16 hex digits.
    pub fn span_id_hex(&self) -> String {
        self.span_id.to_string()
    }

    /// Whether the trace is recorded.
    pub fn sampled(&self) -> bool {
        self.flags.is_sampled()
    }

    fn valid(self) -> Option<Self> {
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

    /// Version 00 exactly; later versions may have more fields behind, which are passed over, as the recommendation says.
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
        flags: TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
    }
    .valid()
}

fn hex_field(text: &str, length: usize) -> Option<&str> {
    let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == length && text.bytes().all(lower_hex)).then_some(text)
}

/// Where the running code stands; `None` outside of any span.
pub fn current_traceparent() -> Option<Traceparent> {
    let context = Span::current().context();
    let span = context.span();
    let place = span.span_context();
    Traceparent { trace_id: place.trace_id(), span_id: place.span_id(), flags: place.trace_flags() }.valid()
}

/// Makes `span` a child of a place in another process. Only before the span is first entered; later, and without telemetry, it changes nothing.
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
    fn what_is_not_a_traceparent_is_refused_with_its_text() {
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
    fn a_traceparent_reads_and_writes_back() {
        let place: Traceparent = EXAMPLE.parse().unwrap();
        assert_eq!(place.to_string(), EXAMPLE);
        assert_eq!(place.trace_id_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(place.span_id_hex(), "00f067aa0ba902b7");
        assert!(place.sampled());
        let random = Traceparent::random();
        assert_eq!(random.to_string().parse(), Ok(random));
    }

    #[test]
    fn a_later_version_with_more_fields_is_read() {
        let later = EXAMPLE.replacen("00", "01", 1) + "-more";
        assert_eq!(later.parse::<Traceparent>().unwrap().to_string(), EXAMPLE);
    }

    #[test]
    fn outside_of_a_span_there_is_no_place() {
        assert_eq!(current_traceparent(), None);
    }
}
