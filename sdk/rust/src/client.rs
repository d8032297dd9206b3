//! The connection, and the service clients over it.

use std::time::Duration;

use orchid_proto::{
    admin::v1::tenant_service_client::TenantServiceClient,
    v1::{
        config_service_client::ConfigServiceClient, execution_service_client::ExecutionServiceClient,
        integration_service_client::IntegrationServiceClient, plan_service_client::PlanServiceClient,
        schedule_service_client::ScheduleServiceClient,
    },
};
use tonic::{
    codec::CompressionEncoding,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use crate::{Credentials, Error, RequestInterceptor};

/// What the service clients are generic over: one HTTP/2 connection, and the caller's identity on each call.
pub type InterceptedChannel = InterceptedService<Channel, RequestInterceptor>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);
/// The server accepts pings 10 s apart or more.
const KEEPALIVE: Duration = Duration::from_secs(20);
const MESSAGE_LIMIT: usize = 16 << 20;

/// A connection to the control plane. Cheap to clone; clones share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    authorize: RequestInterceptor,
}

macro_rules! services {
    ($($(#[$doc:meta])* $name:ident: $service:ident,)*) => {
        impl Client {
            $($(#[$doc])*
            pub fn $name(&self) -> $service<InterceptedChannel> {
                $service::with_interceptor(self.channel.clone(), self.authorize.clone())
                    .send_compressed(CompressionEncoding::Gzip)
                    .accept_compressed(CompressionEncoding::Gzip)
                    .max_decoding_message_size(MESSAGE_LIMIT)
            })*
        }
    };
}

services! {
    /// Integrations and their config schemas.
    integrations: IntegrationServiceClient,
    /// Configs.
    configs: ConfigServiceClient,
    /// Plans, their revisions, and triggers.
    plans: PlanServiceClient,
    /// Schedules.
    schedules: ScheduleServiceClient,
    /// Executions.
    executions: ExecutionServiceClient,
    /// Tenants; for operators.
    tenants: TenantServiceClient,
}

impl Client {
    /// Connects to `host:port`, `http://host:port` or `https://host:port`.
    pub async fn connect(endpoint: &str, credentials: Credentials) -> Result<Self, Error> {
        let authorize = RequestInterceptor::new(credentials, DEFAULT_DEADLINE);
        let channel = address(endpoint)?
            .connect()
            .await
            .map_err(|source| Error::Unreachable { endpoint: endpoint.to_owned(), source: source.into() })?;
        Ok(Self { channel, authorize })
    }

    /// Another deadline for calls that answer once, instead of 30 s. Streams have none.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.authorize = RequestInterceptor::new(self.authorize.into_credentials(), deadline);
        self
    }

    /// The same connection for somebody else.
    #[must_use]
    pub fn acting_as(&self, credentials: Credentials) -> Self {
        Self { channel: self.channel.clone(), authorize: self.authorize.with_credentials(credentials) }
    }
}

fn address(endpoint: &str) -> Result<Endpoint, Error> {
    let invalid = |reason: String| Error::InvalidEndpoint { endpoint: endpoint.to_owned(), reason };
    let with_scheme =
        if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
    let address = Endpoint::from_shared(with_scheme).map_err(|error| invalid(error.to_string()))?;
    if address.uri().port().is_none() && address.uri().scheme_str() == Some("http") {
        return Err(invalid("it names no port".to_owned()));
    }
    address
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_while_idle(false)
        .tcp_nodelay(true)
        .user_agent(concat!("orchid-sdk-rust/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_a_port_or_with_junk_is_refused_with_its_text() {
        for endpoint in ["localhost", "", "http://", "not a host:7400"] {
            let error = address(endpoint).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("`{endpoint}` is not an endpoint")),
                "{endpoint}: {error}"
            );
        }
    }

    #[test]
    fn a_scheme_may_be_left_out() {
        assert_eq!(address("127.0.0.1:7400").unwrap().uri().to_string(), "http://127.0.0.1:7400/");
        assert_eq!(address("https://orchid.example").unwrap().uri().scheme_str(), Some("https"));
    }

    #[tokio::test]
    async fn where_nobody_listens_is_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = Client::connect(&endpoint, Credentials::Development { tenant: None }).await.unwrap_err();
        assert!(error.is_unreachable(), "{error}");
        assert!(error.to_string().starts_with(&format!("cannot reach {endpoint}")), "{error}");
    }
}
