//! `orchid.v1.ExecutionService`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, stream};
use orchid_proto::v1;
use orchid_proto::v1::execution_service_server::ExecutionService;
use tonic::{Code, Request, Response, Status};

use crate::api::page_tokens::PageTokens;
use crate::api::{ApiContext, convert, error, request};
use crate::commands::executions::watch::WatchEnd;
use crate::commands::executions::{
    CancelExecution, GetExecution, ListExecutionAttempts, explain, last_request_of,
};
use crate::store::executions::Execution;

pub(crate) struct ExecutionHandler(pub(crate) Arc<ApiContext>);

type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchExecutionResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ExecutionService for ExecutionHandler {
    type WatchExecutionStream = WatchStream;

    async fn get_execution(
        &self,
        request: Request<v1::GetExecutionRequest>,
    ) -> Result<Response<v1::Execution>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let id = request::id("/id", &request.get_ref().id)?;
        let row = self.0.run(tenant_id, &GetExecution { id }).await?;
        Ok(Response::new(convert::execution::to_wire(row)?))
    }

    async fn list_executions(
        &self,
        request: Request<v1::ListExecutionsRequest>,
    ) -> Result<Response<v1::ListExecutionsResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let mut body = request.into_inner();
        let (page_size, page_token) =
            (std::mem::take(&mut body.page_size), std::mem::take(&mut body.page_token));
        // The page token is bound to all remaining fields, which are the filters.
        let binding = format!("{body:?}");
        let paging = PageTokens::new(&self.0.sealer, tenant_id, "ListExecutions", &[&binding]);
        let page = paging.page(page_size, &page_token)?;
        let command = convert::execution::list(body, page)?;
        let listed = self.0.run(tenant_id, &command).await?;
        Ok(Response::new(v1::ListExecutionsResponse {
            executions: listed.rows.into_iter().map(convert::execution::to_wire).collect::<Result<_, _>>()?,
            next_page_token: paging.token(listed.next)?,
        }))
    }

    async fn list_execution_attempts(
        &self,
        request: Request<v1::ListExecutionAttemptsRequest>,
    ) -> Result<Response<v1::ListExecutionAttemptsResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::ListExecutionAttemptsRequest { execution_id, page_size, page_token } = request.into_inner();
        let paging = PageTokens::new(&self.0.sealer, tenant_id, "ListExecutionAttempts", &[&execution_id]);
        let execution_id = request::id("/execution_id", &execution_id)?;
        let page = paging.page(page_size, &page_token)?;
        let mut listed = self.0.run(tenant_id, &ListExecutionAttempts { execution_id, page }).await?;
        last_request_of(&self.0.databases, &mut listed.rows)
            .await
            .map_err(|error| error::of_store(&error))?;
        Ok(Response::new(v1::ListExecutionAttemptsResponse {
            attempts: listed.rows.into_iter().map(convert::execution::attempt_to_wire).collect(),
            next_page_token: paging.token(listed.next)?,
        }))
    }

    async fn watch_execution(
        &self,
        request: Request<v1::WatchExecutionRequest>,
    ) -> Result<Response<Self::WatchExecutionStream>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let id = request::id("/id", &request.get_ref().id)?;
        let watch = self.0.watches.watch(tenant_id, id).await.map_err(watch_status)?;
        Ok(Response::new(Box::pin(stream::unfold(watch, |mut watch| async move {
            let seen = watch.next().await?;
            Some((seen.map_err(watch_status).and_then(watched), watch))
        }))))
    }

    async fn cancel_execution(
        &self,
        request: Request<v1::CancelExecutionRequest>,
    ) -> Result<Response<v1::Execution>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let v1::CancelExecutionRequest { id, reason } = request.into_inner();
        let command = CancelExecution { id: request::id("/id", &id)?, reason, now: request::now() };
        let outcome = self.0.run(tenant_id, &command).await?;
        if outcome.work_is_ready {
            self.0.fleet.wakeups.work_is_ready();
        }
        Ok(Response::new(convert::execution::to_wire(outcome.execution)?))
    }

    async fn explain_execution(
        &self,
        request: Request<v1::ExplainExecutionRequest>,
    ) -> Result<Response<v1::ExplainExecutionResponse>, Status> {
        let tenant_id = request::checked_tenant(&request)?;
        let id = request::id("/id", &request.get_ref().id)?;
        let explained =
            explain(&self.0.databases, tenant_id, id, request::now()).await.map_err(error::status)?;
        Ok(Response::new(convert::explain::to_wire(explained)?))
    }
}

fn watched(row: Execution) -> Result<v1::WatchExecutionResponse, Status> {
    Ok(v1::WatchExecutionResponse { execution: Some(convert::execution::to_wire(row)?) })
}

fn watch_status(end: WatchEnd) -> Status {
    let message = end.to_string();
    match end {
        WatchEnd::Stopping => error::plain(Code::Unavailable, "SERVER_STOPPING", message),
        WatchEnd::Full | WatchEnd::TenantFull => {
            error::plain(Code::ResourceExhausted, "TOO_MANY_WATCHED", message)
        }
        WatchEnd::Command(error) => error::status(error),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn early_end_of_watch_has_a_retry_delay() {
        for (end, code) in
            [(WatchEnd::Stopping, Code::Unavailable), (WatchEnd::Full, Code::ResourceExhausted)]
        {
            let status = watch_status(end);
            assert_eq!(status.code(), code);
            assert!(status.get_details_retry_info().is_some());
        }
    }
}
