//! From a grant to a machine that can begin.
//!
//! In: a grant. Out: the engine's machine, and the event of its beginning; or why it cannot start.

use std::time::Duration;

use orchid_engine::{
    AttemptSpec, CurrentTime, ExecutionLimits, Machine, Message, SavedCheckpoint, TraceContext, message,
};
use orchid_kit::backoff::Backoff;
use orchid_kit::clock;
use orchid_kit::telemetry::{self, Traceparent};
use orchid_proto::executor::v1 as wire;

use crate::control::{Session, is_retryable, is_session_gone};
use crate::drive::Parts;
use crate::fetch::Agent;
use crate::plans::Known;
use crate::report::{Assignment, Kept};
use crate::worker::{Lease, Order};

/// Room for what a batch adds to the messages in it.
const FRAMING_BYTES: usize = 1024;

pub(crate) struct Prepared {
    pub(crate) machine: Machine,
    pub(crate) agent: Agent,
    pub(crate) started: Message,
}

pub(crate) enum Refusal {
    /// The lease went while it was prepared.
    Lost,
    /// It can never start.
    Start { code: &'static str, message: String },
}

pub(crate) async fn prepare(
    parts: &Parts,
    session: &Session,
    known: &Known,
    lease: &Lease,
    assignment: Assignment,
    resume: Option<SavedCheckpoint>,
) -> Result<Prepared, Refusal> {
    let definition = parts
        .plans
        .get(&assignment.definition, known, session.limits.max_nesting_depth)
        .map_err(|error| Refusal::Start { code: "PLAN_UNREADABLE", message: error.to_string() })?;
    let agent = parts
        .fetcher
        .agent(&assignment.transport)
        .map_err(|error| Refusal::Start { code: "TRANSPORT_UNREADABLE", message: error.to_string() })?;
    let Kept { context, cursors } = match assignment.kept {
        Some(kept) => kept,
        None => kept_apart(parts, session, lease).await?,
    };
    let trace = trace_context(assignment.traceparent);
    let progress = resume.as_ref().map(|saved| saved.progress.clone()).unwrap_or_default();
    let now = CurrentTime { wall: clock::utc_now(), monotonic: Duration::ZERO };
    let started = message::started(&assignment.identity, &trace, &progress, now);
    let job = AttemptSpec {
        identity: assignment.identity,
        definition,
        config: assignment.config,
        context,
        cursors,
        resume,
        limits: ExecutionLimits {
            park_after: session.limits.park_after,
            message_max_bytes: parts.message_max_bytes.saturating_sub(FRAMING_BYTES),
            body_max_bytes: session.limits.max_body_bytes,
        },
        trace,
        seed: rand::random(),
        time_used: assignment.ran,
    };
    let machine = Machine::new(job)
        .map_err(|error| Refusal::Start { code: "RUN_UNREADABLE", message: error.to_string() })?;
    Ok(Prepared { machine, agent, started })
}

/// Asks for context and cursors until they come or the lease is lost.
async fn kept_apart(parts: &Parts, session: &Session, lease: &Lease) -> Result<Kept, Refusal> {
    let unreadable = |message| Refusal::Start { code: "CONTEXT_UNREADABLE", message };
    let mut orders = lease.orders();
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
    loop {
        let request = wire::FetchContextRequest { lease_token: lease.token().clone() };
        match parts.replicas.fetch_context(session, request).await {
            Ok(response) => {
                return Kept::try_from(response).map_err(|error| unreadable(error.to_string()));
            }
            Err(status) if is_retryable(&status) => {
                let wait = tokio::time::timeout(
                    backoff.next_delay(),
                    orders.wait_for(|order| *order == Order::Lost),
                );
                if wait.await.is_ok() {
                    return Err(Refusal::Lost);
                }
            }
            Err(status) => {
                tracing::warn!(%status, "context not granted");
                return if is_session_gone(&status) || lease.order() == Order::Lost {
                    Err(Refusal::Lost)
                } else {
                    Err(unreadable(status.message().to_owned()))
                };
            }
        }
    }
}

/// Messages carry the place of the attempt's span; without spans, one made up below the trigger's.
fn trace_context(trigger: Option<Traceparent>) -> TraceContext {
    let place = telemetry::current_traceparent().unwrap_or_else(|| {
        let own = Traceparent::random();
        let below = trigger.and_then(|trigger| {
            let flags = u8::from(trigger.sampled());
            format!("00-{}-{}-{flags:02x}", trigger.trace_id_hex(), own.span_id_hex()).parse().ok()
        });
        below.unwrap_or(own)
    });
    TraceContext { traceparent: place.to_string(), tracestate: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_spans_messages_still_belong_to_the_triggers_trace() {
        let trigger = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let made = trace_context(trigger.parse().ok()).traceparent;
        let made: Traceparent = made.parse().unwrap();
        assert_eq!(made.trace_id_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(made.span_id_hex(), "00f067aa0ba902b7");
    }
}
