//! `orchid.v1.IntegrationService`.

use std::sync::Arc;

use orchid_proto::v1;
use orchid_proto::v1::integration_service_server::IntegrationService;
use tonic::{Request, Response, Status};

use crate::api::page_tokens::PageTokens;
use crate::api::{ApiContext, convert, request};
use crate::commands::integrations::{DeleteIntegration, GetIntegration, ListConfigSchemas, ListIntegrations};

pub(crate) struct IntegrationHandler(pub(crate) Arc<ApiContext>);

#[tonic::async_trait]
impl IntegrationService for IntegrationHandler {
    async fn create_integration(
        &self,
        request: Request<v1::CreateIntegrationRequest>,
    ) -> Result<Response<v1::Integration>, Status> {
        let (tenant_id, now) = (request::checked_tenant(&request)?, request::now());
        let mut body = request.into_inner();
        let request_id = std::mem::take(&mut body.request_id);
        let request_key = request::request_key(&request_id, "CreateIntegration", &body, now)?;
        let row =
            self.0.run_checked(tenant_id, request_key, convert::integration::create(body, now)?).await?;
        Ok(Response::new(convert::integration::to_wire(row)))
    }

    async fn get_integration(
        &self,
        request: Request<v1::GetIntegrationRequest>,
    ) -> Result<Response<v1::Integration>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::GetIntegrationRequest { key } = request.into_inner();
        let row = self.0.run(tenant_id, &GetIntegration { key }).await?;
        Ok(Response::new(convert::integration::to_wire(row)))
    }

    async fn list_integrations(
        &self,
        request: Request<v1::ListIntegrationsRequest>,
    ) -> Result<Response<v1::ListIntegrationsResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::ListIntegrationsRequest { page_size, page_token } = request.into_inner();
        let paging = PageTokens::new(&self.0.sealer, tenant_id, "ListIntegrations", &[]);
        let listed =
            self.0.run(tenant_id, &ListIntegrations { page: paging.page(page_size, &page_token)? }).await?;
        Ok(Response::new(v1::ListIntegrationsResponse {
            integrations: listed.rows.into_iter().map(convert::integration::to_wire).collect(),
            next_page_token: paging.token(listed.next)?,
        }))
    }

    async fn update_integration(
        &self,
        request: Request<v1::UpdateIntegrationRequest>,
    ) -> Result<Response<v1::Integration>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let command = convert::integration::update(request.into_inner(), request::now())?;
        let row = self.0.run(tenant_id, &command).await?;
        Ok(Response::new(convert::integration::to_wire(row)))
    }

    async fn delete_integration(
        &self,
        request: Request<v1::DeleteIntegrationRequest>,
    ) -> Result<Response<v1::DeleteIntegrationResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::DeleteIntegrationRequest { key, etag } = request.into_inner();
        self.0.run(tenant_id, &DeleteIntegration { key, etag: request::non_empty(etag) }).await?;
        Ok(Response::new(v1::DeleteIntegrationResponse {}))
    }

    async fn create_config_schema(
        &self,
        request: Request<v1::CreateConfigSchemaRequest>,
    ) -> Result<Response<v1::ConfigSchema>, Status> {
        let (tenant_id, now) = (request::checked_tenant(&request)?, request::now());
        let mut body = request.into_inner();
        let request_id = std::mem::take(&mut body.request_id);
        let request_key = request::request_key(&request_id, "CreateConfigSchema", &body, now)?;
        let integration = body.integration.clone();
        let row = self
            .0
            .run_checked(tenant_id, request_key, convert::integration::create_schema(body, now)?)
            .await?;
        Ok(Response::new(convert::integration::schema_to_wire(row, &integration)?))
    }

    async fn list_config_schemas(
        &self,
        request: Request<v1::ListConfigSchemasRequest>,
    ) -> Result<Response<v1::ListConfigSchemasResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::ListConfigSchemasRequest { integration, page_size, page_token } = request.into_inner();
        let paging = PageTokens::new(&self.0.sealer, tenant_id, "ListConfigSchemas", &[&integration]);
        let page = paging.page(page_size, &page_token)?;
        let listed =
            self.0.run(tenant_id, &ListConfigSchemas { integration: integration.clone(), page }).await?;
        let schemas =
            listed.rows.into_iter().map(|row| convert::integration::schema_to_wire(row, &integration));
        Ok(Response::new(v1::ListConfigSchemasResponse {
            config_schemas: schemas.collect::<Result<_, _>>()?,
            next_page_token: paging.token(listed.next)?,
        }))
    }
}
