//! Reads the caller, the request id and other ids of a request.

use chrono::{DateTime, SubsecRound as _, Utc};
use orchid_kit::clock;
use prost::Message;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Status};
use uuid::Uuid;

use crate::api::authentication::Caller;
use crate::api::error;
use crate::commands::Diagnostic;
use crate::commands::fleet::Session;
use crate::commands::idempotency::RequestKey;

/// Returns the tenant that calls.
pub(crate) fn tenant_of<T>(request: &Request<T>) -> Result<Uuid, Status> {
    match request.extensions().get::<Caller>() {
        Some(Caller::Tenant(tenant_id)) => Ok(*tenant_id),
        _ => Err(not_authenticated()),
    }
}

/// Returns the session of the executor that calls.
pub(crate) fn session_of<T>(request: &Request<T>) -> Result<Session, Status> {
    match request.extensions().get::<Caller>() {
        Some(Caller::Session(session)) => Ok(session.clone()),
        _ => Err(not_authenticated()),
    }
}

/// Returns the pools that the token of a joining executor is valid for.
pub(crate) fn joined_pools<T>(request: &Request<T>) -> Result<Vec<String>, Status> {
    match request.extensions().get::<Caller>() {
        Some(Caller::JoiningExecutor(pools)) => Ok(pools.clone()),
        _ => Err(not_authenticated()),
    }
}

/// Authentication wraps every service, so this error is a bug of the wiring, never of the caller.
fn not_authenticated() -> Status {
    error::plain(tonic::Code::Internal, "INTERNAL", "the call was not authenticated")
}

/// Returns the time of the request, truncated to Postgres's precision: the response of a create
/// must equal what later reads return.
pub(crate) fn now() -> DateTime<Utc> {
    clock::utc_now().trunc_subsecs(6)
}

/// Returns the idempotency key of a request; none if the caller sent no request id. `body` is the
/// request without its id.
pub(crate) fn request_key(
    request_id: &str,
    method: &'static str,
    body: &impl Message,
    now: DateTime<Utc>,
) -> Result<Option<RequestKey>, Status> {
    if request_id.is_empty() {
        return Ok(None);
    }
    let id = id("/request_id", request_id)?;
    let body_hash = Sha256::digest(body.encode_to_vec()).into();
    Ok(Some(RequestKey { id, method, body_hash, now }))
}

/// Parses a UUID of the request.
pub(crate) fn id(pointer: &str, text: &str) -> Result<Uuid, Status> {
    if text.is_empty() {
        return Err(error::invalid("INVALID_ID", Diagnostic::new("REQUIRED", pointer, "an id is required")));
    }
    Uuid::try_parse(text).map_err(|_| {
        let diagnostic = Diagnostic::new("INVALID_VALUE", pointer, format!("{text:?} is not a UUID"));
        error::invalid("INVALID_ID", diagnostic)
    })
}

/// Returns a required message field.
pub(crate) fn required<T>(field: Option<T>, pointer: &str) -> Result<T, Status> {
    field.ok_or_else(|| {
        error::invalid("INVALID_REQUEST", Diagnostic::new("REQUIRED", pointer, "the field is required"))
    })
}

/// Returns the text, or none if it is empty.
pub(crate) fn non_empty(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}
