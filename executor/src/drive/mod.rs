//! Drive: one run, from its grant to the answer of its last report.
//!
//! In: a grant with its lease. Out: requests, messages, checkpoints, and at the end one Complete, Park or Release. The
//! engine decides what is done and this station does it; it decides only when to save, when to hold back, and when to
//! stop waiting. It never touches another run's lease.

mod close;
mod ending;
mod pace;
mod prepare;
mod run;
mod saver;
mod tries;
mod waits;

use std::sync::Arc;
use std::time::Duration;

use orchid_kit::telemetry;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::beat::Fence;
use crate::control::{Replicas, Session};
use crate::fetch::Fetcher;
use crate::plans::{Known, Plans};
use crate::report::{Assignment, ReleaseReason, Reporter};
use crate::sink::Sink;
use crate::worker::Lease;
use ending::{Exit, system_failure};
use prepare::{Prepared, Refusal, prepare};
use run::Run;
use saver::Saver;

/// What all runs of the process share.
pub struct Parts {
    /// Makes what sends the requests of a run.
    pub fetcher: Fetcher,
    /// Sends messages.
    pub sink: Sink,
    /// Reports to the control plane.
    pub reporter: Reporter,
    /// For contexts that are fetched apart.
    pub replicas: Arc<Replicas>,
    /// Compiled plans.
    pub plans: Plans,
    /// Until when the process may work.
    pub fence: Arc<Fence>,
    /// A run parks when Kafka acknowledged nothing of it for so long.
    pub sink_timeout: Duration,
    /// Largest message.
    pub message_max_bytes: usize,
    /// Cancelled: runs stop and are handed back.
    pub hand_back: CancellationToken,
}

/// A grant to be run.
pub struct Granted {
    /// What to run.
    pub assignment: Assignment,
    /// The right to.
    pub lease: Lease,
    /// The session that it was granted to.
    pub session: Arc<Session>,
    /// The definitions that the acquire call said are known here.
    pub known: Arc<Known>,
}

/// Runs one grant to its end. Returns when the lease needs no more beats.
pub async fn drive(parts: Arc<Parts>, granted: Granted) {
    let identity = &granted.assignment.identity;
    let span = tracing::info_span!(
        "attempt",
        execution_id = %identity.execution_id,
        tenant_id = %identity.tenant_id,
        plan_key = identity.plan_key,
        attempt = identity.attempt,
        fence = identity.fence,
    );
    if let Some(trigger) = &granted.assignment.traceparent {
        telemetry::set_parent(&span, trigger);
    }
    attempt(&parts, granted).instrument(span).await;
}

async fn attempt(parts: &Parts, granted: Granted) {
    let Granted { assignment, lease, session, known } = granted;
    let seq = assignment.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.seq);
    let saved = assignment.checkpoint.as_ref().and_then(|checkpoint| checkpoint.saved.clone());
    let mut saver = Saver::new(parts.reporter.clone(), &lease, seq, saved.as_ref());
    if parts.hand_back.is_cancelled() {
        close::report(&mut saver, &lease, None, Exit::Release(ReleaseReason::NeverStarted)).await;
        return;
    }
    let cancel = assignment.cancel_requested;
    let prepared = match prepare(parts, &session, &known, &lease, assignment, saved).await {
        Ok(prepared) => prepared,
        Err(Refusal::Lost) => return,
        Err(Refusal::Start { code, message }) => {
            tracing::error!(code, message, "run cannot start");
            close::report(&mut saver, &lease, None, system_failure(code, message)).await;
            return;
        }
    };
    let Prepared { machine, agent, started } = prepared;
    tracing::info!(resumed = saver.resumes(), "run begins");
    let mut run = Run::new(parts, &lease, agent, machine, saver);
    run.announce(&started);
    let exit = run.go(cancel).await;
    let (mut saver, mut machine) = run.into_rest();
    close::report(&mut saver, &lease, Some(&mut machine), exit).await;
}
