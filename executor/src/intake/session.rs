//! Joining the fleet: registers, and registers again when the session is gone.
//!
//! In: who this executor is. Out: the current session, for everybody. When a session is gone its leases are lost in the same
//! moment and the fence is shut; the next one begins with nothing.

use std::sync::Arc;
use std::time::Duration;

use orchid_kit::backoff::Backoff;
use orchid_proto::executor::v1 as wire;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::beat::Fence;
use crate::control::{Replicas, Session, SessionCell, asked_delay};
use crate::settings::ExecutorSettings;
use crate::worker::Leases;

/// Keeps the process registered.
pub(crate) struct Registrar {
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) session: SessionCell,
    pub(crate) leases: Arc<Leases>,
    pub(crate) fence: Arc<Fence>,
    pub(crate) executor: Arc<ExecutorSettings>,
    pub(crate) stop: CancellationToken,
}

impl Registrar {
    /// Serves until told to stop.
    pub(crate) async fn serve(self) {
        loop {
            let session = tokio::select! {
                () = self.stop.cancelled() => return,
                session = self.register() => session,
            };
            let id = session.id;
            let mut watch = self.session.watch();
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = watch.wait_for(|current| current.as_ref().is_none_or(|current| current.id != id)) => {}
            }
            tracing::warn!(session = %id, "session is gone");
            self.leases.end_session(id);
            self.fence.shut();
        }
    }

    /// Registers until it succeeds.
    async fn register(&self) -> Arc<Session> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            let request = wire::RegisterRequest {
                name: self.executor.name.clone(),
                pool: self.executor.pool.clone(),
                slots: i32::try_from(self.executor.slots).unwrap_or(i32::MAX),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            };
            let sent = Instant::now();
            let asked = match self.replicas.register(request, self.executor.pool_token.expose()).await {
                Ok(answer) => match Session::try_from(answer) {
                    Ok(session) => return self.begin(session, sent),
                    Err(error) => {
                        tracing::error!(%error, "registration makes no sense");
                        Duration::ZERO
                    }
                },
                Err(status) => {
                    tracing::warn!(code = ?status.code(), message = status.message(), "not registered");
                    asked_delay(&status)
                }
            };
            tokio::time::sleep(backoff.next_delay().max(asked)).await;
        }
    }

    fn begin(&self, session: Session, sent: Instant) -> Arc<Session> {
        let session = Arc::new(session);
        self.leases.begin_session(session.id);
        self.fence.accepted(sent, Duration::ZERO, session.ttl);
        tracing::info!(session = %session.id, pool = self.executor.pool, "registered");
        self.session.set(Arc::clone(&session));
        session
    }
}
