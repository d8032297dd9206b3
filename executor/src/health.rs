//! The health port: `grpc.health.v1` for a supervisor's probes.
//!
//! `liveness` says that the process answers; `readiness`, and the whole server (the empty name), that it is registered,
//! may work, and that its consume loop goes round.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::beat::Fence;
use crate::control::SessionCell;
use crate::intake::Pulse;

const LIVENESS: &str = "liveness";
const READINESS: [&str; 2] = ["", "readiness"];
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A consume loop that did not go round for so long is stuck.
const STUCK: Duration = Duration::from_secs(20);

/// What readiness depends on.
pub(crate) struct Health {
    pub(crate) session: SessionCell,
    pub(crate) fence: Arc<Fence>,
    pub(crate) pulse: Pulse,
    pub(crate) draining: CancellationToken,
}

impl Health {
    fn is_ready(&self) -> bool {
        let joined = self.session.get().is_some() && self.fence.is_open();
        joined && self.pulse.age() < STUCK && !self.draining.is_cancelled()
    }

    async fn report(&self, reporter: HealthReporter) {
        reporter.set_service_status(LIVENESS, ServingStatus::Serving).await;
        loop {
            let status = if self.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing };
            for service in READINESS {
                reporter.set_service_status(service, status).await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Serves the port until told to stop.
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let (reporter, service) = tonic_health::server::health_reporter();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, stop.cancelled());
        tokio::select! {
            result = server => {
                if let Err(error) = result {
                    tracing::error!(%error, "health port broke");
                }
            }
            () = self.report(reporter) => {}
        }
    }
}

/// Opens the port; answers its address, too.
pub(crate) async fn listen(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
