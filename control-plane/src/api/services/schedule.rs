//! `orchid.v1.ScheduleService`.

use std::sync::Arc;

use orchid_proto::v1::schedule_service_server::ScheduleService;
use orchid_proto::{CheckTexts, v1};
use tonic::{Request, Response, Status};

use crate::api::page_tokens::PageTokens;
use crate::api::{ApiContext, convert, request};
use crate::commands::schedules::{GetSchedule, ListNextRuns, ListSchedules, SetPaused};

pub(crate) struct ScheduleHandler(pub(crate) Arc<ApiContext>);

impl ScheduleHandler {
    async fn set_paused<T: CheckTexts>(
        &self,
        request: &Request<T>,
        plan: String,
        config: String,
        paused: bool,
    ) -> Result<Response<v1::Schedule>, Status> {
        let command = SetPaused { plan, config, paused, now: request::now() };
        let row = self.0.run(request::checked_tenant(request)?, &command).await?;
        self.0.fleet.wakeups.schedules_changed();
        Ok(Response::new(convert::schedule::to_wire(row)))
    }
}

#[tonic::async_trait]
impl ScheduleService for ScheduleHandler {
    async fn list_schedules(
        &self,
        request: Request<v1::ListSchedulesRequest>,
    ) -> Result<Response<v1::ListSchedulesResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::ListSchedulesRequest { page_size, page_token, plan } = request.into_inner();
        let paging = PageTokens::new(&self.0.sealer, tenant_id, "ListSchedules", &[&plan]);
        let page = paging.page(page_size, &page_token)?;
        let listed = self.0.run(tenant_id, &ListSchedules { plan: request::non_empty(plan), page }).await?;
        Ok(Response::new(v1::ListSchedulesResponse {
            schedules: listed.rows.into_iter().map(convert::schedule::to_wire).collect(),
            next_page_token: paging.token(listed.next)?,
        }))
    }

    async fn get_schedule(
        &self,
        request: Request<v1::GetScheduleRequest>,
    ) -> Result<Response<v1::Schedule>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::GetScheduleRequest { plan, config } = request.into_inner();
        let row = self.0.run(tenant_id, &GetSchedule { plan, config }).await?;
        Ok(Response::new(convert::schedule::to_wire(row)))
    }

    async fn pause_schedule(
        &self,
        request: Request<v1::PauseScheduleRequest>,
    ) -> Result<Response<v1::Schedule>, Status> {
        let v1::PauseScheduleRequest { plan, config } = request.get_ref().clone();
        self.set_paused(&request, plan, config, true).await
    }

    async fn resume_schedule(
        &self,
        request: Request<v1::ResumeScheduleRequest>,
    ) -> Result<Response<v1::Schedule>, Status> {
        let v1::ResumeScheduleRequest { plan, config } = request.get_ref().clone();
        self.set_paused(&request, plan, config, false).await
    }

    async fn list_next_runs(
        &self,
        request: Request<v1::ListNextRunsRequest>,
    ) -> Result<Response<v1::ListNextRunsResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::ListNextRunsRequest { plan, config, count } = request.into_inner();
        let command = ListNextRuns { schedule: GetSchedule { plan, config }, count, now: request::now() };
        let times = self.0.run(tenant_id, &command).await?;
        Ok(Response::new(v1::ListNextRunsResponse {
            times: times.into_iter().map(convert::timestamp).collect(),
        }))
    }
}
