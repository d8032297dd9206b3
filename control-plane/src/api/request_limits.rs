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
    api::{authentication, error},
    commands::fleet::Session,
    keys::TokenSealer,
    settings::RequestSettings,
};

/// How often clients that are quiet are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ClientKey {
    Tenant(Uuid),
    Session(Uuid),
    Peer(Option<IpAddr>),
}

/// Finds out who is counted.
#[derive(Clone)]
pub(crate) struct ClientKeyExtractor(Arc<TokenSealer>);

impl KeyExtractor for ClientKeyExtractor {
    type Key = ClientKey;

    fn extract<T>(&self, request: &Request<T>) -> Result<ClientKey, GovernorError> {
        let headers = request.headers();
        if let Ok(tenant_id) = authentication::tenant_header(headers) {
            return Ok(ClientKey::Tenant(tenant_id));
        }
        if let Some(token) = authentication::session_header(headers)
            && let Ok(session) = Session::open(&self.0, token)
        {
            return Ok(ClientKey::Session(session.id));
        }
        let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        Ok(ClientKey::Peer(peer.map(|address| address.ip())))
    }
}

pub(crate) type RequestLimits = Arc<GovernorConfig<ClientKeyExtractor, NoOpMiddleware>>;

/// The limits of the settings; none where they allow nothing.
pub(crate) fn limits(settings: &RequestSettings, sealer: Arc<TokenSealer>) -> Option<RequestLimits> {
    let mut builder = GovernorConfigBuilder::default();
    let period = Duration::from_secs(1) / settings.per_second.max(1);
    builder.period(period).burst_size(settings.burst);
    builder.key_extractor(ClientKeyExtractor(sealer)).finish().map(Arc::new)
}

/// The layer that refuses what is over them.
pub(crate) fn layer(limits: &RequestLimits) -> GovernorLayer<ClientKeyExtractor, NoOpMiddleware, Body> {
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
pub(crate) async fn forget(limits: RequestLimits, stop: CancellationToken) {
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
        let sealer = Arc::new(TokenSealer::new(&MasterKeys::new(("k", &key), None).unwrap()).unwrap());
        let session = Session { id: Uuid::from_u128(5), pool: "default".into() };
        let token = session.seal(&sealer).unwrap();
        let clients = ClientKeyExtractor(sealer);
        let client = |name: &str, value: &str| {
            clients.extract(&Request::builder().header(name, value).body(()).unwrap()).unwrap()
        };
        assert_eq!(client("x-orchid-session", &token), ClientKey::Session(session.id));
        assert_eq!(client("x-orchid-session", "made-up"), ClientKey::Peer(None));
        assert_eq!(
            client("x-tenant-id", &Uuid::from_u128(6).to_string()),
            ClientKey::Tenant(Uuid::from_u128(6))
        );
        assert_eq!(client("x-tenant-id", "made-up"), ClientKey::Peer(None));
    }
}
