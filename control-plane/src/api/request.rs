//! Reads the caller, the request id and other ids of a request.

use chrono::{DateTime, SubsecRound as _, Utc};
use orchid_kit::clock;
use orchid_proto::{CheckTexts, TextProblem};
use prost::Message;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Status};
use uuid::Uuid;

use crate::api::authentication::Caller;
use crate::api::error;
use crate::commands::fleet::Session;
use crate::commands::idempotency::RequestKey;
use crate::commands::{CommandError, Diagnostic};

/// Checks the texts of a request, and returns the tenant that calls.
pub(crate) fn checked_tenant<T: CheckTexts>(request: &Request<T>) -> Result<Uuid, Status> {
    match checked_caller(request)? {
        Caller::Tenant(tenant_id) => Ok(*tenant_id),
        _ => Err(not_authenticated()),
    }
}

/// Checks the texts of a request, and that an operator calls.
pub(crate) fn checked_operator<T: CheckTexts>(request: &Request<T>) -> Result<(), Status> {
    match checked_caller(request)? {
        Caller::Operator => Ok(()),
        _ => Err(not_authenticated()),
    }
}

/// Checks the texts of a request, and returns the session of the executor that calls.
pub(crate) fn checked_session<T: CheckTexts>(request: &Request<T>) -> Result<Session, Status> {
    match checked_caller(request)? {
        Caller::Session(session) => Ok(session.clone()),
        _ => Err(not_authenticated()),
    }
}

/// Checks the texts of a request, and returns the pools that the token of a joining executor is
/// valid for.
pub(crate) fn checked_pools<T: CheckTexts>(request: &Request<T>) -> Result<Vec<String>, Status> {
    match checked_caller(request)? {
        Caller::JoiningExecutor(pools) => Ok(pools.clone()),
        _ => Err(not_authenticated()),
    }
}

fn checked_caller<T: CheckTexts>(request: &Request<T>) -> Result<&Caller, Status> {
    let problems = orchid_proto::text_problems(request.get_ref());
    if problems.is_empty() {
        return request.extensions().get::<Caller>().ok_or_else(not_authenticated);
    }
    let diagnostic = |problem: TextProblem| {
        let code = if problem.is_too_large { "TOO_LARGE" } else { "INVALID_VALUE" };
        Diagnostic::new(code, problem.pointer, problem.message)
    };
    let diagnostics = problems.into_iter().map(diagnostic).collect();
    Err(error::status(CommandError::invalid_document("INVALID_TEXT", "the request", diagnostics)))
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
