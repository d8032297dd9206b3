//! A scripted control plane: it grants what the test queues, records every call, and loses
//! responses on demand.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use orchid_proto::executor::v1 as wire;
use orchid_proto::executor::v1::executor_service_server::{ExecutorService, ExecutorServiceServer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use uuid::Uuid;

pub(crate) const POOL_TOKEN: &str = "pool-token";
pub(crate) const STREAM: &str = "test:{default:0}:jobs";
pub(crate) const GROUP: &str = "executors";

/// The script of the control plane, and the calls it has received.
#[derive(Default)]
pub(crate) struct ControlPlaneState {
    pub(crate) ttl_ms: i64,
    pub(crate) sessions: Vec<String>,
    /// Grants to hand out, once each.
    pub(crate) ready: Vec<wire::LeaseGrant>,
    /// Grants of each acquire call of the current session, by seq.
    granted: HashMap<i64, Vec<wire::LeaseGrant>>,
    /// Number of further acquire responses to lose after their grants were made.
    pub(crate) lost_acquire_responses: u32,
    /// Grants nothing to calls that ask for any work.
    pub(crate) only_rung: bool,
    /// Refuses heartbeats as if unavailable.
    pub(crate) ignore_heartbeats: bool,
    /// Refuses heartbeats of the current session as expired.
    pub(crate) expire_session: bool,
    /// Refuses Complete calls as if unavailable.
    pub(crate) hold_completes: bool,
    /// Fails at Complete calls that end one of these leases as succeeded.
    pub(crate) poisoned: Vec<bytes::Bytes>,
    /// Number of further acquire calls to fail at.
    pub(crate) failed_acquires: u32,
    /// The result of every checkpoint, if it is to be refused.
    pub(crate) refuse_checkpoints: Option<wire::ItemResult>,
    /// Commands other than "continue", by lease id.
    pub(crate) commands: HashMap<String, wire::LeaseCommand>,
    /// Announcements that are not confirmed yet.
    pub(crate) announcements: Vec<wire::Announcement>,
    pub(crate) acquires: Vec<wire::AcquireLeasesRequest>,
    pub(crate) heartbeats: Vec<wire::HeartbeatRequest>,
    pub(crate) checkpoints: Vec<wire::CheckpointItem>,
    pub(crate) completes: Vec<wire::CompleteItem>,
    pub(crate) parks: Vec<wire::ParkItem>,
    pub(crate) releases: Vec<wire::ReleaseItem>,
}

/// A running control plane; stops when dropped.
pub(crate) struct ControlPlane {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<ControlPlaneState>>,
    _server: JoinSet<()>,
}

#[derive(Clone)]
struct ScriptedService(Arc<Mutex<ControlPlaneState>>);

impl ControlPlane {
    pub(crate) async fn start(ttl_ms: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(ControlPlaneState { ttl_ms, ..ControlPlaneState::default() }));
        let service = ExecutorServiceServer::new(ScriptedService(Arc::clone(&state)));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Self { address, state, _server: server }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, ControlPlaneState> {
        self.state.lock().unwrap()
    }
}

impl ScriptedService {
    /// Returns the state if the call carries the current session.
    fn session<T>(&self, request: &Request<T>) -> Result<MutexGuard<'_, ControlPlaneState>, Status> {
        let state = self.0.lock().unwrap();
        let token = request.metadata().get("x-orchid-session").and_then(|token| token.to_str().ok());
        match (token, state.sessions.last()) {
            (Some(token), Some(session)) if token == session => Ok(state),
            _ => Err(Status::unauthenticated("no such session")),
        }
    }
}

fn accepted(lease_token: &[u8]) -> wire::ItemResult {
    wire::ItemResult {
        lease_id: String::from_utf8_lossy(lease_token).into_owned(),
        status: wire::LeaseStatus::Ok.into(),
        ..wire::ItemResult::default()
    }
}

fn token(checkpoint: Option<&wire::CheckpointItem>) -> &[u8] {
    checkpoint.map(|checkpoint| checkpoint.lease_token.as_ref()).unwrap_or_default()
}

#[tonic::async_trait]
impl ExecutorService for ScriptedService {
    async fn register(
        &self,
        request: Request<wire::RegisterRequest>,
    ) -> Result<Response<wire::RegisterResponse>, Status> {
        let bearer = format!("Bearer {POOL_TOKEN}");
        if request.metadata().get("authorization").is_none_or(|value| value != bearer.as_str()) {
            return Err(Status::unauthenticated("wrong pool token"));
        }
        let mut state = self.0.lock().unwrap();
        let session = Uuid::now_v7().to_string();
        state.sessions.push(session.clone());
        state.granted.clear();
        state.expire_session = false;
        Ok(Response::new(wire::RegisterResponse {
            session_token: session.clone(),
            session_id: session,
            ttl_ms: state.ttl_ms,
            heartbeat_interval_ms: state.ttl_ms / 3,
            doorbell_streams: vec![STREAM.to_owned()],
            doorbell_group: GROUP.to_owned(),
            park_after_ms: 30_000,
            max_wait_ms: 86_400_000,
            max_body_bytes: 10 << 20,
            max_nesting_depth: 5,
        }))
    }

    async fn acquire_leases(
        &self,
        request: Request<wire::AcquireLeasesRequest>,
    ) -> Result<Response<wire::AcquireLeasesResponse>, Status> {
        let mut state = self.session(&request)?;
        let request = request.into_inner();
        state.acquires.push(request.clone());
        if state.failed_acquires > 0 {
            state.failed_acquires -= 1;
            return Err(Status::internal("internal error, trace 8"));
        }
        let seq = request.acquire_seq;
        if !state.granted.contains_key(&seq) {
            let any = request.executions.is_empty() && !state.only_rung;
            let rung = |grant: &wire::LeaseGrant| {
                any || request.executions.iter().any(|rung| rung.execution_id == grant.execution_id)
            };
            let most = usize::try_from(request.max_leases).unwrap();
            let (mut take, leave): (Vec<_>, Vec<_>) = state.ready.drain(..).partition(rung);
            state.ready = take.split_off(most.min(take.len()));
            state.ready.extend(leave);
            state.granted.insert(seq, take);
        }
        let grants = state.granted[&seq].clone();
        if !grants.is_empty() && state.lost_acquire_responses > 0 {
            state.lost_acquire_responses -= 1;
            return Err(Status::unavailable("response lost"));
        }
        Ok(Response::new(wire::AcquireLeasesResponse { acquire_seq: seq, grants, refused: Vec::new() }))
    }

    async fn fetch_context(
        &self,
        request: Request<wire::FetchContextRequest>,
    ) -> Result<Response<wire::FetchContextResponse>, Status> {
        drop(self.session(&request)?);
        let field = wire::JsonField { name: "since".to_owned(), json: "\"apart\"".into() };
        Ok(Response::new(wire::FetchContextResponse { context: vec![field], cursors: Vec::new() }))
    }

    async fn heartbeat(
        &self,
        request: Request<wire::HeartbeatRequest>,
    ) -> Result<Response<wire::HeartbeatResponse>, Status> {
        let mut state = self.session(&request)?;
        let heartbeat = request.into_inner();
        state.heartbeats.push(heartbeat.clone());
        if state.expire_session {
            return Err(Status::unauthenticated("expired"));
        }
        if state.ignore_heartbeats {
            return Err(Status::unavailable("heartbeats ignored"));
        }
        state.announcements.retain(|announcement| {
            announcement.key.as_ref().is_none_or(|key| !heartbeat.confirmed_announcements.contains(key))
        });
        let instructions = heartbeat.leases.iter().map(|lease| {
            let lease_id = String::from_utf8_lossy(&lease.lease_token).into_owned();
            let command = state.commands.get(&lease_id).copied().unwrap_or(wire::LeaseCommand::Continue);
            wire::LeaseInstruction { lease_id, command: command.into() }
        });
        Ok(Response::new(wire::HeartbeatResponse {
            heartbeat_seq: heartbeat.heartbeat_seq,
            held_ms: 0,
            ttl_ms: state.ttl_ms,
            heartbeat_interval_ms: state.ttl_ms / 3,
            instructions: instructions.collect(),
            drain: false,
            announcements: state.announcements.clone(),
        }))
    }

    async fn checkpoint(
        &self,
        request: Request<wire::CheckpointRequest>,
    ) -> Result<Response<wire::CheckpointResponse>, Status> {
        let mut state = self.session(&request)?;
        let items = request.into_inner().items;
        let result = |item: &wire::CheckpointItem| {
            state.refuse_checkpoints.clone().unwrap_or_else(|| accepted(&item.lease_token))
        };
        let results = items.iter().map(result).collect();
        state.checkpoints.extend(items);
        Ok(Response::new(wire::CheckpointResponse { results }))
    }

    async fn complete(
        &self,
        request: Request<wire::CompleteRequest>,
    ) -> Result<Response<wire::CompleteResponse>, Status> {
        let mut state = self.session(&request)?;
        if state.hold_completes {
            return Err(Status::unavailable("completes held"));
        }
        let items = request.into_inner().items;
        let is_poisoned = |item: &wire::CompleteItem| {
            let token = token(item.checkpoint.as_ref());
            item.outcome() == wire::ExecutionOutcome::Succeeded
                && state.poisoned.iter().any(|poisoned| poisoned == token)
        };
        if items.iter().any(is_poisoned) {
            return Err(Status::internal("internal error, trace 7"));
        }
        let results = items.iter().map(|item| accepted(token(item.checkpoint.as_ref()))).collect();
        state.completes.extend(items);
        let announcements = state.announcements.clone();
        Ok(Response::new(wire::CompleteResponse { results, announcements, acquired: None }))
    }

    async fn park(
        &self,
        request: Request<wire::ParkRequest>,
    ) -> Result<Response<wire::ParkResponse>, Status> {
        let mut state = self.session(&request)?;
        let items = request.into_inner().items;
        let results = items.iter().map(|item| accepted(token(item.checkpoint.as_ref()))).collect();
        state.parks.extend(items);
        Ok(Response::new(wire::ParkResponse { results }))
    }

    async fn release(
        &self,
        request: Request<wire::ReleaseRequest>,
    ) -> Result<Response<wire::ReleaseResponse>, Status> {
        let mut state = self.session(&request)?;
        let items = request.into_inner().items;
        let results = items.iter().map(|item| accepted(token(item.checkpoint.as_ref()))).collect();
        state.releases.extend(items);
        Ok(Response::new(wire::ReleaseResponse { results }))
    }
}
