//! Runs a command at most once per request id. The first call runs the command and stores its
//! result in the same transaction; later calls with the same id get that result from every replica.

use std::marker::PhantomData;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::commands::{CommandError, Diagnostic};
use crate::store::db::{TenantTx, Transaction};
use crate::store::error::StoreError;
use crate::store::requests::{self, LoggedRequest};

/// Time for which the result of a request id is kept.
const RETENTION: TimeDelta = TimeDelta::hours(24);

/// Identity of a request: its id, method and content.
#[derive(Debug, Clone)]
pub struct RequestKey {
    /// Request id of the caller.
    pub id: Uuid,
    /// Name of the RPC.
    pub method: &'static str,
    /// SHA-256 of the request without its id.
    pub body_hash: [u8; 32],
    /// Time of the request.
    pub now: DateTime<Utc>,
}

/// A command that runs at most once if the caller sent a request id.
pub struct IdempotentCommand<W> {
    /// Identity of the request; none if the caller sent no id.
    pub request: Option<RequestKey>,
    /// The command.
    pub work: W,
}

impl<W> Transaction<TenantTx> for IdempotentCommand<W>
where
    W: Transaction<TenantTx, Error = CommandError> + Send,
    W::Output: Serialize + DeserializeOwned + Sync,
{
    type Output = W::Output;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<W::Output, CommandError> {
        let Some(request) = &self.request else { return self.work.run(tx).await };
        let RequestKey { id, method, body_hash, now } = request;
        // The claim locks the id: a concurrent call with the same id waits here until this
        // transaction ends, and then finds its result.
        if !requests::claim(tx, *id, method, body_hash, *now, *now - RETENTION).await? {
            return stored_result(tx, request).await;
        }
        let done = self.work.run(tx).await?;
        let response =
            serde_json::to_vec(&done).map_err(|error| StoreError::corrupt("request_log.response", error))?;
        requests::store_response(tx, *id, response).await?;
        Ok(done)
    }
}

/// Query for the result of an earlier call with the same request id; none if there was none.
pub struct StoredResult<T> {
    request: RequestKey,
    output: PhantomData<fn() -> T>,
}

impl<T> StoredResult<T> {
    /// Creates the query.
    pub fn new(request: RequestKey) -> Self {
        Self { request, output: PhantomData }
    }
}

impl<T: DeserializeOwned + Send> Transaction<TenantTx> for StoredResult<T> {
    type Output = Option<T>;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Option<T>, CommandError> {
        let logged = requests::by_id(tx, self.request.id).await?;
        let Some(logged) = logged.filter(|logged| logged.created_at >= self.request.now - RETENTION) else {
            return Ok(None);
        };
        decode(&logged, &self.request).map(Some)
    }
}

/// Returns the result of the first call with this request id.
async fn stored_result<T: DeserializeOwned>(tx: &TenantTx, request: &RequestKey) -> Result<T, CommandError> {
    let logged = requests::by_id(tx, request.id)
        .await?
        .ok_or_else(|| StoreError::corrupt("request_log", "the entry of a claimed request id is missing"))?;
    decode(&logged, request)
}

fn decode<T: DeserializeOwned>(logged: &LoggedRequest, request: &RequestKey) -> Result<T, CommandError> {
    if logged.method != request.method || logged.body_hash != request.body_hash {
        let message = format!("request id {} was already used for a different request", request.id);
        let diagnostic = Diagnostic::new("REUSED", "/request_id", message);
        return Err(CommandError::invalid("REQUEST_ID_REUSED", diagnostic));
    }
    let done = serde_json::from_slice(&logged.response)
        .map_err(|error| StoreError::corrupt("request_log.response", error))?;
    Ok(done)
}
