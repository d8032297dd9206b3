//! Runs a command at most once per request id. The first call runs the command and stores its
//! result in the same transaction; later calls with the same id get that result from every replica.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::commands::{CommandError, Diagnostic};
use crate::store::db::{TenantTx, Transaction};
use crate::store::error::StoreError;
use crate::store::requests;

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

/// Returns the result of the first call with this request id.
async fn stored_result<T: DeserializeOwned>(tx: &TenantTx, request: &RequestKey) -> Result<T, CommandError> {
    let logged = requests::by_id(tx, request.id)
        .await?
        .ok_or_else(|| StoreError::corrupt("request_log", "the entry of a claimed request id is missing"))?;
    if logged.method != request.method || logged.body_hash != request.body_hash {
        let message = format!("request id {} was already used for a different request", request.id);
        let diagnostic = Diagnostic::new("REUSED", "/request_id", message);
        return Err(CommandError::invalid("REQUEST_ID_REUSED", diagnostic));
    }
    let done = serde_json::from_slice(&logged.response)
        .map_err(|error| StoreError::corrupt("request_log.response", error))?;
    Ok(done)
}
