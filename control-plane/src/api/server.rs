//! The gRPC port: every service, behind the limits and the door, with reflection and health.
//!
//! It takes its listener and its end from the caller; it stops taking calls when it is told to, and ends those that wait.

use std::{collections::HashMap, future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use orchid_kit::tasks::TaskGroup;
use orchid_proto::{
    DESCRIPTOR_SET,
    admin::v1::tenant_service_server::{self as tenants, TenantServiceServer},
    executor::v1::executor_service_server::{self as executors, ExecutorServiceServer},
    v1::{
        config_service_server::{self as configs, ConfigServiceServer},
        execution_service_server::{self as executions, ExecutionServiceServer},
        integration_service_server::{self as integrations, IntegrationServiceServer},
        plan_service_server::{self as plans, PlanServiceServer},
        schedule_service_server::{self as schedules, ScheduleServiceServer},
    },
};
use tonic::{
    codec::CompressionEncoding,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

use crate::{
    api::{
        ApiContext,
        authentication::{AuthLayer, Authenticator},
        health,
        message_size::MAX_MESSAGE_BYTES,
        request_limits, services,
    },
    settings::{AuthMode, Settings},
};

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECTION_AGE_MS: u64 = 5 * 60 * 1000;
/// Longer than the longest poll and the longest unary call.
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

/// The port could not be opened or served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The descriptor set of this build does not read.
    #[error("cannot serve reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// Serving failed.
    #[error("serving failed")]
    Serve(#[from] tonic::transport::Error),
}

/// A port that is open.
pub struct GrpcListener {
    incoming: TcpIncoming,
    /// Where.
    pub address: SocketAddr,
}

/// Opens the port.
pub fn listen(address: SocketAddr) -> Result<GrpcListener, ServeError> {
    let refuse = |source| ServeError::Bind { address, source };
    // Without nodelay a reply can wait 40 ms for the acknowledgement of the one before.
    let incoming = TcpIncoming::bind(address).map_err(refuse)?.with_nodelay(Some(true));
    let address = incoming.local_addr().map_err(refuse)?;
    Ok(GrpcListener { incoming, address })
}

/// Serves until the tasks' stop token is cancelled and the calls that were going have ended. `jitter` is drawn once, 0 to 1: it
/// keeps clients of replicas that started together from coming back together.
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
            "DEVELOPMENT MODE: whoever reaches this port is believed to be the tenant that x-tenant-id names, and may act as operator"
        );
    }
    let limits = request_limits::limits(&settings.requests, api.sealer.clone());
    if let Some(limits) = &limits {
        tasks.start("request limits", request_limits::forget(limits.clone(), stop.clone()));
    }
    let door = Authenticator {
        mode: settings.auth,
        pool_tokens: settings.pool_tokens,
        sealer: api.sealer.clone(),
        databases: api.databases.clone(),
        known_tenants: std::sync::Mutex::new(HashMap::new()),
    };
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
        .layer(AuthLayer(Arc::new(door)))
        .add_routes(routes);
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

/// Both versions: grpcurl and most tools still ask for the older one.
fn with_reflection(routes: Routes) -> Result<Routes, ServeError> {
    let configure = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that tools can print the details of errors.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes.add_service(configure().build_v1()?).add_service(configure().build_v1alpha()?))
}
