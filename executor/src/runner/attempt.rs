//! One attempt, from its grant to the response to its final report.

use std::sync::Arc;

use orchid_kit::telemetry;
use tracing::Instrument as _;

use crate::control::Session;
use crate::convert::{ExecutionGrant, ReleaseReason};
use crate::lease::LeaseHandle;
use crate::plan_cache::PinnedPlans;
use crate::runner::attempt_loop::AttemptLoop;
use crate::runner::checkpoint_writer::CheckpointWriter;
use crate::runner::exit::{AttemptExit, system_failure, unsupported};
use crate::runner::finish::finish_attempt;
use crate::runner::prepare::{PrepareError, PreparedAttempt, prepare};
use crate::runner::services::RunnerServices;

/// A granted attempt, ready to run.
pub struct GrantedAttempt {
    /// The grant.
    pub grant: ExecutionGrant,
    /// The lease; dropped when the attempt has ended.
    pub lease: LeaseHandle,
    /// The session that received the grant.
    pub session: Arc<Session>,
    /// The definitions that the acquire call listed as known.
    pub pinned: Arc<PinnedPlans>,
}

/// Runs one attempt to its end. Returns when heartbeats no longer need to list its lease.
pub async fn run_attempt(services: Arc<RunnerServices>, attempt: GrantedAttempt) {
    let identity = &attempt.grant.identity;
    let span = tracing::info_span!(
        "attempt",
        execution_id = %identity.execution_id,
        tenant_id = %identity.tenant_id,
        plan_key = identity.plan_key,
        attempt = identity.attempt,
        fence = identity.fence,
    );
    if let Some(trigger) = &attempt.grant.traceparent {
        telemetry::set_parent(&span, trigger);
    }
    run(&services, attempt).instrument(span).await;
}

async fn run(services: &RunnerServices, attempt: GrantedAttempt) {
    let GrantedAttempt { grant, lease, session, pinned } = attempt;
    let seq = grant.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.seq);
    let saved = grant.checkpoint.as_ref().and_then(|checkpoint| checkpoint.saved.clone());
    let mut writer = CheckpointWriter::new(services.reporter.clone(), &lease, seq, saved.as_ref());
    // Granted while the drain began: released before anything of it is visible.
    if services.hand_back.is_cancelled() {
        let exit = AttemptExit::Release(ReleaseReason::NeverStarted);
        finish_attempt(&mut writer, &lease, None, exit).await;
        return;
    }
    let (cancel, tenant_id) = (grant.cancel_requested, grant.identity.tenant_id);
    let prepared = match prepare(services, &session, &pinned, &lease, grant, saved).await {
        Ok(prepared) => prepared,
        Err(PrepareError::LeaseLost) => return,
        Err(PrepareError::Unsupported { code, message }) => {
            tracing::error!(code, message, "execution cannot start here: another executor may be able to");
            finish_attempt(&mut writer, &lease, None, unsupported(code, message)).await;
            return;
        }
        Err(PrepareError::CannotStart { code, message }) => {
            tracing::error!(code, message, "execution cannot start");
            finish_attempt(&mut writer, &lease, None, system_failure(code, message)).await;
            return;
        }
    };
    let PreparedAttempt { machine, agent, started } = prepared;
    tracing::info!(resumed = writer.is_resumed(), "attempt started");
    // The loop owns machine and writer while it runs, and returns them for the final report.
    let mut attempt_loop = AttemptLoop::new(services, &lease, agent, machine, writer, tenant_id);
    attempt_loop.send_started(&started);
    let exit = attempt_loop.run(cancel).await;
    let (mut writer, mut machine) = attempt_loop.into_parts();
    finish_attempt(&mut writer, &lease, Some(&mut machine), exit).await;
}
