//! The gRPC server: every service behind rate limits and authentication, with reflection and
//! health.
//!
//! The caller passes the listener and the stop token. After the stop token is cancelled, the server
//! accepts no new calls and ends those that wait.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use orchid_kit::tasks::TaskGroup;
use orchid_proto::DESCRIPTOR_SET;
use orchid_proto::admin::v1::tenant_service_server::{self as tenants, TenantServiceServer};
use orchid_proto::executor::v1::executor_service_server::{self as executors, ExecutorServiceServer};
use orchid_proto::v1::config_service_server::{self as configs, ConfigServiceServer};
use orchid_proto::v1::execution_service_server::{self as executions, ExecutionServiceServer};
use orchid_proto::v1::integration_service_server::{self as integrations, IntegrationServiceServer};
use orchid_proto::v1::plan_service_server::{self as plans, PlanServiceServer};
use orchid_proto::v1::schedule_service_server::{self as schedules, ScheduleServiceServer};
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::api::authentication::{AuthLayer, Authenticator};
use crate::api::decoding::MAX_MESSAGE_BYTES;
use crate::api::known_tenants::KnownTenants;
use crate::api::{ApiContext, health, request_limits, services};
use crate::settings::{AuthMode, Settings};

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECTION_AGE_MS: u64 = 5 * 60 * 1000;
/// Time that calls have to end on an aged connection; longer than the longest poll and unary call.
const CONNECTION_AGE_GRACE: Duration = Duration::from_secs(70);

const SERVICES: [&str; 7] = [
    integrations::SERVICE_NAME,
    configs::SERVICE_NAME,
    plans::SERVICE_NAME,
    schedules::SERVICE_NAME,
    executions::SERVICE_NAME,
    executors::SERVICE_NAME,
    tenants::SERVICE_NAME,
];

/// The server could not start or failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is in use or not local.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Cause.
        source: io::Error,
    },
    /// The embedded descriptor set is invalid.
    #[error("cannot serve reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// Serving failed.
    #[error("serving failed")]
    Serve(#[from] tonic::transport::Error),
}

/// An open port.
pub struct GrpcListener {
    incoming: TcpIncoming,
    /// Its address, with the actual port.
    pub address: SocketAddr,
}

/// Opens the port.
///
/// # Errors
/// Fails if the address is in use or not local.
pub fn listen(address: SocketAddr) -> Result<GrpcListener, ServeError> {
    let refuse = |source| ServeError::Bind { address, source };
    // Nagle's algorithm would delay a response by up to 40 ms.
    let incoming = TcpIncoming::bind(address).map_err(refuse)?.with_nodelay(Some(true));
    let address = incoming.local_addr().map_err(refuse)?;
    Ok(GrpcListener { incoming, address })
}

/// Serves until the stop token of `tasks` is cancelled and running calls have ended.
///
/// `jitter`, a random number from 0 to 1, spreads the maximum age of connections: otherwise the
/// clients of replicas that started together would reconnect together.
///
/// # Errors
/// Fails if reflection cannot be built; the returned future fails if serving does.
pub fn serve(
    api: Arc<ApiContext>,
    settings: Settings,
    listening: GrpcListener,
    tasks: &mut TaskGroup,
    jitter: f64,
) -> Result<impl Future<Output = Result<(), ServeError>> + Send + use<>, ServeError> {
    let stop = tasks.stop_token();
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let report = health::report(reporter, SERVICES.to_vec(), api.databases.clone(), stop.clone());
    tasks.start("health", report);
    tasks.start("watches", api.watches.clone().serve());

    if settings.auth == AuthMode::Development {
        tracing::warn!(
            "DEVELOPMENT MODE: callers are not authenticated; anyone who reaches this port can act as any tenant and as operator"
        );
    }
    let known_tenants = Arc::new(KnownTenants::default());
    let limits = request_limits::build_limits(&settings.requests, api.sealer.clone(), known_tenants.clone());
    if let Some(limits) = &limits {
        tasks.start("request limits", request_limits::remove_idle_clients(limits.clone(), stop.clone()));
    }
    let authenticator = Authenticator {
        mode: settings.auth,
        pool_tokens: settings.pool_tokens,
        sealer: api.sealer.clone(),
        databases: api.databases.clone(),
        known_tenants,
    };
    // Health and reflection are services like the others, but need no permission.
    let routes = routes(&api).add_service(health_service);
    let routes = with_reflection(routes)?;
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "minutes"
    )]
    let age_ms = (CONNECTION_AGE_MS as f64 * (0.9 + 0.2 * jitter)) as u64;
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_connection_age(Duration::from_millis(age_ms))
        .max_connection_age_grace(CONNECTION_AGE_GRACE)
        .layer(tower::util::option_layer(limits.as_ref().map(request_limits::layer)))
        .layer(AuthLayer(Arc::new(authenticator)))
        .add_routes(routes);
    // The rate limits are the outermost layer: refusing a flood must not cost database lookups.
    Ok(async move {
        server.serve_with_incoming_shutdown(listening.incoming, stop.cancelled_owned()).await?;
        Ok(())
    })
}

macro_rules! service {
    ($server:ident, $service:expr) => {
        $server::new($service)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Zstd)
    };
}

fn routes(api: &Arc<ApiContext>) -> Routes {
    Routes::new(service!(IntegrationServiceServer, services::IntegrationHandler(api.clone())))
        .add_service(service!(ConfigServiceServer, services::ConfigHandler(api.clone())))
        .add_service(service!(PlanServiceServer, services::PlanHandler(api.clone())))
        .add_service(service!(ScheduleServiceServer, services::ScheduleHandler(api.clone())))
        .add_service(service!(ExecutionServiceServer, services::ExecutionHandler(api.clone())))
        .add_service(service!(ExecutorServiceServer, services::ExecutorHandler(api.clone())))
        .add_service(service!(TenantServiceServer, services::TenantHandler(api.clone())))
}

/// Adds reflection in both versions: grpcurl and most tools still use the older one.
fn with_reflection(routes: Routes) -> Result<Routes, ServeError> {
    let configure = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Lets tools print the details of errors.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes.add_service(configure().build_v1()?).add_service(configure().build_v1alpha()?))
}
