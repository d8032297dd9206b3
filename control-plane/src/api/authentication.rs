//! Authenticates callers and checks their permission. The proto of every Orchid method declares the
//! permission that it requires; other methods (health, reflection) are open to everyone.
//!
//! The layer attaches a [`Caller`] to each request it admits. The tenant comes from the caller's
//! credentials, never from a field of the request.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use orchid_kit::settings::Secret;
use orchid_kit::{clock, telemetry};
use orchid_proto::{Permission, permission_of};
use subtle::ConstantTimeEq as _;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::api::known_tenants::KnownTenants;
use crate::api::{decoding, error};
use crate::commands::fleet::Session;
use crate::keys::TokenSealer;
use crate::settings::AuthMode;
use crate::store::db::Databases;
use crate::store::tenants;

const TENANT_HEADER: &str = "x-tenant-id";
const SESSION_HEADER: &str = "x-orchid-session";

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A user of a tenant.
    Tenant(Uuid),
    /// An operator of the installation.
    Operator,
    /// An executor that wants to join one of these pools, which its token is valid for.
    JoiningExecutor(Vec<String>),
    /// A registered executor.
    Session(Session),
}

/// Authenticates callers.
pub(crate) struct Authenticator {
    pub(crate) mode: AuthMode,
    pub(crate) pool_tokens: Vec<(String, Secret)>,
    pub(crate) sealer: Arc<TokenSealer>,
    pub(crate) databases: Databases,
    pub(crate) known_tenants: Arc<KnownTenants>,
}

impl Authenticator {
    /// Returns the caller of a method, or none for methods that are not Orchid's.
    ///
    /// # Errors
    /// Fails if credentials are missing or invalid, or if the tenant does not exist.
    async fn authenticate(&self, path: &str, headers: &HeaderMap) -> Result<Option<Caller>, Status> {
        match permission_of(path) {
            None => Ok(None),
            Some(Permission::TenantRead | Permission::TenantWrite) => match self.mode {
                AuthMode::Development => {
                    let tenant_id = tenant_header(headers)?;
                    self.check_tenant(tenant_id).await?;
                    Ok(Some(Caller::Tenant(tenant_id)))
                }
            },
            Some(Permission::Operator) => match self.mode {
                AuthMode::Development => Ok(Some(Caller::Operator)),
            },
            Some(Permission::FleetJoin) => joining_executor(&self.pool_tokens, headers).map(Some),
            Some(Permission::Fleet) => session(&self.sealer, headers).map(Some),
        }
    }

    async fn check_tenant(&self, tenant_id: Uuid) -> Result<(), Status> {
        let now = clock::monotonic();
        let exists = match self.known_tenants.exists(tenant_id, now) {
            Some(exists) => exists,
            None => {
                let found = tenants::by_id(&self.databases, tenant_id).await;
                let exists = found.map_err(|error| error::of_store(&error))?.is_some();
                self.known_tenants.record(tenant_id, exists, now);
                exists
            }
        };
        if exists {
            return Ok(());
        }
        let message = format!("tenant {tenant_id} of metadata {TENANT_HEADER} does not exist");
        Err(error::plain(Code::NotFound, "TENANT_NOT_FOUND", message))
    }
}

/// Returns the tenant named by the metadata, which development mode trusts.
pub(crate) fn tenant_header(headers: &HeaderMap) -> Result<Uuid, Status> {
    let refuse = |message: String| error::plain(Code::Unauthenticated, "TENANT_REQUIRED", message);
    let Some(value) = headers.get(TENANT_HEADER) else {
        let message = format!(
            "no tenant: send the tenant's UUID as metadata {TENANT_HEADER} (the server runs in development mode)"
        );
        return Err(refuse(message));
    };
    let text = value.to_str().unwrap_or_default();
    Uuid::try_parse(text).map_err(|_| refuse(format!("metadata {TENANT_HEADER} is not a UUID: {text:?}")))
}

/// Compares the presented token with that of every pool, in constant time: the time taken must not
/// reveal how much of a guess is right.
fn joining_executor(pool_tokens: &[(String, Secret)], headers: &HeaderMap) -> Result<Caller, Status> {
    let refuse = |message: &str| error::plain(Code::Unauthenticated, "POOL_TOKEN_REQUIRED", message);
    let presented = headers
        .get(http::header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or_else(|| refuse("no pool token: send it as metadata authorization: Bearer <token>"))?;
    // No early exit: every token is compared, whichever matches.
    let pools: Vec<String> = pool_tokens
        .iter()
        .filter(|(_, token)| bool::from(token.expose().as_bytes().ct_eq(presented.as_bytes())))
        .map(|(pool, _)| pool.clone())
        .collect();
    if pools.is_empty() {
        Err(refuse("the token is not valid for any pool"))
    } else {
        Ok(Caller::JoiningExecutor(pools))
    }
}

/// Returns the session token of a request.
pub(crate) fn session_header(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION_HEADER)?.to_str().ok()
}

fn session(sealer: &TokenSealer, headers: &HeaderMap) -> Result<Caller, Status> {
    let token = session_header(headers).ok_or_else(|| {
        let message =
            format!("no session token: send the one that Register returned as metadata {SESSION_HEADER}");
        error::plain(Code::Unauthenticated, "SESSION_REQUIRED", message)
    })?;
    Session::open(sealer, token).map(Caller::Session).map_err(error::fleet_status)
}

/// Adds authentication to all services.
#[derive(Clone)]
pub(crate) struct AuthLayer(pub(crate) Arc<Authenticator>);

impl<S> Layer<S> for AuthLayer {
    type Service = AuthService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        AuthService { authenticator: self.0.clone(), inner }
    }
}

/// A service that only receives authenticated requests.
#[derive(Clone)]
pub(crate) struct AuthService<S> {
    authenticator: Arc<Authenticator>,
    inner: S,
}

impl<S> Service<Request<Body>> for AuthService<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // `poll_ready` was called on `self.inner`, so that instance must serve the call; a clone
        // may not be ready.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let authenticator = self.authenticator.clone();
        let path = request.uri().path().to_owned();
        let span = tracing::info_span!("rpc", method = path.trim_start_matches('/'));
        if let Some(parent) =
            request.headers().get("traceparent").and_then(|value| value.to_str().ok()?.parse().ok())
        {
            telemetry::set_parent(&span, &parent);
        }
        let work = async move {
            match authenticator.authenticate(&path, request.headers()).await {
                Ok(caller) => {
                    if let Some(caller) = caller {
                        request.extensions_mut().insert(caller);
                    }
                    Ok(decoding::explain_refusal(inner.call(request).await?))
                }
                Err(status) => Ok(status.into_http()),
            }
        };
        Box::pin(work.instrument(span))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use http::HeaderValue;

    use super::*;
    use crate::keys::MasterKeys;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn missing_or_malformed_tenant_is_refused_with_advice() {
        let status = tenant_header(&HeaderMap::new()).unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(status.message().contains("x-tenant-id"), "{}", status.message());
        let status = tenant_header(&headers("x-tenant-id", "acme")).unwrap_err();
        assert!(status.message().contains("\"acme\""), "{}", status.message());
    }

    #[test]
    fn pool_token_is_valid_for_its_pools_only() {
        let tokens = [("default", "t1"), ("big", "t2"), ("also-big", "t2")]
            .map(|(pool, token)| (pool.to_owned(), Secret::new(token)));
        let join = |value| joining_executor(&tokens, &headers("authorization", value));
        assert_eq!(join("Bearer t1").unwrap(), Caller::JoiningExecutor(vec!["default".to_owned()]));
        assert_eq!(
            join("Bearer t2").unwrap(),
            Caller::JoiningExecutor(vec!["big".to_owned(), "also-big".to_owned()])
        );
        for bad in ["Bearer t", "Bearer ", "t1", "Basic t1", "Bearer t1 "] {
            assert_eq!(join(bad).unwrap_err().code(), Code::Unauthenticated, "{bad}");
        }
        assert!(!join("Bearer wrong").unwrap_err().message().contains("wrong"));
    }

    #[test]
    fn foreign_session_token_is_refused() {
        let key = |byte: u8| STANDARD.encode([byte; 32]);
        let sealer = |byte| TokenSealer::new(MasterKeys::new(("k", &key(byte)), []).unwrap().into()).unwrap();
        let made = Session { id: Uuid::from_u128(1), pool: "default".to_owned() };
        let token = made.seal(&sealer(1)).unwrap();
        let open = |byte, token: &str| session(&sealer(byte), &headers("x-orchid-session", token));
        assert_eq!(open(1, &token).unwrap(), Caller::Session(made));
        assert_eq!(open(2, &token).unwrap_err().code(), Code::Unauthenticated);
        assert_eq!(open(1, "x").unwrap_err().code(), Code::Unauthenticated);
    }
}
