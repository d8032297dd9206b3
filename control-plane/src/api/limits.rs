//! How much one client may ask: keyed by its tenant, its session where it is an executor, else its address.
//!
//! This stands before the door, so a tenant is taken as it is claimed, and a session only where its token opens: otherwise anybody
//! could have a fresh allowance for every request.

use std::{net::IpAddr, sync::Arc, time::Duration};

use governor::middleware::NoOpMiddleware;
use http::{Request, Response};
use tokio_util::sync::CancellationToken;
use tonic::{Code, body::Body, transport::server::TcpConnectInfo};
use tower_governor::{
    GovernorError, GovernorLayer,
    governor::{GovernorConfig, GovernorConfigBuilder},
    key_extractor::KeyExtractor,
};
use uuid::Uuid;

use crate::{
    api::{auth, error},
    commands::fleet::Session,
    keys::Sealer,
    settings::RequestSettings,
};

/// How often clients that are quiet are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    Tenant(Uuid),
    Session(Uuid),
    Peer(Option<IpAddr>),
}

/// Finds out who is counted.
#[derive(Clone)]
pub(crate) struct Clients(Arc<Sealer>);

impl KeyExtractor for Clients {
    type Key = Client;

    fn extract<T>(&self, request: &Request<T>) -> Result<Client, GovernorError> {
        let headers = request.headers();
        if let Ok(tenant_id) = auth::tenant_header(headers) {
            return Ok(Client::Tenant(tenant_id));
        }
        if let Some(token) = auth::session_header(headers)
            && let Ok(session) = Session::open(&self.0, token)
        {
            return Ok(Client::Session(session.id));
        }
        let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        Ok(Client::Peer(peer.map(|address| address.ip())))
    }
}

pub(crate) type Limits = Arc<GovernorConfig<Clients, NoOpMiddleware>>;

/// The limits of the settings; none where they allow nothing.
pub(crate) fn limits(settings: &RequestSettings, sealer: Arc<Sealer>) -> Option<Limits> {
    let mut builder = GovernorConfigBuilder::default();
    let period = Duration::from_secs(1) / settings.per_second.max(1);
    builder.period(period).burst_size(settings.burst);
    builder.key_extractor(Clients(sealer)).finish().map(Arc::new)
}

/// The layer that refuses what is over them.
pub(crate) fn layer(limits: &Limits) -> GovernorLayer<Clients, NoOpMiddleware, Body> {
    GovernorLayer::new(limits.clone()).error_handler(|refusal| refuse(&refusal))
}

fn refuse(refusal: &GovernorError) -> Response<Body> {
    let message = match refusal {
        GovernorError::TooManyRequests { wait_time, .. } => {
            format!("too many requests of this client, the next is taken in {} s", (*wait_time).max(1))
        }
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => "too many requests".to_owned(),
    };
    error::plain(Code::ResourceExhausted, "TOO_MANY_REQUESTS", message).into_http()
}

/// Forgets clients that are quiet, until it is told to stop.
pub(crate) async fn forget(limits: Limits, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(FORGET_INTERVAL) => limits.limiter().retain_recent(),
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;
    use crate::keys::MasterKeys;

    #[test]
    fn a_session_that_does_not_open_is_counted_by_its_address() {
        let key = STANDARD.encode([1; 32]);
        let sealer = Arc::new(Sealer::new(&MasterKeys::new(("k", &key), None).unwrap()).unwrap());
        let session = Session { id: Uuid::from_u128(5), pool: "default".into() };
        let token = session.seal(&sealer).unwrap();
        let clients = Clients(sealer);
        let client = |name: &str, value: &str| {
            clients.extract(&Request::builder().header(name, value).body(()).unwrap()).unwrap()
        };
        assert_eq!(client("x-orchid-session", &token), Client::Session(session.id));
        assert_eq!(client("x-orchid-session", "made-up"), Client::Peer(None));
        assert_eq!(
            client("x-tenant-id", &Uuid::from_u128(6).to_string()),
            Client::Tenant(Uuid::from_u128(6))
        );
        assert_eq!(client("x-tenant-id", "made-up"), Client::Peer(None));
    }
}
