//! Ways for an execution to end before its last step.

use crate::error::{ErrorClass, ExecutionError};
use crate::message::body::MessageBody;
use crate::message::excerpt::excerpt;
use crate::message::exchange::{HttpExchange, ReceivedResponse, SentRequest};
use crate::message::redact::Redactor;
use crate::output::EndStatus;
use crate::state::error_detail::ErrorDetail;
use crate::state::location::StepLocation;
use crate::state::plan_limit::PlanLimit;

/// Reason why a step cannot continue.
pub(crate) enum StepExit {
    /// An error, or the plan's own `abort_…`.
    Error(Box<StepError>),
    /// A limit that `on_limit` decides about, with the location where it was reached; without a
    /// location when the execution time is used up.
    Limit(PlanLimit, Option<Box<StepLocation>>),
}

/// An error with everything that its message contains.
pub(crate) struct StepError {
    /// Status with which the execution ends.
    pub(crate) status: EndStatus,
    pub(crate) error: ExecutionError,
    pub(crate) location: StepLocation,
    /// True if the error ends the execution even if it happened in one row of many.
    pub(crate) ends_execution: bool,
    /// True if its message was emitted.
    pub(crate) is_reported: bool,
    /// The request and the response, redacted.
    pub(crate) exchange: HttpExchange,
    pub(crate) body: MessageBody,
}

/// The request and the response that an error is about, as far as they exist.
#[derive(Default)]
pub(crate) struct ErrorContext<'a> {
    pub(crate) sent: Option<&'a SentRequest>,
    pub(crate) response: Option<&'a ReceivedResponse>,
    pub(crate) body: Option<MessageBody>,
}

impl StepError {
    /// Creates an error, with secrets redacted.
    pub(crate) fn new(
        redactor: &Redactor,
        location: StepLocation,
        detail: ErrorDetail,
        context: ErrorContext<'_>,
    ) -> Self {
        let (no_request, no_response) = (SentRequest::default(), ReceivedResponse::default());
        let sent = context.sent.unwrap_or(&no_request);
        let response = context.response.unwrap_or(&no_response);
        let status = match detail.class {
            ErrorClass::Aborted => EndStatus::Aborted,
            ErrorClass::Config
            | ErrorClass::Transient
            | ErrorClass::Permanent
            | ErrorClass::RateLimit
            | ErrorClass::Limit
            | ErrorClass::System => EndStatus::Failed,
        };
        Self {
            status,
            ends_execution: detail.ends_execution(),
            is_reported: false,
            error: ExecutionError {
                response_excerpt: match &context.body {
                    Some(body) if detail.blames_response() => excerpt(body, redactor),
                    Some(_) | None => String::new(),
                },
                class: detail.class,
                code: detail.code.to_owned(),
                message: redactor.prose(&detail.message).into_owned(),
                pointer: detail.pointer,
                status_code: response.status,
                step_path: location.path.clone(),
            },
            location,
            exchange: HttpExchange::new(sent, response, redactor),
            body: context.body.unwrap_or_else(MessageBody::empty),
        }
    }
}

impl From<StepError> for StepExit {
    fn from(error: StepError) -> Self {
        Self::Error(Box::new(error))
    }
}
