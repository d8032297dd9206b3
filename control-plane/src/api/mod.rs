//! The gRPC API. Handlers decode a request, run one command, and encode its result. They contain no
//! SQL and no branches on state, and no wire type leaves this module.

mod authentication;
mod convert;
mod decoding;
mod error;
pub mod health;
mod known_tenants;
mod page_tokens;
mod request;
mod request_limits;
pub mod server;
mod services;

use std::sync::Arc;

use orchid_plan::ServerLimits;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use crate::commands::CommandError;
use crate::commands::checked::{self, CheckedCommand};
use crate::commands::document_checks::DocumentChecks;
use crate::commands::executions::watch::WatchHub;
use crate::commands::fleet::Fleet;
use crate::commands::idempotency::{IdempotentCommand, RequestKey};
use crate::keys::{MasterKeys, TokenSealer};
use crate::store::db::{Databases, TenantTx, Transaction};

/// Shared state of all handlers.
pub struct ApiContext {
    /// Connections to Postgres.
    pub databases: Databases,
    /// Unwraps the data keys of tenants.
    pub keys: Arc<MasterKeys>,
    /// Seals page and session tokens.
    pub sealer: Arc<TokenSealer>,
    /// Serves WatchExecution.
    pub watches: WatchHub,
    /// Checks documents of users.
    pub checks: DocumentChecks,
    /// Limits of plans on this server.
    pub plan_limits: ServerLimits,
    /// The commands of executors.
    pub fleet: Fleet,
    /// Cancelled when the server stops; waiting calls end then.
    pub stop: CancellationToken,
}

impl ApiContext {
    /// Runs a command in a transaction of the caller's tenant.
    async fn run<W>(&self, tenant_id: Uuid, work: &W) -> Result<W::Output, Status>
    where
        W: Transaction<TenantTx, Error = CommandError>,
    {
        self.databases.run_tenant(tenant_id, work).await.map_err(error::status)
    }

    /// Runs a command at most once per request id.
    async fn run_once<W>(
        &self,
        tenant_id: Uuid,
        request: Option<RequestKey>,
        work: W,
    ) -> Result<W::Output, Status>
    where
        W: Transaction<TenantTx, Error = CommandError> + Send,
        W::Output: serde::Serialize + serde::de::DeserializeOwned + Sync,
    {
        self.run(tenant_id, &IdempotentCommand { request, work }).await
    }

    /// Runs a command that checks a document, at most once per request id.
    async fn run_checked<C>(
        &self,
        tenant_id: Uuid,
        request: Option<RequestKey>,
        command: C,
    ) -> Result<C::Output, Status>
    where
        C: CheckedCommand,
        C::Output: serde::Serialize + serde::de::DeserializeOwned,
    {
        checked::run(&self.databases, &self.checks, tenant_id, request, command).await.map_err(error::status)
    }
}
