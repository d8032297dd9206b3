//! Rate limits per client: a tenant, the session of an executor, or else a peer address.
//!
//! The limits apply before authentication. A tenant only counts if it was found lately, and a
//! session only if its token is genuine: otherwise a client could get a fresh allowance with every
//! made-up id or token. The first call of a tenant counts for its address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use http::{Request, Response};
use orchid_kit::clock;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};
use uuid::Uuid;

use crate::api::known_tenants::KnownTenants;
use crate::api::{authentication, error};
use crate::commands::fleet::Session;
use crate::keys::TokenSealer;
use crate::settings::RequestSettings;

/// Time between two removals of idle clients.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(60);

/// Identity that requests are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ClientKey {
    Tenant(Uuid),
    Session(Uuid),
    Peer(Option<IpAddr>),
}

/// Extracts the [`ClientKey`] of a request.
#[derive(Clone)]
pub(crate) struct ClientKeyExtractor {
    sealer: Arc<TokenSealer>,
    known_tenants: Arc<KnownTenants>,
}

impl KeyExtractor for ClientKeyExtractor {
    type Key = ClientKey;

    fn extract<T>(&self, request: &Request<T>) -> Result<ClientKey, GovernorError> {
        let headers = request.headers();
        if let Ok(tenant_id) = authentication::tenant_header(headers)
            && self.known_tenants.exists(tenant_id, clock::monotonic()) == Some(true)
        {
            return Ok(ClientKey::Tenant(tenant_id));
        }
        if let Some(token) = authentication::session_header(headers)
            && let Ok(session) = Session::open(&self.sealer, token)
        {
            return Ok(ClientKey::Session(session.id));
        }
        let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        Ok(ClientKey::Peer(peer.map(|address| address.ip())))
    }
}

pub(crate) type RequestLimits = Arc<GovernorConfig<ClientKeyExtractor, NoOpMiddleware>>;

/// Builds the limits of the settings; none if they are zero.
pub(crate) fn build_limits(
    settings: &RequestSettings,
    sealer: Arc<TokenSealer>,
    known_tenants: Arc<KnownTenants>,
) -> Option<RequestLimits> {
    let mut builder = GovernorConfigBuilder::default();
    let period = Duration::from_secs(1) / settings.per_second.max(1);
    builder.period(period).burst_size(settings.burst);
    builder.key_extractor(ClientKeyExtractor { sealer, known_tenants }).finish().map(Arc::new)
}

/// Returns the layer that refuses requests over the limits.
pub(crate) fn layer(limits: &RequestLimits) -> GovernorLayer<ClientKeyExtractor, NoOpMiddleware, Body> {
    GovernorLayer::new(limits.clone()).error_handler(|refusal| refuse(&refusal))
}

fn refuse(refusal: &GovernorError) -> Response<Body> {
    let message = match refusal {
        GovernorError::TooManyRequests { wait_time, .. } => {
            format!("too many requests: try again in {} s", (*wait_time).max(1))
        }
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => "too many requests".to_owned(),
    };
    error::plain(Code::ResourceExhausted, "TOO_MANY_REQUESTS", message).into_http()
}

/// Removes idle clients at intervals, until `stop` is cancelled.
pub(crate) async fn remove_idle_clients(limits: RequestLimits, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(CLEANUP_INTERVAL) => limits.limiter().retain_recent(),
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::keys::MasterKeys;

    #[test]
    fn invalid_session_and_unknown_tenant_are_counted_by_address() {
        let key = STANDARD.encode([1; 32]);
        let sealer = Arc::new(TokenSealer::new(MasterKeys::new(("k", &key), []).unwrap().into()).unwrap());
        let session = Session { id: Uuid::from_u128(5), pool: "default".into() };
        let token = session.seal(&sealer).unwrap();
        let known_tenants = Arc::new(KnownTenants::default());
        let (known, missing) = (Uuid::from_u128(6), Uuid::from_u128(7));
        known_tenants.record(known, true, clock::monotonic());
        known_tenants.record(missing, false, clock::monotonic());
        let clients = ClientKeyExtractor { sealer, known_tenants };
        let client = |name: &str, value: &str| {
            clients.extract(&Request::builder().header(name, value).body(()).unwrap()).unwrap()
        };
        assert_eq!(client("x-orchid-session", &token), ClientKey::Session(session.id));
        assert_eq!(client("x-orchid-session", "made-up"), ClientKey::Peer(None));
        assert_eq!(client("x-tenant-id", &known.to_string()), ClientKey::Tenant(known));
        assert_eq!(client("x-tenant-id", &missing.to_string()), ClientKey::Peer(None));
        assert_eq!(client("x-tenant-id", &Uuid::from_u128(8).to_string()), ClientKey::Peer(None));
        assert_eq!(client("x-tenant-id", "made-up"), ClientKey::Peer(None));
    }
}
