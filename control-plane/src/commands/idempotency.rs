//! A command that happens once per request id: the first call does it and notes what it came to, in the same transaction; every
//! later call with the same id is given that, whichever replica it reaches.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    commands::{CommandError, Diagnostic},
    store::{
        db::{TenantTx, Transaction},
        error::StoreError,
        requests,
    },
};

/// How long a request id stands for its first call.
const KEPT: TimeDelta = TimeDelta::hours(24);

/// What a caller's request id stands for.
#[derive(Debug, Clone)]
pub struct RequestKey {
    /// The caller's.
    pub id: Uuid,
    /// Which RPC.
    pub method: &'static str,
    /// SHA-256 of the request, its id left out.
    pub body_hash: [u8; 32],
    /// When it came.
    pub now: DateTime<Utc>,
}

/// A command, done once where the caller gave a request id.
pub struct IdempotentCommand<W> {
    /// The caller's request id, if any.
    pub request: Option<RequestKey>,
    /// What to do.
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
        if !requests::claim(tx, *id, method, body_hash, *now, *now - KEPT).await? {
            return answered(tx, request).await;
        }
        let done = self.work.run(tx).await?;
        let response =
            serde_json::to_vec(&done).map_err(|error| StoreError::corrupt("request_log.response", error))?;
        requests::store_response(tx, *id, response).await?;
        Ok(done)
    }
}

async fn answered<T: DeserializeOwned>(tx: &TenantTx, request: &RequestKey) -> Result<T, CommandError> {
    let logged = requests::by_id(tx, request.id)
        .await?
        .ok_or_else(|| StoreError::corrupt("request_log", "an entry that was there is gone"))?;
    if logged.method != request.method || logged.body_hash != request.body_hash {
        let message = format!("request id {} was used before, with another request", request.id);
        let diagnostic = Diagnostic::new("REUSED", "/request_id", message);
        return Err(CommandError::invalid("REQUEST_ID_REUSED", diagnostic));
    }
    let done = serde_json::from_slice(&logged.response)
        .map_err(|error| StoreError::corrupt("request_log.response", error))?;
    Ok(done)
}
