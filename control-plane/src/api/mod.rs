//! The gRPC border. What comes in are wire messages; they are decoded, handed to one command, and its outcome is encoded. Nothing
//! here holds SQL or branches on the state of anything, and no wire type goes further in.

mod authentication;
mod convert;
mod error;
pub mod health;
mod message_size;
mod page_tokens;
mod request;
mod request_limits;
pub mod server;
mod services;

use std::{sync::Arc, time::Duration};

use orchid_plan::ServerLimits;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use crate::{
    commands::{
        CommandError,
        executions::watch::WatchHub,
        fleet::Fleet,
        idempotency::{IdempotentCommand, RequestKey},
    },
    keys::{MasterKeys, TokenSealer},
    store::db::{Databases, TenantTx, Transaction},
};

/// What all handlers work with.
pub struct ApiContext {
    /// The database.
    pub databases: Databases,
    /// Open data keys.
    pub keys: Arc<MasterKeys>,
    /// Seals page and session tokens.
    pub sealer: Arc<TokenSealer>,
    /// Feeds watchers.
    pub watches: WatchHub,
    /// What this server allows a plan.
    pub plan_limits: ServerLimits,
    /// The commands of executors.
    pub fleet: Fleet,
    /// Cancelled when the server stops: calls that wait end then.
    pub stop: CancellationToken,
}

/// How long a caller is told to wait before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl ApiContext {
    /// Runs a command in a transaction of the caller's tenant.
    async fn run<W>(&self, tenant_id: Uuid, work: &W) -> Result<W::Output, Status>
    where
        W: Transaction<TenantTx, Error = CommandError>,
    {
        self.databases.run_tenant(tenant_id, work).await.map_err(error::status)
    }

    /// Runs a command once per request id.
    async fn once<W>(
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
}
