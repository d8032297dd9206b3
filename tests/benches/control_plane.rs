//! A control plane that grants everything at once, accepts every report, and records only
//! completions.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchid_proto::executor::v1 as wire;
use orchid_proto::executor::v1::executor_service_server::{ExecutorService, ExecutorServiceServer};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use uuid::Uuid;

pub(crate) const STREAM: &str = "bench:{default:0}:jobs";
const TTL_MS: i64 = 30_000;

#[derive(Default)]
struct GrantingState {
    registered: bool,
    ready: Vec<wire::LeaseGrant>,
    completes: Vec<wire::CompleteItem>,
    /// Executions that were parked or released, which no measurement expects.
    returned: Vec<String>,
}

/// A running control plane; ends when dropped.
pub(crate) struct ControlPlane {
    pub(crate) address: SocketAddr,
    service: GrantingService,
    _server: JoinSet<()>,
}

#[derive(Clone)]
struct GrantingService {
    state: Arc<Mutex<GrantingState>>,
    changed: Arc<Notify>,
    max_body_bytes: i64,
}

impl ControlPlane {
    /// Starts a control plane that tells executors this limit on bodies.
    pub(crate) async fn start(max_body_bytes: u64) -> ControlPlane {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let service = GrantingService {
            state: Arc::default(),
            changed: Arc::default(),
            max_body_bytes: i64::try_from(max_body_bytes).expect("a size"),
        };
        let served = ExecutorServiceServer::new(service.clone());
        let mut server = JoinSet::new();
        server.spawn(async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            tonic::transport::Server::builder()
                .add_service(served)
                .serve_with_incoming(incoming)
                .await
                .expect("it serves");
        });
        ControlPlane { address, service, _server: server }
    }

    /// Waits until an executor has registered.
    pub(crate) async fn registered(&self) {
        self.until(|state| state.registered.then_some(())).await;
    }

    /// Makes grants available to the next acquire call.
    pub(crate) fn offer(&self, grants: &[wire::LeaseGrant]) {
        self.service.lock().ready.extend_from_slice(grants);
    }

    /// Waits until `runs` executions have completed, and takes their reports.
    pub(crate) async fn ends(&self, runs: usize) -> Vec<wire::CompleteItem> {
        self.until(|state| {
            assert!(state.returned.is_empty(), "executions came back: {:?}", state.returned);
            (state.completes.len() >= runs).then(|| std::mem::take(&mut state.completes))
        })
        .await
    }

    async fn until<T>(&self, mut check: impl FnMut(&mut GrantingState) -> Option<T>) -> T {
        loop {
            let changed = self.service.changed.notified();
            if let Some(value) = check(&mut self.service.lock()) {
                return value;
            }
            changed.await;
        }
    }
}

impl GrantingService {
    fn lock(&self) -> MutexGuard<'_, GrantingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut GrantingState)) {
        change(&mut self.lock());
        self.changed.notify_waiters();
    }
}

fn ok(checkpoint: Option<&wire::CheckpointItem>) -> wire::ItemResult {
    let token = checkpoint.map(|checkpoint| checkpoint.lease_token.as_ref()).unwrap_or_default();
    wire::ItemResult {
        lease_id: String::from_utf8_lossy(token).into_owned(),
        status: wire::LeaseStatus::Ok.into(),
        ..wire::ItemResult::default()
    }
}

#[tonic::async_trait]
impl ExecutorService for GrantingService {
    async fn register(
        &self,
        _: Request<wire::RegisterRequest>,
    ) -> Result<Response<wire::RegisterResponse>, Status> {
        self.change(|state| state.registered = true);
        Ok(Response::new(wire::RegisterResponse {
            session_token: "session".to_owned(),
            session_id: Uuid::now_v7().to_string(),
            ttl_ms: TTL_MS,
            heartbeat_interval_ms: TTL_MS / 3,
            doorbell_streams: vec![STREAM.to_owned()],
            doorbell_group: "executors".to_owned(),
            park_after_ms: 30_000,
            max_wait_ms: 86_400_000,
            max_body_bytes: self.max_body_bytes,
            max_nesting_depth: 5,
        }))
    }

    async fn acquire_leases(
        &self,
        request: Request<wire::AcquireLeasesRequest>,
    ) -> Result<Response<wire::AcquireLeasesResponse>, Status> {
        let wire::AcquireLeasesRequest { acquire_seq, max_leases, .. } = request.into_inner();
        let mut state = self.lock();
        let most = usize::try_from(max_leases).unwrap_or_default().min(state.ready.len());
        let grants = state.ready.drain(..most).collect();
        Ok(Response::new(wire::AcquireLeasesResponse { acquire_seq, grants, refused: Vec::new() }))
    }

    async fn fetch_context(
        &self,
        _: Request<wire::FetchContextRequest>,
    ) -> Result<Response<wire::FetchContextResponse>, Status> {
        Ok(Response::new(wire::FetchContextResponse::default()))
    }

    async fn heartbeat(
        &self,
        request: Request<wire::HeartbeatRequest>,
    ) -> Result<Response<wire::HeartbeatResponse>, Status> {
        let beat = request.into_inner();
        let instructions = beat.leases.iter().map(|lease| wire::LeaseInstruction {
            lease_id: String::from_utf8_lossy(&lease.lease_token).into_owned(),
            command: wire::LeaseCommand::Continue.into(),
        });
        Ok(Response::new(wire::HeartbeatResponse {
            heartbeat_seq: beat.heartbeat_seq,
            held_ms: 0,
            ttl_ms: TTL_MS,
            heartbeat_interval_ms: TTL_MS / 3,
            instructions: instructions.collect(),
            drain: false,
            announcements: Vec::new(),
        }))
    }

    async fn checkpoint(
        &self,
        request: Request<wire::CheckpointRequest>,
    ) -> Result<Response<wire::CheckpointResponse>, Status> {
        let results = request.into_inner().items.iter().map(|item| ok(Some(item))).collect();
        Ok(Response::new(wire::CheckpointResponse { results }))
    }

    async fn complete(
        &self,
        request: Request<wire::CompleteRequest>,
    ) -> Result<Response<wire::CompleteResponse>, Status> {
        let items = request.into_inner().items;
        let results = items.iter().map(|item| ok(item.checkpoint.as_ref())).collect();
        self.change(|state| state.completes.extend(items));
        Ok(Response::new(wire::CompleteResponse { results, announcements: Vec::new(), acquired: None }))
    }

    async fn park(
        &self,
        request: Request<wire::ParkRequest>,
    ) -> Result<Response<wire::ParkResponse>, Status> {
        let items = request.into_inner().items;
        let results = items.iter().map(|item| ok(item.checkpoint.as_ref())).collect();
        self.change(|state| state.returned.extend(items.into_iter().map(|item| item.reason)));
        Ok(Response::new(wire::ParkResponse { results }))
    }

    async fn release(
        &self,
        request: Request<wire::ReleaseRequest>,
    ) -> Result<Response<wire::ReleaseResponse>, Status> {
        let items = request.into_inner().items;
        let results = items.iter().map(|item| ok(item.checkpoint.as_ref())).collect();
        self.change(|state| state.returned.extend(items.iter().map(|_| "released".to_owned())));
        Ok(Response::new(wire::ReleaseResponse { results }))
    }
}
