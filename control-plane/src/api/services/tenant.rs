//! `orchid.admin.v1.TenantService`.

use std::sync::Arc;

use orchid_proto::admin::v1 as admin;
use orchid_proto::admin::v1::tenant_service_server::TenantService;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::api::page_tokens::PageTokens;
use crate::api::{ApiContext, convert, error, request};
use crate::commands::CommandError;
use crate::store::tenants;

pub(crate) struct TenantHandler(pub(crate) Arc<ApiContext>);

#[tonic::async_trait]
impl TenantService for TenantHandler {
    async fn create_tenant(
        &self,
        request: Request<admin::CreateTenantRequest>,
    ) -> Result<Response<admin::Tenant>, Status> {
        request::checked_operator(&request)?;
        let command = convert::tenant::create(request.into_inner(), self.0.keys.clone(), request::now())?;
        let row = self.0.run(command.id, &command).await?;
        Ok(Response::new(convert::tenant::to_wire(row)))
    }

    async fn get_tenant(
        &self,
        request: Request<admin::GetTenantRequest>,
    ) -> Result<Response<admin::Tenant>, Status> {
        request::checked_operator(&request)?;
        let id = request::id("/id", &request.get_ref().id)?;
        let found = tenants::by_id(&self.0.databases, id).await.map_err(|error| error::of_store(&error))?;
        let row = found.ok_or_else(|| error::status(CommandError::not_found("tenant", id)))?;
        Ok(Response::new(convert::tenant::to_wire(row)))
    }

    async fn list_tenants(
        &self,
        request: Request<admin::ListTenantsRequest>,
    ) -> Result<Response<admin::ListTenantsResponse>, Status> {
        request::checked_operator(&request)?;
        let admin::ListTenantsRequest { page_size, page_token } = request.into_inner();
        let paging = PageTokens::new(&self.0.sealer, Uuid::nil(), "ListTenants", &[]);
        let page = paging.page(page_size, &page_token)?;
        let rows = tenants::list(&self.0.databases, page.after, page.limit())
            .await
            .map_err(|error| error::of_store(&error))?;
        let listed = page.cut(rows, |row| row.id);
        Ok(Response::new(admin::ListTenantsResponse {
            tenants: listed.rows.into_iter().map(convert::tenant::to_wire).collect(),
            next_page_token: paging.token(listed.next)?,
        }))
    }
}
