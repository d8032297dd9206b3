//! Keeps this process registered: registers, and registers again when the session is gone.
//!
//! When a session is gone, its leases are lost and the fence closes at the same moment. The next
//! session starts without leases.

use std::sync::Arc;
use std::time::Duration;

use orchid_kit::backoff::Backoff;
use orchid_proto::executor::v1 as wire;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::control::{ControlPlaneClient, CurrentSession, Session, requested_delay};
use crate::convert::to_i32;
use crate::lease::{LeaseRegistry, SelfFence};
use crate::settings::ExecutorSettings;

/// Keeps this process registered.
pub(crate) struct SessionRegistrar {
    pub(crate) control: Arc<ControlPlaneClient>,
    pub(crate) session: CurrentSession,
    pub(crate) leases: Arc<LeaseRegistry>,
    pub(crate) fence: Arc<SelfFence>,
    pub(crate) executor: Arc<ExecutorSettings>,
    pub(crate) stop: CancellationToken,
}

impl SessionRegistrar {
    /// Serves until `stop` is cancelled.
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
            tracing::warn!(session = %id, "session is gone: registering again");
            self.leases.end_session(id);
            self.fence.close();
        }
    }

    /// Repeats the registration until it succeeds.
    async fn register(&self) -> Arc<Session> {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            let request = wire::RegisterRequest {
                name: self.executor.name.clone(),
                pool: self.executor.pool.clone(),
                slots: to_i32(self.executor.slots),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            };
            // Taken before the call: the session's lifetime may count from then on.
            let sent = Instant::now();
            let requested = match self.control.register(request, self.executor.pool_token.expose()).await {
                Ok(response) => match Session::try_from(response) {
                    Ok(session) => return self.begin(session, sent),
                    Err(error) => {
                        tracing::error!(%error, "registration response is invalid");
                        Duration::ZERO
                    }
                },
                Err(status) => {
                    tracing::warn!(code = ?status.code(), message = status.message(), "registration failed");
                    requested_delay(&status)
                }
            };
            tokio::time::sleep(backoff.next_delay().max(requested)).await;
        }
    }

    fn begin(&self, session: Session, sent: Instant) -> Arc<Session> {
        let session = Arc::new(session);
        // The registry must know the session and the fence must be open before others see it.
        self.leases.begin_session(session.id);
        self.fence.extend(sent, Duration::ZERO, session.ttl);
        tracing::info!(session = %session.id, pool = self.executor.pool, "registered");
        self.session.set(Arc::clone(&session));
        session
    }
}
