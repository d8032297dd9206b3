//! `orchid.v1.ConfigService`.

use std::sync::Arc;

use orchid_proto::v1;
use orchid_proto::v1::config_service_server::ConfigService;
use tonic::{Request, Response, Status};

use crate::api::page_tokens::PageTokens;
use crate::api::{ApiContext, convert, error, request};
use crate::commands::configs::{DeleteConfig, GetConfig, ListConfigs, validate_config};

pub(crate) struct ConfigHandler(pub(crate) Arc<ApiContext>);

#[tonic::async_trait]
impl ConfigService for ConfigHandler {
    async fn create_config(
        &self,
        request: Request<v1::CreateConfigRequest>,
    ) -> Result<Response<v1::Config>, Status> {
        let (tenant_id, now) = (request::checked_tenant(&request)?, request::now());
        let mut body = request.into_inner();
        let request_id = std::mem::take(&mut body.request_id);
        let request_key = request::request_key(&request_id, "CreateConfig", &body, now)?;
        let command = convert::config::create(body.config, self.0.keys.clone(), now)?;
        let row = self.0.run_checked(tenant_id, request_key, command).await?;
        self.0.fleet.wakeups.schedules_changed();
        Ok(Response::new(convert::config::to_wire(row)?))
    }

    async fn get_config(
        &self,
        request: Request<v1::GetConfigRequest>,
    ) -> Result<Response<v1::Config>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::GetConfigRequest { integration, key } = request.into_inner();
        let row = self.0.run(tenant_id, &GetConfig { integration, key }).await?;
        Ok(Response::new(convert::config::to_wire(row)?))
    }

    async fn list_configs(
        &self,
        request: Request<v1::ListConfigsRequest>,
    ) -> Result<Response<v1::ListConfigsResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::ListConfigsRequest { page_size, page_token, integration } = request.into_inner();
        let paging = PageTokens::new(&self.0.sealer, tenant_id, "ListConfigs", &[&integration]);
        let page = paging.page(page_size, &page_token)?;
        let listed = self
            .0
            .run(tenant_id, &ListConfigs { integration: request::non_empty(integration), page })
            .await?;
        Ok(Response::new(v1::ListConfigsResponse {
            configs: listed.rows.into_iter().map(convert::config::to_wire).collect::<Result<_, _>>()?,
            next_page_token: paging.token(listed.next)?,
        }))
    }

    async fn update_config(
        &self,
        request: Request<v1::UpdateConfigRequest>,
    ) -> Result<Response<v1::Config>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let command = convert::config::update(request.into_inner(), self.0.keys.clone(), request::now())?;
        let row = self.0.run_checked(tenant_id, None, command).await?;
        self.0.fleet.wakeups.schedules_changed();
        Ok(Response::new(convert::config::to_wire(row)?))
    }

    async fn delete_config(
        &self,
        request: Request<v1::DeleteConfigRequest>,
    ) -> Result<Response<v1::DeleteConfigResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::DeleteConfigRequest { integration, key, etag } = request.into_inner();
        self.0.run(tenant_id, &DeleteConfig { integration, key, etag: request::non_empty(etag) }).await?;
        Ok(Response::new(v1::DeleteConfigResponse {}))
    }

    async fn validate_config(
        &self,
        request: Request<v1::ValidateConfigRequest>,
    ) -> Result<Response<v1::ValidateConfigResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::ValidateConfigRequest { config } = request.into_inner();
        let config = convert::config::create(config, self.0.keys.clone(), request::now())?;
        let diagnostics = validate_config(&self.0.databases, &self.0.checks, tenant_id, config)
            .await
            .map_err(error::status)?;
        Ok(Response::new(v1::ValidateConfigResponse {
            diagnostics: diagnostics.into_iter().map(convert::diagnostic).collect(),
        }))
    }
}
