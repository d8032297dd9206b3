//! One acquire call, from its seq to the attempts that it starts.
//!
//! A call without a response is repeated with its own seq, so that the control plane returns what
//! it had granted to the lost response. When the call is given up, its seq counts as resolved
//! without leases, and the next heartbeat returns the grants to the queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use orchid_kit::backoff::Backoff;
use orchid_proto::executor::v1 as wire;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::control::{CallFailure, ControlPlaneClient, CurrentSession, Session, failure_of, requested_delay};
use crate::convert::{ExecutionGrant, to_i32, whole_ms};
use crate::lease::{LeaseRegistry, Liveness, SlotPermit};
use crate::plan_cache::{PinnedPlans, PlanCache};
use crate::runner::GrantedAttempt;
use crate::worker::AttemptStart;

/// Time after which a call is given up: by then, the doorbell may ring others for the same work.
const GIVE_UP_AFTER: Duration = Duration::from_secs(15);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(3);

/// Acquires leases. Clones share the session's seqs.
#[derive(Clone)]
pub(crate) struct LeaseRequester {
    pub(crate) control: Arc<ControlPlaneClient>,
    pub(crate) session: CurrentSession,
    pub(crate) leases: Arc<LeaseRegistry>,
    pub(crate) plans: Arc<PlanCache>,
    pub(crate) starts: mpsc::Sender<AttemptStart>,
    pub(crate) liveness: Liveness,
    pub(crate) stop: CancellationToken,
}

/// The work to acquire leases for.
pub(crate) enum LeaseRequest {
    /// Executions that the doorbell rang.
    Rung(Vec<wire::ExecutionRef>),
    /// Any execution of the pool. The server waits up to this long for one.
    Any(Duration),
}

impl LeaseRequester {
    /// Acquires up to one lease per slot. Returns the number of attempts started, or none when the
    /// call failed.
    pub(crate) async fn acquire(
        &self,
        session: &Arc<Session>,
        request: LeaseRequest,
        slots: Vec<SlotPermit>,
    ) -> Option<usize> {
        let seq = self.leases.begin_acquire(session.id)?;
        // Pinned until the attempts have started: the grants leave these definitions out.
        let pinned = Arc::new(self.plans.pin_all());
        let (rung, wait) = match request {
            LeaseRequest::Rung(rung) => (rung, Duration::ZERO),
            LeaseRequest::Any(wait) => (Vec::new(), wait),
        };
        let request = wire::AcquireLeasesRequest {
            acquire_seq: seq,
            max_leases: to_i32(slots.len()),
            executions: rung,
            wait_ms: whole_ms(wait),
            known_definitions: pinned.hashes(),
        };
        let response = tokio::select! {
            response = self.call(session, request) => response,
            () = self.stop.cancelled() => None,
        };
        // Without a response the seq is resolved with no leases, which returns the grants.
        let failed = response.is_none();
        let grants = response.map(|response| response.grants).unwrap_or_default();
        let started = self.start(session, seq, grants, &pinned, slots).await;
        (!failed).then_some(started)
    }

    /// Repeats the call until it succeeds, is given up, or the session is gone.
    async fn call(
        &self,
        session: &Session,
        mut request: wire::AcquireLeasesRequest,
    ) -> Option<wire::AcquireLeasesResponse> {
        let started_at = Instant::now();
        let mut backoff = Backoff::new(FIRST_DELAY, MAX_DELAY);
        loop {
            if !request.executions.is_empty() {
                // The doorbell's loop waits here: retrying counts as progress.
                self.liveness.renew();
            }
            let status: Status = match self.control.acquire_leases(session, request.clone()).await {
                Ok(response) => return Some(response),
                Err(status) => status,
            };
            let may_succeed_later = match failure_of(&status) {
                CallFailure::SessionGone => {
                    self.session.clear(session.id);
                    return None;
                }
                CallFailure::Passing => started_at.elapsed() <= GIVE_UP_AFTER,
                // The same call would most likely fail the same way, and it holds slots meanwhile.
                CallFailure::Internal | CallFailure::Refused => false,
            };
            if !may_succeed_later {
                tracing::warn!(%status, acquire_seq = request.acquire_seq, "acquire call given up");
                return None;
            }
            tracing::debug!(%status, acquire_seq = request.acquire_seq, "acquire call failed: retrying");
            tokio::time::sleep(backoff.next_delay().max(requested_delay(&status))).await;
            // A retry collects what is granted already; only the first call polls for new work.
            request.wait_ms = 0;
        }
    }

    /// Resolves the call, and passes each new lease with a slot to the worker.
    async fn start(
        &self,
        session: &Arc<Session>,
        seq: i64,
        grants: Vec<wire::LeaseGrant>,
        pinned: &Arc<PinnedPlans>,
        slots: Vec<SlotPermit>,
    ) -> usize {
        let mut by_lease = HashMap::with_capacity(grants.len());
        for grant in grants {
            match ExecutionGrant::try_from(grant) {
                Ok(grant) => {
                    by_lease.insert(grant.lease_id, grant);
                }
                // No heartbeat lists its lease, so the execution returns to the queue.
                Err(error) => tracing::error!(%error, "grant is invalid and goes back to the queue"),
            }
        }
        let tokens: Vec<_> =
            by_lease.values().map(|grant| (grant.lease_id, grant.lease_token.clone())).collect();
        let leases = self.leases.resolve_acquire(session.id, seq, tokens);
        let mut started = 0;
        // Slots left over are freed. Should the server grant more leases than there are slots, the
        // surplus handles are dropped, and the next heartbeat returns these leases.
        for (lease, slot) in leases.into_iter().zip(slots) {
            let Some(grant) = by_lease.remove(&lease.id()) else { continue };
            let attempt =
                GrantedAttempt { grant, lease, session: Arc::clone(session), pinned: Arc::clone(pinned) };
            if self.starts.send(AttemptStart { attempt, slot }).await.is_err() {
                break;
            }
            started += 1;
        }
        started
    }
}
