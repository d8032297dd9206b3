//! What handlers read out of a request beside its fields: who calls, its request id, its ids.

use chrono::{DateTime, SubsecRound as _, Utc};
use orchid_kit::clock;
use prost::Message;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Status};
use uuid::Uuid;

use crate::{
    api::{authentication::Caller, error},
    commands::{Diagnostic, fleet::Session, idempotency::RequestKey},
};

/// The tenant of a call that the door let through as one of a tenant.
pub(crate) fn tenant_of<T>(request: &Request<T>) -> Result<Uuid, Status> {
    match request.extensions().get::<Caller>() {
        Some(Caller::Tenant(tenant_id)) => Ok(*tenant_id),
        _ => Err(not_let_through()),
    }
}

/// The session of an executor's call.
pub(crate) fn session_of<T>(request: &Request<T>) -> Result<Session, Status> {
    match request.extensions().get::<Caller>() {
        Some(Caller::Session(session)) => Ok(session.clone()),
        _ => Err(not_let_through()),
    }
}

/// The pools that a joining executor's token opens.
pub(crate) fn joined_pools<T>(request: &Request<T>) -> Result<Vec<String>, Status> {
    match request.extensions().get::<Caller>() {
        Some(Caller::JoiningExecutor(pools)) => Ok(pools.clone()),
        _ => Err(not_let_through()),
    }
}

/// The door is around every service, so this is a diagnostic of the wiring, never of the caller.
fn not_let_through() -> Status {
    error::plain(tonic::Code::Internal, "INTERNAL", "the call was not authenticated")
}

/// The request's time, as exact as Postgres keeps it: what a creation answers is what is read later.
pub(crate) fn now() -> DateTime<Utc> {
    clock::utc_now().trunc_subsecs(6)
}

/// What a request id stands for; none where the caller gave none. `body` is the request with its id left out.
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

/// A UUID of the request.
pub(crate) fn id(pointer: &str, text: &str) -> Result<Uuid, Status> {
    if text.is_empty() {
        return Err(error::invalid("INVALID_ID", Diagnostic::new("REQUIRED", pointer, "an id is required")));
    }
    Uuid::try_parse(text).map_err(|_| {
        let diagnostic = Diagnostic::new("INVALID_VALUE", pointer, format!("{text:?} is not a UUID"));
        error::invalid("INVALID_ID", diagnostic)
    })
}

/// A message field that must be there.
pub(crate) fn required<T>(field: Option<T>, pointer: &str) -> Result<T, Status> {
    field.ok_or_else(|| {
        error::invalid("INVALID_REQUEST", Diagnostic::new("REQUIRED", pointer, "the field is required"))
    })
}

/// Text, where it was sent.
pub(crate) fn non_empty(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}
