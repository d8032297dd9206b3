//! Converts errors into `google.rpc.Status`; the only place that does. Every status has an
//! `ErrorInfo` of domain `orchid`. Problems of a document become field violations, transient errors
//! carry a retry delay, and internal errors are masked and name only their trace.

use std::collections::HashMap;
use std::time::Duration;

use orchid_kit::telemetry;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::commands::fleet::FleetError;
use crate::commands::{CommandError, Diagnostic};
use crate::keys::KeyError;
use crate::store::error::StoreError;

const DOMAIN: &str = "orchid";
/// Delay after which a caller may retry.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Details travel in a header, and many clients limit headers to 8 KiB.
const MAX_VIOLATIONS_BYTES: usize = 5 * 1024;
const MAX_MESSAGE_CHARS: usize = 1000;

/// Returns a status with a reason; retryable codes also get a retry delay.
pub(crate) fn plain(code: Code, reason: &str, message: impl AsRef<str>) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, HashMap::new());
    if matches!(code, Code::Unavailable | Code::ResourceExhausted) {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    Status::with_error_details(code, shortened(message.as_ref()), details)
}

/// Returns the status of a request with one invalid field.
pub(crate) fn invalid(reason: &'static str, diagnostic: Diagnostic) -> Status {
    status(CommandError::invalid(reason, diagnostic))
}

/// Converts the error of a command.
pub(crate) fn status(error: CommandError) -> Status {
    let message = error.to_string();
    match error {
        CommandError::NotFound { what, .. } => plain(Code::NotFound, &reason_of(what, "NOT_FOUND"), message),
        CommandError::AlreadyExists { what, .. } => {
            plain(Code::AlreadyExists, &reason_of(what, "ALREADY_EXISTS"), message)
        }
        CommandError::Invalid { reason, diagnostics, .. } => invalid_document(reason, &message, &diagnostics),
        CommandError::EtagMismatch { .. } => plain(Code::Aborted, "ETAG_MISMATCH", message),
        CommandError::BasisChanged => plain(Code::Aborted, "CONCURRENT_CHANGES", message),
        error @ CommandError::CheckStopped => internal(&error),
        CommandError::Refused { reason, .. } => plain(Code::FailedPrecondition, reason, message),
        CommandError::Store(error) => of_store(&error),
        CommandError::Key(error) => of_key(&error),
    }
}

/// Converts an error of the fleet protocol.
pub(crate) fn fleet_status(error: FleetError) -> Status {
    match error {
        FleetError::SessionEnded => plain(Code::Unauthenticated, "SESSION_ENDED", error.to_string()),
        FleetError::Invalid(message) => plain(Code::InvalidArgument, "INVALID_REQUEST", message),
        FleetError::Refused(refusal) => refused(&refusal),
        FleetError::Keys(error) => of_key(&error),
        FleetError::Doorbell(error) => internal(&error),
        FleetError::Store(error) => of_store(&error),
    }
}

fn refused(refusal: &orchid_domain::lease::LeaseRefusal) -> Status {
    use orchid_domain::lease::LeaseRefusal;
    let reason = match refusal {
        LeaseRefusal::LeaseLost => "LEASE_LOST",
        LeaseRefusal::Fenced => "FENCED",
        LeaseRefusal::ExecutionTerminal => "EXECUTION_TERMINAL",
        LeaseRefusal::AlreadyLeased => "ALREADY_LEASED",
        LeaseRefusal::NotReady => "NOT_READY",
    };
    plain(Code::FailedPrecondition, reason, refusal.to_string())
}

/// Converts an error of the database: transient ones may be retried, others are masked.
pub(crate) fn of_store(error: &StoreError) -> Status {
    if let StoreError::Timeout(_) = error {
        tracing::warn!(%error, "request failed: statement ran too long");
        let message =
            "the request took too long in the database: ask for less, for example with a narrower filter";
        return plain(Code::DeadlineExceeded, "STATEMENT_TIMEOUT", message);
    }
    if error.is_transient() {
        tracing::warn!(%error, "request failed: database unavailable");
        return plain(Code::Unavailable, "DATABASE_UNAVAILABLE", "the database is unavailable: try again");
    }
    internal(error)
}

fn of_key(error: &KeyError) -> Status {
    internal(error)
}

fn internal(error: &(dyn std::error::Error + 'static)) -> Status {
    let trace_id = telemetry::current_traceparent().map(|place| place.trace_id_hex()).unwrap_or_default();
    tracing::error!(error, trace_id, "request failed: internal error");
    let mut details = ErrorDetails::new();
    details.set_error_info("INTERNAL", DOMAIN, HashMap::from([("trace_id".to_owned(), trace_id.clone())]));
    let message = format!("internal error, trace {trace_id}");
    Status::with_error_details(Code::Internal, message, details)
}

/// Converts the problems of a document to field violations, as many as fit into a header. The
/// validate methods return all of them in their response.
fn invalid_document(reason: &'static str, message: &str, diagnostics: &[Diagnostic]) -> Status {
    // Clients must be able to tell a feature that this server lacks from a mistake.
    let is_unsupported =
        !diagnostics.is_empty() && diagnostics.iter().all(|diagnostic| diagnostic.code == "UNSUPPORTED");
    let reason = if is_unsupported { "UNSUPPORTED" } else { reason };
    let mut violations: Vec<FieldViolation> = Vec::new();
    let mut bytes = 0;
    for diagnostic in diagnostics {
        let violation = violation(diagnostic);
        // 12 bytes cover the tags and lengths of the encoded message.
        bytes += violation.field.len() + violation.description.len() + violation.reason.len() + 12;
        if bytes > MAX_VIOLATIONS_BYTES {
            break;
        }
        violations.push(violation);
    }
    let omitted = diagnostics.len() - violations.len();
    let mut metadata = HashMap::new();
    if omitted > 0 {
        metadata.insert("diagnostics_omitted".to_owned(), omitted.to_string());
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, metadata);
    details.set_bad_request(violations);
    Status::with_error_details(Code::InvalidArgument, shortened(message), details)
}

fn violation(diagnostic: &Diagnostic) -> FieldViolation {
    let Diagnostic { code, pointer, message, suggestion, position, in_scope } = diagnostic;
    let mut description = message.clone();
    if let Some(position) = position {
        description.push_str(&format!(" (at byte {position})"));
    }
    if let Some(suggestion) = suggestion {
        description.push_str(&format!("; did you mean {suggestion}"));
    }
    if !in_scope.is_empty() {
        description.push_str(&format!("; in scope: {}", in_scope.join(", ")));
    }
    FieldViolation {
        field: pointer.clone(),
        description: shortened(&description),
        reason: (*code).to_owned(),
        localized_message: None,
    }
}

fn reason_of(what: &str, end: &str) -> String {
    format!("{}_{end}", what.replace(' ', "_").to_uppercase())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::DbErr;

    use super::*;

    fn reason(status: &Status) -> String {
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.domain, "orchid");
        info.reason
    }

    #[test]
    fn every_error_has_code_and_reason() {
        let diagnostic = || Diagnostic::new("REQUIRED", "/key", "a key is required");
        let cases = [
            (CommandError::not_found("plan revision", "p/3"), Code::NotFound, "PLAN_REVISION_NOT_FOUND"),
            (
                CommandError::AlreadyExists { what: "plan", name: "p".into() },
                Code::AlreadyExists,
                "PLAN_ALREADY_EXISTS",
            ),
            (CommandError::invalid("INVALID_PLAN", diagnostic()), Code::InvalidArgument, "INVALID_PLAN"),
            (CommandError::EtagMismatch { what: "plan", name: "p".into() }, Code::Aborted, "ETAG_MISMATCH"),
            (
                CommandError::Refused { reason: "IN_USE", message: "used".into() },
                Code::FailedPrecondition,
                "IN_USE",
            ),
            (
                StoreError::from(DbErr::ConnectionAcquire(sea_orm::ConnAcquireErr::Timeout)).into(),
                Code::Unavailable,
                "DATABASE_UNAVAILABLE",
            ),
            (StoreError::corrupt("plans", "bad").into(), Code::Internal, "INTERNAL"),
        ];
        for (error, code, expected) in cases {
            let status = status(error);
            assert_eq!(status.code(), code);
            assert_eq!(reason(&status), expected);
            assert_eq!(status.get_details_retry_info().is_some(), code == Code::Unavailable);
        }
    }

    #[test]
    fn internal_error_hides_its_cause() {
        let status = status(StoreError::corrupt("plans", "relation secret_table is missing").into());
        assert!(!status.message().contains("secret_table"));
        assert!(!String::from_utf8_lossy(status.details()).contains("secret_table"));
    }

    #[test]
    fn violation_has_pointer_position_suggestion_and_scope() {
        let diagnostic = Diagnostic {
            position: Some(3),
            in_scope: vec!["config".into(), "response".into()],
            ..Diagnostic::new("UNKNOWN_NAME", "/definition/step/url", "\"confg\" is not in scope")
                .suggest(Some("config"))
        };
        let status = status(CommandError::invalid_document("INVALID_PLAN", "the plan", vec![diagnostic]));
        let violation = &status.get_details_bad_request().unwrap().field_violations[0];
        assert_eq!(violation.field, "/definition/step/url");
        assert_eq!(violation.reason, "UNKNOWN_NAME");
        assert_eq!(
            violation.description,
            "\"confg\" is not in scope (at byte 3); did you mean config; in scope: config, response"
        );
        assert_eq!(
            status.message(),
            "the plan has 1 problem, first /definition/step/url: \"confg\" is not in scope"
        );
    }

    #[test]
    fn unsupported_fields_have_their_own_reason() {
        let diagnostics = vec![Diagnostic::new("UNSUPPORTED", "/cron", "not served yet")];
        assert_eq!(
            reason(&status(CommandError::invalid_document("INVALID_PLAN", "the plan", diagnostics))),
            "UNSUPPORTED"
        );
    }

    #[test]
    fn thousand_diagnostics_fit_into_a_header() {
        let diagnostics =
            (0..1000).map(|n| Diagnostic::new("REQUIRED", format!("/a/{n}"), "x".repeat(2000))).collect();
        let status = status(CommandError::invalid_document("INVALID_PLAN", "the plan", diagnostics));
        assert!(status.details().len() < 8 * 1024, "{}", status.details().len());
        let info = status.get_details_error_info().unwrap();
        let listed = status.get_details_bad_request().unwrap().field_violations.len();
        assert_eq!(info.metadata["diagnostics_omitted"], (1000 - listed).to_string());
    }
}
