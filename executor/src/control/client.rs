//! Calls to the control plane, over channels to two of its replicas.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orchid_proto::executor::v1 as wire;
use orchid_proto::executor::v1::executor_service_client::ExecutorServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::control::session::Session;
use crate::settings::ControlPlaneSettings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The server closes connections that ping more often than every 10 s.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Added to the time for which the server may hold a long poll.
const POLL_GRACE: Duration = Duration::from_secs(10);
const MAX_MESSAGE_BYTES: usize = 32 << 20;

type GrpcClient = ExecutorServiceClient<Channel>;

/// A client of the control plane.
///
/// One client serves one runtime, because a channel's connection lives on the runtime that opened
/// it. The heartbeat's thread has its own client.
pub struct ControlPlaneClient {
    endpoints: Vec<Endpoint>,
    channels: Mutex<ChannelPair>,
}

/// The two open channels. Calls go to the first; the second is ready to take over.
struct ChannelPair {
    clients: [GrpcClient; 2],
    next_endpoint: usize,
    /// Number of switch-overs so far. It lets many calls that fail together switch over only once.
    epoch: u64,
}

impl ControlPlaneClient {
    /// Creates a client that connects with its first call. `start` selects the replica in the list
    /// to begin with, so that executors spread over the replicas.
    ///
    /// # Errors
    ///
    /// Fails when TLS cannot be set up for an `https` URL.
    pub fn new(settings: &ControlPlaneSettings, start: usize) -> Result<Self, tonic::transport::Error> {
        let mut endpoints = Vec::with_capacity(settings.urls.len());
        for url in &settings.urls {
            let mut endpoint = Endpoint::from(url.clone())
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .keep_alive_while_idle(true);
            if url.scheme_str() == Some("https") {
                endpoint = endpoint.tls_config(ClientTlsConfig::new().with_enabled_roots())?;
            }
            endpoints.push(endpoint);
        }
        let clients = [open_channel(&endpoints, start), open_channel(&endpoints, start + 1)];
        let channels = Mutex::new(ChannelPair { clients, next_endpoint: start + 2, epoch: 0 });
        Ok(Self { endpoints, channels })
    }

    /// Opens a session, authorized by the pool's token.
    ///
    /// # Errors
    ///
    /// Like all calls here, returns the server's status, or `DeadlineExceeded` when no replica
    /// responds in time.
    pub async fn register(
        &self,
        request: wire::RegisterRequest,
        pool_token: &str,
    ) -> Result<wire::RegisterResponse, Status> {
        let bearer: MetadataValue<Ascii> = format!("Bearer {pool_token}").parse().map_err(|_| {
            Status::invalid_argument("pool_token contains characters that no header may hold")
        })?;
        let mut request = Request::new(request);
        request.metadata_mut().insert("authorization", bearer);
        self.call(CALL_TIMEOUT, |mut client| async move { client.register(request).await }).await
    }

    /// Acquires leases. Waits up to `wait_ms` of the request for work.
    ///
    /// # Errors
    ///
    /// See [`register`](Self::register).
    pub async fn acquire_leases(
        &self,
        session: &Session,
        request: wire::AcquireLeasesRequest,
    ) -> Result<wire::AcquireLeasesResponse, Status> {
        let wait = Duration::from_millis(u64::try_from(request.wait_ms).unwrap_or(0));
        let request = session.sign(request);
        self.call(wait + POLL_GRACE, |mut client| async move { client.acquire_leases(request).await }).await
    }

    /// Fetches a context that is too large for its grant.
    ///
    /// # Errors
    ///
    /// See [`register`](Self::register).
    pub async fn fetch_context(
        &self,
        session: &Session,
        request: wire::FetchContextRequest,
    ) -> Result<wire::FetchContextResponse, Status> {
        let request = session.sign(request);
        self.call(CALL_TIMEOUT, |mut client| async move { client.fetch_context(request).await }).await
    }

    /// Sends one heartbeat, with the given timeout.
    ///
    /// # Errors
    ///
    /// See [`register`](Self::register).
    pub async fn heartbeat(
        &self,
        session: &Session,
        request: wire::HeartbeatRequest,
        timeout: Duration,
    ) -> Result<wire::HeartbeatResponse, Status> {
        let request = session.sign(request);
        self.call(timeout, |mut client| async move { client.heartbeat(request).await }).await
    }

    /// Saves checkpoints.
    ///
    /// # Errors
    ///
    /// See [`register`](Self::register).
    pub async fn checkpoint(
        &self,
        session: &Session,
        request: wire::CheckpointRequest,
    ) -> Result<wire::CheckpointResponse, Status> {
        let request = session.sign(request);
        self.call(CALL_TIMEOUT, |mut client| async move { client.checkpoint(request).await }).await
    }

    /// Ends executions.
    ///
    /// # Errors
    ///
    /// See [`register`](Self::register).
    pub async fn complete(
        &self,
        session: &Session,
        request: wire::CompleteRequest,
    ) -> Result<wire::CompleteResponse, Status> {
        let request = session.sign(request);
        self.call(CALL_TIMEOUT, |mut client| async move { client.complete(request).await }).await
    }

    /// Hands executions back, to be continued at a later time.
    ///
    /// # Errors
    ///
    /// See [`register`](Self::register).
    pub async fn park(
        &self,
        session: &Session,
        request: wire::ParkRequest,
    ) -> Result<wire::ParkResponse, Status> {
        let request = session.sign(request);
        self.call(CALL_TIMEOUT, |mut client| async move { client.park(request).await }).await
    }

    /// Hands executions back, to be continued at once by another executor.
    ///
    /// # Errors
    ///
    /// See [`register`](Self::register).
    pub async fn release(
        &self,
        session: &Session,
        request: wire::ReleaseRequest,
    ) -> Result<wire::ReleaseResponse, Status> {
        let request = session.sign(request);
        self.call(CALL_TIMEOUT, |mut client| async move { client.release(request).await }).await
    }

    async fn call<T, F>(&self, timeout: Duration, send: impl FnOnce(GrpcClient) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let (client, epoch) = self.first_client();
        let result = match tokio::time::timeout(timeout, send(client)).await {
            Ok(result) => result.map(Response::into_inner),
            Err(_) => {
                Err(Status::deadline_exceeded(format!("no response within {} ms", timeout.as_millis())))
            }
        };
        if let Err(status) = &result
            // tonic reports some transport errors as Unknown.
            && matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Unknown)
        {
            self.switch_over(epoch);
        }
        result
    }

    fn first_client(&self) -> (GrpcClient, u64) {
        let channels = self.lock();
        (channels.clients[0].clone(), channels.epoch)
    }

    /// Makes the second channel the first, and replaces the failed one by a channel to the next
    /// replica in the list. Does nothing if another call has switched over since `epoch`.
    fn switch_over(&self, epoch: u64) {
        let mut channels = self.lock();
        if channels.epoch != epoch {
            return;
        }
        let fresh = open_channel(&self.endpoints, channels.next_endpoint);
        let [_, second] = &channels.clients;
        channels.clients = [second.clone(), fresh];
        channels.next_endpoint = channels.next_endpoint.wrapping_add(1);
        channels.epoch += 1;
    }

    fn lock(&self) -> MutexGuard<'_, ChannelPair> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_channel(endpoints: &[Endpoint], index: usize) -> GrpcClient {
    let endpoint = &endpoints[index % endpoints.len()];
    // Connects with the first call, so that an unreachable replica costs nothing until it is
    // needed.
    GrpcClient::new(endpoint.connect_lazy())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}
