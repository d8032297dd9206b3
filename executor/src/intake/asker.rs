//! One request for leases, from its seq to the runs that it starts.
//!
//! In: what to ask for, and slots to run it in. Out: grants, handed to the worker with a slot each. A call without an answer
//! is repeated with its own seq, so that grants of the lost answer are found again; when it is given up, the next
//! heartbeat sends them back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use orchid_kit::backoff::Backoff;
use orchid_proto::executor::v1 as wire;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::control::{Replicas, Session, SessionCell, asked_delay, is_retryable, is_session_gone};
use crate::drive::{Granted, Parts};
use crate::intake::Pulse;
use crate::plans::Known;
use crate::report::{Assignment, whole};
use crate::worker::{Leases, Slot, Start};

/// A rung call is given up after this: others may be rung for the same work by then.
const GIVE_UP: Duration = Duration::from_secs(15);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(3);

/// Asks for leases. Clones ask for the same session.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) session: SessionCell,
    pub(crate) leases: Arc<Leases>,
    pub(crate) parts: Arc<Parts>,
    pub(crate) starts: mpsc::Sender<Start>,
    pub(crate) pulse: Pulse,
    pub(crate) stop: CancellationToken,
}

/// What is asked for.
pub(crate) enum Ask {
    /// Executions that the doorbell rang.
    Rung(Vec<wire::ExecutionRef>),
    /// Anything of the pool; waits so long for work to come.
    Any(Duration),
}

impl Asker {
    /// Asks for as many leases as there are slots; answers how many runs were started.
    pub(crate) async fn ask(&self, session: &Arc<Session>, ask: Ask, slots: Vec<Slot>) -> usize {
        let Some(seq) = self.leases.begin_acquire(session.id) else { return 0 };
        let known = Arc::new(self.parts.plans.known());
        let (rung, wait) = match ask {
            Ask::Rung(rung) => (rung, Duration::ZERO),
            Ask::Any(wait) => (Vec::new(), wait),
        };
        let request = wire::AcquireLeasesRequest {
            acquire_seq: seq,
            max_leases: i32::try_from(slots.len()).unwrap_or(i32::MAX),
            executions: rung,
            wait_ms: whole(wait.as_millis()),
            known_definitions: known.hashes(),
        };
        let answer = tokio::select! {
            answer = self.call(session, request) => answer,
            () = self.stop.cancelled() => None,
        };
        let grants = answer.map(|answer| answer.grants).unwrap_or_default();
        self.start(session, seq, grants, &known, slots).await
    }

    /// Repeats the call until it is answered, given up, or the session is gone.
    async fn call(
        &self,
        session: &Session,
        mut request: wire::AcquireLeasesRequest,
    ) -> Option<wire::AcquireLeasesResponse> {
        let begun = Instant::now();
        let mut backoff = Backoff::new(FIRST_DELAY, MAX_DELAY);
        loop {
            if !request.executions.is_empty() {
                self.pulse.beat();
            }
            let status: Status = match self.replicas.acquire_leases(session, request.clone()).await {
                Ok(answer) => return Some(answer),
                Err(status) => status,
            };
            if is_session_gone(&status) {
                self.session.lost(session.id);
                return None;
            }
            if !is_retryable(&status) || begun.elapsed() > GIVE_UP {
                tracing::warn!(%status, acquire_seq = request.acquire_seq, "acquire call given up");
                return None;
            }
            tracing::debug!(%status, acquire_seq = request.acquire_seq, "acquire call not answered");
            tokio::time::sleep(backoff.next_delay().max(asked_delay(&status))).await;
            request.wait_ms = 0;
        }
    }

    async fn start(
        &self,
        session: &Arc<Session>,
        seq: i64,
        grants: Vec<wire::LeaseGrant>,
        known: &Arc<Known>,
        slots: Vec<Slot>,
    ) -> usize {
        let mut assignments = HashMap::with_capacity(grants.len());
        for grant in grants {
            match Assignment::try_from(grant) {
                Ok(assignment) => {
                    assignments.insert(assignment.lease_id, assignment);
                }
                // It is not listed in any beat, and so goes back to the queue.
                Err(error) => tracing::error!(%error, "grant cannot be run"),
            }
        }
        let tokens: Vec<_> =
            assignments.values().map(|granted| (granted.lease_id, granted.lease_token.clone())).collect();
        let leases = self.leases.settle_acquire(session.id, seq, tokens);
        let mut started = 0;
        for (lease, slot) in leases.into_iter().zip(slots) {
            let Some(assignment) = assignments.remove(&lease.id()) else { continue };
            let granted =
                Granted { assignment, lease, session: Arc::clone(session), known: Arc::clone(known) };
            if self.starts.send(Start { granted, slot }).await.is_err() {
                break;
            }
            started += 1;
        }
        started
    }
}
