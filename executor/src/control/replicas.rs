//! Channels to two replicas of the control plane, and which of them to ask.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use orchid_proto::executor::v1 as wire;
use orchid_proto::executor::v1::executor_service_client::ExecutorServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::control::Session;
use crate::settings::ControlPlaneSettings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The server takes pings that are at least 10 s apart.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Beyond what the server held a long poll for.
const POLL_GRACE: Duration = Duration::from_secs(10);
const MAX_MESSAGE_BYTES: usize = 32 << 20;

type Client = ExecutorServiceClient<Channel>;

/// Clients of the control plane. One set serves one runtime: the heartbeat's thread has its own.
pub struct Replicas {
    endpoints: Vec<Endpoint>,
    /// Two open channels; the first is asked.
    open: Mutex<Open>,
}

struct Open {
    clients: [Client; 2],
    next_endpoint: usize,
    /// Counts the change-overs, so that many calls that fail together change over once.
    epoch: u64,
}

impl Replicas {
    /// Connects when first asked. `start` chooses where in the list to begin, so that executors spread.
    pub fn new(settings: &ControlPlaneSettings, start: usize) -> Result<Replicas, tonic::transport::Error> {
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
        let clients = [open(&endpoints, start), open(&endpoints, start + 1)];
        Ok(Replicas { endpoints, open: Mutex::new(Open { clients, next_endpoint: start + 2, epoch: 0 }) })
    }

    /// Opens a session by the pool's token.
    pub async fn register(
        &self,
        request: wire::RegisterRequest,
        pool_token: &str,
    ) -> Result<wire::RegisterResponse, Status> {
        let bearer: MetadataValue<Ascii> = format!("Bearer {pool_token}")
            .parse()
            .map_err(|_| Status::invalid_argument("pool_token cannot be sent in a header"))?;
        let mut request = Request::new(request);
        request.metadata_mut().insert("authorization", bearer);
        self.call(CALL_TIMEOUT, |mut client| async move { client.register(request).await }).await
    }

    /// Asks for leases.
    pub async fn acquire_leases(
        &self,
        session: &Session,
        request: wire::AcquireLeasesRequest,
    ) -> Result<wire::AcquireLeasesResponse, Status> {
        let polled = Duration::from_millis(u64::try_from(request.wait_ms).unwrap_or(0));
        let request = session.sign(request);
        self.call(polled + POLL_GRACE, |mut client| async move { client.acquire_leases(request).await }).await
    }

    /// The context that was too large for its grant.
    pub async fn fetch_context(
        &self,
        session: &Session,
        request: wire::FetchContextRequest,
    ) -> Result<wire::FetchContextResponse, Status> {
        let request = session.sign(request);
        self.call(CALL_TIMEOUT, |mut client| async move { client.fetch_context(request).await }).await
    }

    /// One beat.
    pub async fn heartbeat(
        &self,
        session: &Session,
        request: wire::HeartbeatRequest,
        limit: Duration,
    ) -> Result<wire::HeartbeatResponse, Status> {
        let request = session.sign(request);
        self.call(limit, |mut client| async move { client.heartbeat(request).await }).await
    }

    /// Saves progress.
    pub async fn checkpoint(
        &self,
        session: &Session,
        request: wire::CheckpointRequest,
    ) -> Result<wire::CheckpointResponse, Status> {
        let request = session.sign(request);
        self.call(CALL_TIMEOUT, |mut client| async move { client.checkpoint(request).await }).await
    }

    /// Ends executions.
    pub async fn complete(
        &self,
        session: &Session,
        request: wire::CompleteRequest,
    ) -> Result<wire::CompleteResponse, Status> {
        let request = session.sign(request);
        self.call(CALL_TIMEOUT, |mut client| async move { client.complete(request).await }).await
    }

    /// Hands executions back until a time.
    pub async fn park(
        &self,
        session: &Session,
        request: wire::ParkRequest,
    ) -> Result<wire::ParkResponse, Status> {
        let request = session.sign(request);
        self.call(CALL_TIMEOUT, |mut client| async move { client.park(request).await }).await
    }

    /// Hands executions back at once.
    pub async fn release(
        &self,
        session: &Session,
        request: wire::ReleaseRequest,
    ) -> Result<wire::ReleaseResponse, Status> {
        let request = session.sign(request);
        self.call(CALL_TIMEOUT, |mut client| async move { client.release(request).await }).await
    }

    async fn call<T, F>(&self, limit: Duration, send: impl FnOnce(Client) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let (client, epoch) = self.first();
        let answer = match tokio::time::timeout(limit, send(client)).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!("no answer within {} ms", limit.as_millis()))),
        };
        if let Err(status) = &answer
            && matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Unknown)
        {
            self.change_over(epoch);
        }
        answer
    }

    fn first(&self) -> (Client, u64) {
        let open = self.lock();
        (open.clients[0].clone(), open.epoch)
    }

    /// The second channel becomes the first; the one that failed makes room for the next replica in the list.
    fn change_over(&self, epoch: u64) {
        let mut state = self.lock();
        if state.epoch != epoch {
            return;
        }
        let fresh = open(&self.endpoints, state.next_endpoint);
        let [_, second] = &state.clients;
        state.clients = [second.clone(), fresh];
        state.next_endpoint = state.next_endpoint.wrapping_add(1);
        state.epoch += 1;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(endpoints: &[Endpoint], index: usize) -> Client {
    let endpoint = &endpoints[index % endpoints.len()];
    Client::new(endpoint.connect_lazy())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}
