//! `orchid.executor.v1.ExecutorService`.

use std::sync::Arc;
use std::time::Duration;

use orchid_kit::clock;
use orchid_proto::executor::v1 as wire;
use orchid_proto::executor::v1::executor_service_server::ExecutorService;
use tonic::{Code, Request, Response, Status};

use crate::api::ApiContext;
use crate::api::convert::{grant, lease};
use crate::api::error::{fleet_status, plain};
use crate::api::request::{self, checked_session, now};
use crate::commands::fleet::acquire::{self, AcquireRequest};
use crate::commands::fleet::{checkpoint, complete, fetch_context, heartbeat, park, register, release};

pub(crate) struct ExecutorHandler(pub(crate) Arc<ApiContext>);

#[tonic::async_trait]
impl ExecutorService for ExecutorHandler {
    async fn register(
        &self,
        request: Request<wire::RegisterRequest>,
    ) -> Result<Response<wire::RegisterResponse>, Status> {
        let pools = request::checked_pools(&request)?;
        let joining = lease::joining(request.into_inner(), &pools)?;
        let joined = register::run(&self.0.fleet, joining).await.map_err(fleet_status)?;
        Ok(Response::new(grant::joined(joined)))
    }

    async fn acquire_leases(
        &self,
        request: Request<wire::AcquireLeasesRequest>,
    ) -> Result<Response<wire::AcquireLeasesResponse>, Status> {
        let session = checked_session(&request)?;
        let acquire = lease::acquire(request.into_inner())?;
        // If the server stops after a grant was committed, the executor repeats the call with the
        // same seq at another replica and gets the same grant.
        let acquired = tokio::select! {
            acquired = acquire::run(&self.0.fleet, &session, acquire) => acquired.map_err(fleet_status)?,
            () = self.0.stop.cancelled() => {
                return Err(plain(Code::Unavailable, "SERVER_STOPPING", "this server is stopping: call another one"));
            }
        };
        Ok(Response::new(grant::acquired(acquired)))
    }

    async fn fetch_context(
        &self,
        request: Request<wire::FetchContextRequest>,
    ) -> Result<Response<wire::FetchContextResponse>, Status> {
        let session = checked_session(&request)?;
        let token = &request.get_ref().lease_token;
        let kept = fetch_context::run(&self.0.fleet, &session, token).await.map_err(fleet_status)?;
        Ok(Response::new(grant::kept(kept)))
    }

    async fn heartbeat(
        &self,
        request: Request<wire::HeartbeatRequest>,
    ) -> Result<Response<wire::HeartbeatResponse>, Status> {
        let arrived = clock::monotonic();
        let session = checked_session(&request)?;
        let beat = lease::beat(request.into_inner())?;
        let seq = beat.seq;
        let answer =
            heartbeat::run(&self.0.fleet, &session, arrived, now(), beat).await.map_err(fleet_status)?;
        Ok(Response::new(grant::answer(seq, answer)))
    }

    async fn checkpoint(
        &self,
        request: Request<wire::CheckpointRequest>,
    ) -> Result<Response<wire::CheckpointResponse>, Status> {
        let session = checked_session(&request)?;
        let items = lease::checkpoints(request.into_inner())?;
        let results = checkpoint::run(&self.0.fleet, &session, now(), items).await.map_err(fleet_status)?;
        Ok(Response::new(wire::CheckpointResponse { results: grant::results(results) }))
    }

    async fn complete(
        &self,
        request: Request<wire::CompleteRequest>,
    ) -> Result<Response<wire::CompleteResponse>, Status> {
        let session = checked_session(&request)?;
        let wire::CompleteRequest { items, acquire } = request.into_inner();
        let items = lease::completions(items)?;
        // The response reports the ends of executions and must not be delayed by waiting for work.
        let acquire = acquire.map(lease::acquire).transpose()?;
        let acquire = acquire.map(|acquire| AcquireRequest { wait: Duration::ZERO, ..acquire });
        let (ended, acquired) =
            complete::run(&self.0.fleet, &session, now(), items, acquire).await.map_err(fleet_status)?;
        Ok(Response::new(wire::CompleteResponse {
            results: grant::results(ended.results),
            announcements: ended.announcements.into_iter().map(grant::announcement).collect(),
            acquired: acquired.map(grant::acquired),
        }))
    }

    async fn park(
        &self,
        request: Request<wire::ParkRequest>,
    ) -> Result<Response<wire::ParkResponse>, Status> {
        let session = checked_session(&request)?;
        let items = lease::parkings(request.into_inner())?;
        let results = park::run(&self.0.fleet, &session, now(), items).await.map_err(fleet_status)?;
        Ok(Response::new(wire::ParkResponse { results: grant::results(results) }))
    }

    async fn release(
        &self,
        request: Request<wire::ReleaseRequest>,
    ) -> Result<Response<wire::ReleaseResponse>, Status> {
        let session = checked_session(&request)?;
        let items = lease::releases(request.into_inner())?;
        let results = release::run(&self.0.fleet, &session, now(), items).await.map_err(fleet_status)?;
        Ok(Response::new(wire::ReleaseResponse { results: grant::results(results) }))
    }
}
