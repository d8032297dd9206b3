//! The connection to the control plane, and the service clients that use it.

use std::time::Duration;

use orchid_proto::admin::v1::tenant_service_client::TenantServiceClient;
use orchid_proto::v1::config_service_client::ConfigServiceClient;
use orchid_proto::v1::execution_service_client::ExecutionServiceClient;
use orchid_proto::v1::integration_service_client::IntegrationServiceClient;
use orchid_proto::v1::plan_service_client::PlanServiceClient;
use orchid_proto::v1::schedule_service_client::ScheduleServiceClient;
use tonic::codec::CompressionEncoding;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::credentials::{Credentials, RequestInterceptor};
use crate::error::Error;

/// The transport of the service clients: one HTTP/2 connection that adds the caller's identity and
/// a deadline to each call.
pub type InterceptedChannel = InterceptedService<Channel, RequestInterceptor>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);
/// Interval of HTTP/2 pings. The server accepts pings that are at least 10 s apart.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// Maximum size of a response message, in bytes.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// A client of the control plane. Clones are cheap and share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    interceptor: RequestInterceptor,
}

macro_rules! services {
    ($($(#[$doc:meta])* $name:ident: $service:ident,)*) => {
        impl Client {
            $($(#[$doc])*
            pub fn $name(&self) -> $service<InterceptedChannel> {
                $service::with_interceptor(self.channel.clone(), self.interceptor.clone())
                    .send_compressed(CompressionEncoding::Gzip)
                    .accept_compressed(CompressionEncoding::Gzip)
                    .max_decoding_message_size(MAX_MESSAGE_BYTES)
            })*
        }
    };
}

services! {
    /// Returns the client for integrations and their config schemas.
    integrations: IntegrationServiceClient,
    /// Returns the client for configs.
    configs: ConfigServiceClient,
    /// Returns the client for plans, their revisions, and triggers.
    plans: PlanServiceClient,
    /// Returns the client for schedules.
    schedules: ScheduleServiceClient,
    /// Returns the client for executions.
    executions: ExecutionServiceClient,
    /// Returns the client for tenants, which only operators may call.
    tenants: TenantServiceClient,
}

impl Client {
    /// Connects to `host:port`, `http://host:port` or `https://host:port`.
    ///
    /// # Errors
    /// Fails if the endpoint is malformed or no server accepts the connection.
    pub async fn connect(endpoint: &str, credentials: Credentials) -> Result<Self, Error> {
        let interceptor = RequestInterceptor::new(credentials, DEFAULT_DEADLINE);
        let channel = address(endpoint)?
            .connect()
            .await
            .map_err(|source| Error::Unreachable { endpoint: endpoint.to_owned(), source: source.into() })?;
        Ok(Self { channel, interceptor })
    }

    /// Sets the deadline of unary calls, which is 30 s by default. Streams have no deadline.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.interceptor = RequestInterceptor::new(self.interceptor.into_credentials(), deadline);
        self
    }

    /// Returns a client with other credentials on the same connection.
    #[must_use]
    pub fn with_credentials(&self, credentials: Credentials) -> Self {
        Self { channel: self.channel.clone(), interceptor: self.interceptor.with_credentials(credentials) }
    }
}

fn address(endpoint: &str) -> Result<Endpoint, Error> {
    let invalid = |reason: String| Error::InvalidEndpoint { endpoint: endpoint.to_owned(), reason };
    let with_scheme =
        if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
    let address = Endpoint::from_shared(with_scheme).map_err(|error| invalid(error.to_string()))?;
    // `http` would silently use port 80, where no control plane listens.
    if address.uri().port().is_none() && address.uri().scheme_str() == Some("http") {
        return Err(invalid("the port is missing".to_owned()));
    }
    address
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_while_idle(false)
        .tcp_nodelay(true)
        .user_agent(concat!("orchid-sdk-rust/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_endpoint_error_contains_its_text() {
        for endpoint in ["localhost", "", "http://", "not a host:7400"] {
            let error = address(endpoint).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("`{endpoint}` is not an endpoint")),
                "{endpoint}: {error}"
            );
        }
    }

    #[test]
    fn scheme_is_optional() {
        assert_eq!(address("127.0.0.1:7400").unwrap().uri().to_string(), "http://127.0.0.1:7400/");
        assert_eq!(address("https://orchid.example").unwrap().uri().scheme_str(), Some("https"));
    }

    #[tokio::test]
    async fn closed_port_is_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = Client::connect(&endpoint, Credentials::Development { tenant: None }).await.unwrap_err();
        assert!(error.is_unreachable(), "{error}");
        assert!(error.to_string().starts_with(&format!("cannot reach {endpoint}")), "{error}");
    }
}
