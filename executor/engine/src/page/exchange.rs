//! The request of a page and its response, from the try that sent the request to the end of the
//! page.

use bytes::Bytes;
use orchid_plan::{EvalEnv, Scope, ScopeName, Value};
use url::Url;

use crate::body::{Body, RowReader};
use crate::input::TryId;
use crate::message::exchange::{ReceivedResponse, SentRequest};
use crate::message::redact::Redactor;
use crate::rules::asked_wait::AskedWait;
use crate::rules::conditional::Revalidation;
use crate::rules::outcome::{TryFacts, TryFailure};
use crate::state::buffer_meter::HeldValue;
use crate::state::error_detail::ErrorDetail;
use crate::state::exit::{ErrorContext, StepError};
use crate::state::location::StepLocation;

/// A try, with everything that its response is judged by.
pub(crate) struct SentTry {
    pub(crate) try_id: TryId,
    /// Time and randomness of the try.
    pub(crate) env: EvalEnv,
    /// The variables with which the request was rendered.
    pub(crate) scope: Scope,
    pub(crate) url: Url,
    pub(crate) facts: SentRequest,
    /// Fingerprint of method, URL and body, if pagination watches for repeats.
    pub(crate) fingerprint: Option<u64>,
    /// Validators sent with the request, if the step is conditional.
    pub(crate) revalidation: Option<Revalidation>,
}

/// The response to a try, after its body was read.
pub(crate) struct TryResponse {
    pub(crate) facts: ReceivedResponse,
    pub(crate) tried: TryFacts,
    pub(crate) body: Body,
    /// All `Link` headers, joined.
    pub(crate) link: Option<String>,
    /// The bytes of a body that broke off, or that does not decode to its end.
    pub(crate) partial: Option<Bytes>,
    /// The response as expressions see it: `{status_code, headers, body, url}`.
    pub(crate) value: HeldValue,
    /// The rows of a streamed body, with the try that delivers its pieces; taken by the page.
    pub(crate) stream: Option<(RowReader, TryId)>,
    /// True if the page took the rows from the stream.
    pub(crate) streamed: bool,
    /// The beginning and the end of a JSON document that was streamed to its end.
    pub(crate) edges: Option<Vec<u8>>,
    /// Description of what is wrong with the response; empty for a success.
    pub(crate) problem: String,
    /// The wait that its headers ask for.
    pub(crate) asked_wait: Option<AskedWait>,
    /// Fingerprint of the body, if the loop compares its answers.
    pub(crate) answer: Option<u64>,
    /// Set if the loop compares its answers, and this one is streamed.
    pub(crate) comparison: Option<AnswerComparison>,
}

/// Comparison of a streamed answer, whose fingerprint is known at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnswerComparison {
    /// Fingerprint of the page before, if a repeat of it ends the loop.
    pub(crate) latest: Option<u64>,
}

impl TryResponse {
    /// Turns a success into a failure, because its body broke off or could not be decoded while it
    /// was streamed.
    pub(crate) fn fail(&mut self, failure: TryFailure, problem: String, retries_left: bool) {
        self.tried = TryFacts { status: self.tried.status, failure: Some(failure), retries_left };
        self.problem = problem;
    }

    /// Returns whether the body was not read to its end: it broke off, or does not decode.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.tried.failure, Some(TryFailure::Fetch(_) | TryFailure::Decode(_)))
    }
}

/// A try and its response.
pub(crate) struct PageExchange {
    pub(crate) sent: SentTry,
    pub(crate) response: TryResponse,
}

impl PageExchange {
    /// Joins a try and its response, which expressions then read as `response`.
    pub(crate) fn new(mut sent: SentTry, response: TryResponse) -> Self {
        sent.scope.set(ScopeName::Response, Value::clone(&response.value));
        Self { sent, response }
    }

    /// Returns whether the response says that nothing has changed. A 304 is an answer only to
    /// validators that were sent; otherwise the outcome table treats it like any status.
    pub(crate) fn is_unmodified(&self) -> bool {
        let revalidates = self.sent.revalidation.as_ref().is_some_and(|sent| sent.revalidates);
        self.response.tried.status == Some(304) && revalidates
    }

    /// Creates an error about the response.
    pub(crate) fn error(
        &self,
        redactor: &Redactor,
        location: StepLocation,
        detail: ErrorDetail,
    ) -> StepError {
        let context = ErrorContext {
            sent: Some(&self.sent.facts),
            response: Some(&self.response.facts),
            body: Some(self.response.body.to_error_body()),
        };
        StepError::new(redactor, location, detail, context)
    }
}
