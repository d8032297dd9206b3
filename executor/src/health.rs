//! The health port: `grpc.health.v1` for a supervisor's probes.
//!
//! The service `liveness` is serving while the process responds. `readiness`, and the server as a
//! whole (the empty name), are serving while the executor has a session, its fence is open, its
//! consume loop makes progress, and it is not draining.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::control::CurrentSession;
use crate::lease::{Liveness, SelfFence};

const LIVENESS: &str = "liveness";
const READINESS: [&str; 2] = ["", "readiness"];
const UPDATE_INTERVAL: Duration = Duration::from_millis(500);
/// Time without a turn after which the consume loop counts as stuck.
const STUCK_AFTER: Duration = Duration::from_secs(20);

/// The health service and the state that readiness depends on.
pub(crate) struct HealthService {
    pub(crate) session: CurrentSession,
    pub(crate) fence: Arc<SelfFence>,
    pub(crate) liveness: Liveness,
    pub(crate) draining: CancellationToken,
}

impl HealthService {
    /// Serves the port until `stop` is cancelled.
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let (reporter, service) = tonic_health::server::health_reporter();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, stop.cancelled());
        tokio::select! {
            result = server => {
                if let Err(error) = result {
                    tracing::error!(%error, "health port failed");
                }
            }
            () = self.update(reporter) => {}
        }
    }

    /// Updates the reported status for ever.
    async fn update(&self, reporter: HealthReporter) {
        reporter.set_service_status(LIVENESS, ServingStatus::Serving).await;
        loop {
            let status = if self.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing };
            for service in READINESS {
                reporter.set_service_status(service, status).await;
            }
            tokio::time::sleep(UPDATE_INTERVAL).await;
        }
    }

    fn is_ready(&self) -> bool {
        // A session with a closed fence has had no accepted heartbeat for too long.
        let joined = self.session.get().is_some() && self.fence.is_open();
        joined && self.liveness.age() < STUCK_AFTER && !self.draining.is_cancelled()
    }
}

/// Opens the health port and returns its listener and actual address.
pub(crate) async fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
