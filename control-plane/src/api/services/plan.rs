//! `orchid.v1.PlanService`.

use std::sync::Arc;

use orchid_proto::v1;
use orchid_proto::v1::plan_service_server::PlanService;
use tonic::{Request, Response, Status};

use crate::api::page_tokens::PageTokens;
use crate::api::{ApiContext, convert, error, request};
use crate::commands::plans::{
    DeletePlan, GetPlan, GetPlanRevision, ListPlanRevisions, ListPlans, RollbackPlan, ValidationReport,
    validate_plan, warnings_of,
};
use crate::store::plans::Plan;

pub(crate) struct PlanHandler(pub(crate) Arc<ApiContext>);

impl PlanHandler {
    /// Returns a plan that was saved by this request, with the warnings about its definition.
    async fn saved(&self, row: Plan) -> Result<Response<v1::Plan>, Status> {
        // Compiled again, because a repeated request finds the row of the first one and nothing
        // else.
        let warnings = warnings_of(&self.0.checks, row.definition.clone(), self.0.plan_limits.clone())
            .await
            .map_err(error::status)?;
        Ok(Response::new(convert::plan::saved_to_wire(row, warnings)?))
    }
}

#[tonic::async_trait]
impl PlanService for PlanHandler {
    async fn create_plan(
        &self,
        request: Request<v1::CreatePlanRequest>,
    ) -> Result<Response<v1::Plan>, Status> {
        let (tenant_id, now) = (request::checked_tenant(&request)?, request::now());
        let mut body = request.into_inner();
        let request_id = std::mem::take(&mut body.request_id);
        let request_key = request::request_key(&request_id, "CreatePlan", &body, now)?;
        let plan = request::required(body.plan, "/plan")?;
        let command = convert::plan::create(plan, self.0.plan_limits.clone(), now)?;
        let row = self.0.run_checked(tenant_id, request_key, command).await?;
        self.0.fleet.wakeups.schedules_changed();
        self.saved(row).await
    }

    async fn get_plan(&self, request: Request<v1::GetPlanRequest>) -> Result<Response<v1::Plan>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::GetPlanRequest { key } = request.into_inner();
        let row = self.0.run(tenant_id, &GetPlan { key }).await?;
        Ok(Response::new(convert::plan::to_wire(row)?))
    }

    async fn list_plans(
        &self,
        request: Request<v1::ListPlansRequest>,
    ) -> Result<Response<v1::ListPlansResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::ListPlansRequest { page_size, page_token, integration } = request.into_inner();
        let paging = PageTokens::new(&self.0.sealer, tenant_id, "ListPlans", &[&integration]);
        let page = paging.page(page_size, &page_token)?;
        let listed =
            self.0.run(tenant_id, &ListPlans { integration: request::non_empty(integration), page }).await?;
        Ok(Response::new(v1::ListPlansResponse {
            plans: listed.rows.into_iter().map(convert::plan::to_wire).collect::<Result<_, _>>()?,
            next_page_token: paging.token(listed.next)?,
        }))
    }

    async fn update_plan(
        &self,
        request: Request<v1::UpdatePlanRequest>,
    ) -> Result<Response<v1::Plan>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let limits = self.0.plan_limits.clone();
        let command = convert::plan::update(request.into_inner(), limits, request::now())?;
        let row = self.0.run_checked(tenant_id, None, command).await?;
        self.0.fleet.wakeups.schedules_changed();
        self.saved(row).await
    }

    async fn delete_plan(
        &self,
        request: Request<v1::DeletePlanRequest>,
    ) -> Result<Response<v1::DeletePlanResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::DeletePlanRequest { key, etag } = request.into_inner();
        self.0.run(tenant_id, &DeletePlan { key, etag: request::non_empty(etag) }).await?;
        Ok(Response::new(v1::DeletePlanResponse {}))
    }

    async fn validate_plan(
        &self,
        request: Request<v1::ValidatePlanRequest>,
    ) -> Result<Response<v1::ValidatePlanResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let plan = request::required(request.into_inner().plan, "/plan")?;
        let command = convert::plan::create(plan, self.0.plan_limits.clone(), request::now())?;
        let ValidationReport { diagnostics, warnings } =
            validate_plan(&self.0.databases, &self.0.checks, tenant_id, command)
                .await
                .map_err(error::status)?;
        Ok(Response::new(v1::ValidatePlanResponse {
            diagnostics: diagnostics.into_iter().map(convert::diagnostic).collect(),
            warnings: warnings.into_iter().map(convert::warning).collect(),
        }))
    }

    async fn trigger_plan(
        &self,
        request: Request<v1::TriggerPlanRequest>,
    ) -> Result<Response<v1::Execution>, Status> {
        let (tenant_id, now) = (request::checked_tenant(&request)?, request::now());
        let mut body = request.into_inner();
        let request_id = std::mem::take(&mut body.request_id);
        let request_key = request::request_key(&request_id, "TriggerPlan", &body, now)?;
        let row = self.0.run_once(tenant_id, request_key, convert::trigger::decode(body, now)?).await?;
        self.0.fleet.wakeups.work_is_ready();
        Ok(Response::new(convert::execution::to_wire(row)?))
    }

    async fn list_plan_revisions(
        &self,
        request: Request<v1::ListPlanRevisionsRequest>,
    ) -> Result<Response<v1::ListPlanRevisionsResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::ListPlanRevisionsRequest { plan, page_size, page_token } = request.into_inner();
        let paging = PageTokens::new(&self.0.sealer, tenant_id, "ListPlanRevisions", &[&plan]);
        let page = paging.page(page_size, &page_token)?;
        let listed = self.0.run(tenant_id, &ListPlanRevisions { plan: plan.clone(), page }).await?;
        let revisions = listed.rows.into_iter().map(|row| convert::plan::revision_to_wire(row, &plan));
        Ok(Response::new(v1::ListPlanRevisionsResponse {
            revisions: revisions.collect::<Result<_, _>>()?,
            next_page_token: paging.token(listed.next)?,
        }))
    }

    async fn get_plan_revision(
        &self,
        request: Request<v1::GetPlanRevisionRequest>,
    ) -> Result<Response<v1::PlanRevision>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::GetPlanRevisionRequest { plan, revision } = request.into_inner();
        let row = self.0.run(tenant_id, &GetPlanRevision { plan: plan.clone(), revision }).await?;
        Ok(Response::new(convert::plan::revision_to_wire(row, &plan)?))
    }

    async fn rollback_plan(
        &self,
        request: Request<v1::RollbackPlanRequest>,
    ) -> Result<Response<v1::Plan>, Status> {
        let (tenant_id, now) = (request::checked_tenant(&request)?, request::now());
        let mut body = request.into_inner();
        let request_id = std::mem::take(&mut body.request_id);
        let request_key = request::request_key(&request_id, "RollbackPlan", &body, now)?;
        let v1::RollbackPlanRequest { key, revision, etag, request_id: _ } = body;
        let limits = self.0.plan_limits.clone();
        let command = RollbackPlan { key, revision, etag: request::non_empty(etag), limits, now };
        let row = self.0.run_checked(tenant_id, request_key, command).await?;
        self.saved(row).await
    }
}
