//! Prepares an attempt: compiles the plan, creates the HTTP agent, and builds the engine's machine.

use std::time::Duration;

use orchid_engine::{
    AttemptSpec, CurrentTime, ExecutionLimits, Machine, Message, SavedCheckpoint, TraceContext, message,
};
use orchid_kit::backoff::Backoff;
use orchid_kit::clock;
use orchid_kit::telemetry::{self, Traceparent};
use orchid_proto::executor::v1 as wire;

use crate::control::{CallFailure, MAX_INTERNAL_ERRORS, Session, failure_of};
use crate::convert::{ExecutionGrant, PersistedState};
use crate::fetch::FetchAgent;
use crate::lease::{LeaseCommand, LeaseHandle};
use crate::plan_cache::PinnedPlans;
use crate::runner::services::RunnerServices;

/// Room in a Kafka batch for what surrounds its messages.
const FRAMING_BYTES: usize = 1024;

/// An attempt that is ready to start.
pub(crate) struct PreparedAttempt {
    pub(crate) machine: Machine,
    pub(crate) agent: FetchAgent,
    /// The `execution.started` event.
    pub(crate) started: Message,
}

/// The reason why an attempt does not start.
pub(crate) enum PrepareError {
    /// The lease was lost meanwhile.
    LeaseLost,
    /// This executor cannot compile or resume the execution. One of another release may be able to.
    Unsupported { code: &'static str, message: String },
    /// The execution can never start and fails with this code and message.
    CannotStart { code: &'static str, message: String },
}

impl PrepareError {
    fn cannot_start(code: &'static str, error: impl ToString) -> Self {
        Self::CannotStart { code, message: error.to_string() }
    }

    fn unsupported(code: &'static str, error: impl ToString) -> Self {
        Self::Unsupported { code, message: error.to_string() }
    }
}

/// Prepares an attempt to start, or to resume from `saved`.
pub(crate) async fn prepare(
    services: &RunnerServices,
    session: &Session,
    pinned: &PinnedPlans,
    lease: &LeaseHandle,
    grant: ExecutionGrant,
    saved: Option<SavedCheckpoint>,
) -> Result<PreparedAttempt, PrepareError> {
    let definition = services
        .plans
        .get(&grant.definition, pinned, session.limits.max_nesting_depth)
        .map_err(|error| PrepareError::unsupported("PLAN_UNREADABLE", error))?;
    let agent = services
        .fetcher
        .agent(&grant.transport)
        .map_err(|error| PrepareError::cannot_start("TRANSPORT_UNREADABLE", error))?;
    let PersistedState { context, cursors } = match grant.persisted {
        Some(persisted) => persisted,
        None => fetch_persisted(services, session, lease).await?,
    };
    let trace = trace_context(grant.traceparent);
    let progress = saved.as_ref().map(|saved| saved.progress.clone()).unwrap_or_default();
    let now = CurrentTime { wall: clock::utc_now(), monotonic: Duration::ZERO };
    let started = message::started(&grant.identity, &trace, &progress, now);
    let job = AttemptSpec {
        identity: grant.identity,
        definition,
        config: grant.config,
        context,
        cursors,
        resume: saved,
        fresh_start_reason: grant.fresh_start_reason,
        limits: ExecutionLimits {
            park_after: session.limits.park_after,
            max_wait: session.limits.max_wait,
            message_max_bytes: services.message_max_bytes.saturating_sub(FRAMING_BYTES),
            body_max_bytes: session.limits.max_body_bytes,
            value_max_bytes: usize::try_from(agent.memory().budget_limit()).unwrap_or(usize::MAX),
        },
        trace,
        // Randomness is an input of the engine, so that runs can be replayed.
        seed: rand::random(),
        time_used: grant.time_used,
    };
    let machine = Machine::new(job).map_err(|error| PrepareError::unsupported("RUN_UNREADABLE", error))?;
    Ok(PreparedAttempt { machine, agent, started })
}

/// Fetches context and cursors. Repeats the call until it succeeds, is refused, or the lease is
/// lost.
async fn fetch_persisted(
    services: &RunnerServices,
    session: &Session,
    lease: &LeaseHandle,
) -> Result<PersistedState, PrepareError> {
    let mut commands = lease.commands();
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
    let mut internal_errors = 0;
    loop {
        let request = wire::FetchContextRequest { lease_token: lease.token().clone() };
        let status = match services.control.fetch_context(session, request).await {
            Ok(response) => {
                return PersistedState::try_from(response)
                    .map_err(|error| PrepareError::unsupported("CONTEXT_UNREADABLE", error));
            }
            Err(status) => status,
        };
        let failure = failure_of(&status);
        internal_errors += u32::from(failure == CallFailure::Internal);
        let may_succeed_later = match failure {
            // The lease is held meanwhile, so there is no reason to give up before it is lost.
            CallFailure::Passing => true,
            CallFailure::Internal => internal_errors < MAX_INTERNAL_ERRORS,
            CallFailure::SessionGone | CallFailure::Refused => false,
        };
        if may_succeed_later {
            let lost = commands.wait_for(|command| *command == LeaseCommand::Lost);
            if tokio::time::timeout(backoff.next_delay(), lost).await.is_ok() {
                return Err(PrepareError::LeaseLost);
            }
            continue;
        }
        tracing::warn!(%status, "context not available");
        return if failure == CallFailure::SessionGone || lease.command() == LeaseCommand::Lost {
            Err(PrepareError::LeaseLost)
        } else {
            Err(PrepareError::cannot_start("CONTEXT_UNREADABLE", status.message()))
        };
    }
}

/// Returns the trace context for messages: that of the current span. Where spans are not recorded,
/// a random span id within the trigger's trace.
fn trace_context(trigger: Option<Traceparent>) -> TraceContext {
    let traceparent = telemetry::current_traceparent().unwrap_or_else(|| {
        let random = Traceparent::random();
        let within_trigger = trigger.and_then(|trigger| {
            let flags = u8::from(trigger.sampled());
            format!("00-{}-{}-{flags:02x}", trigger.trace_id_hex(), random.span_id_hex()).parse().ok()
        });
        within_trigger.unwrap_or(random)
    });
    TraceContext { traceparent: traceparent.to_string(), tracestate: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_context_without_spans_stays_in_the_triggers_trace() {
        let trigger = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = trace_context(trigger.parse().ok()).traceparent;
        let context: Traceparent = context.parse().unwrap();
        assert_eq!(context.trace_id_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(context.span_id_hex(), "00f067aa0ba902b7");
    }
}
