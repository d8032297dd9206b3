//! The envelopes `api.response` and `api.error`. Fields are written directly into the payload, in a
//! fixed order.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::body::{BodyKind, MessageBody};
use super::exchange::HttpExchange;
use super::id::{MessageContent, MessagePosition};
use super::json;
use super::kafka::{Message, Topic};
use super::origin::{MessageNames, MessageOrigin, timestamp};
use crate::error::ExecutionError;

/// Most bytes of a body that an error message shows as text.
pub(crate) const ERROR_TEXT_MAX: usize = 64 * 1024;

/// The page of an execution that a message belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLocation<'a> {
    /// Ids of the enclosing steps and the step, without numbers: `issues.comments`.
    pub(crate) step: &'a str,
    /// The same with numbers: `issues#2`.
    pub(crate) step_path: &'a str,
    /// Number of earlier pages of the step.
    pub(crate) page: u64,
    pub(crate) time: DateTime<Utc>,
}

/// The number of a chunk within its page, and whether it is the last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageChunk {
    pub(crate) number: u32,
    pub(crate) last: bool,
}

impl PageChunk {
    /// The only chunk of a page that is not split.
    pub(crate) const WHOLE: Self = Self { number: 0, last: true };
}

#[derive(Serialize)]
struct LocationFields<'a> {
    step: &'a str,
    step_path: &'a str,
    page: u64,
    chunk: u32,
    last_chunk: bool,
    timestamp: String,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    class: &'a str,
    code: &'a str,
    message: &'a str,
    retries: u32,
    ignored: bool,
    pointer: &'a str,
}

/// An error with what its message reports about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorReport<'a> {
    pub(crate) error: &'a ExecutionError,
    /// Number of tries after the first.
    pub(crate) retries: u32,
    /// True if the execution continues.
    pub(crate) ignored: bool,
    /// Number of earlier errors of the same page.
    pub(crate) chunk: u32,
}

/// Data of a page in addition to its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageExtras<'a> {
    /// JSON.
    pub(crate) extracted: &'a [u8],
    /// JSON object of the results of sub-steps that ran once for the page; empty if there are none.
    pub(crate) steps: &'a [u8],
}

/// Creates the message of a page or chunk.
pub(crate) fn response_message(
    origin: &MessageOrigin,
    page: PageLocation<'_>,
    chunk: PageChunk,
    exchange: &HttpExchange,
    body: &MessageBody,
    extras: PageExtras<'_>,
) -> Message {
    assemble(origin, page, chunk, exchange, body, extras, None)
}

/// Creates an error message. If it would exceed `max_bytes`, its body is truncated to a text, and
/// finally dropped.
pub(crate) fn error_message(
    origin: &MessageOrigin,
    page: PageLocation<'_>,
    exchange: &HttpExchange,
    body: MessageBody,
    report: ErrorReport<'_>,
    max_bytes: usize,
) -> Message {
    let fields = ErrorFields {
        class: report.error.class.as_str(),
        code: &report.error.code,
        message: &report.error.message,
        retries: report.retries,
        ignored: report.ignored,
        pointer: &report.error.pointer,
    };
    let error = serde_json::to_vec(&fields).unwrap_or_default();
    let make = |body: &MessageBody| {
        assemble(
            origin,
            page,
            PageChunk { number: report.chunk, last: true },
            exchange,
            body,
            PageExtras { extracted: b"null", steps: b"" },
            Some(&error),
        )
    };
    // A body that could not be parsed is text, which is always truncated: it may be anything.
    let body = if body.kind == BodyKind::Text { truncated(&body) } else { body };
    let message = make(&body);
    if message.size() <= max_bytes {
        return message;
    }
    // Headers and URL alone may still be too large with the text; the error matters more than the
    // body.
    let shorter = make(&truncated(&body));
    if shorter.size() <= max_bytes { shorter } else { make(&MessageBody::empty()) }
}

/// Returns the start of a body as text.
fn truncated(body: &MessageBody) -> MessageBody {
    let text = if body.kind == BodyKind::Text { body.as_text() } else { None };
    let text = text.unwrap_or_else(|| body.received_json());
    MessageBody::text(json::truncate_text(&text, ERROR_TEXT_MAX))
}

fn assemble(
    origin: &MessageOrigin,
    page: PageLocation<'_>,
    chunk: PageChunk,
    exchange: &HttpExchange,
    body: &MessageBody,
    extras: PageExtras<'_>,
    error: Option<&[u8]>,
) -> Message {
    let PageExtras { extracted, steps } = extras;
    let location = json::members(&LocationFields {
        step: page.step,
        step_path: page.step_path,
        page: page.page,
        chunk: chunk.number,
        last_chunk: chunk.last,
        timestamp: timestamp(page.time),
    });
    // Allocated once: bodies are large, and growing would copy them several times.
    let mut payload = Vec::with_capacity(1024 + exchange.0.len() + body.size() + extracted.len());
    payload.push(b'{');
    for members in [&origin.head, &location, &origin.trace, &exchange.0] {
        payload.extend_from_slice(members);
        payload.push(b',');
    }
    payload.extend_from_slice(b"\"body_kind\":\"");
    payload.extend_from_slice(body.kind.as_str().as_bytes());
    payload.extend_from_slice(b"\",\"response_body\":");
    // The id hashes the body where it already is in the payload instead of printing it twice.
    let body_at = payload.len();
    body.write(&mut payload);
    let body_at = body_at..payload.len();
    payload.extend_from_slice(b",\"extracted_data\":");
    payload.extend_from_slice(extracted);
    // `steps` is omitted rather than null: it is also a tenth field of the message id.
    if !steps.is_empty() {
        payload.extend_from_slice(b",\"steps\":");
        payload.extend_from_slice(steps);
    }
    if let Some(error) = error {
        payload.extend_from_slice(b",\"error\":");
        payload.extend_from_slice(error);
    }
    payload.push(b'}');

    let (topic, kind) = match error {
        None => (Topic::Responses, "api.response"),
        Some(_) => (Topic::Errors, "api.error"),
    };
    let position = MessagePosition {
        execution_id: &origin.execution_id,
        kind,
        step_path: page.step_path,
        chunk: chunk.number,
    };
    let content = MessageContent {
        body_kind: body.kind.as_str(),
        response_body: &payload[body_at],
        extracted_data: extracted,
        steps,
        last_chunk: chunk.last,
        error: error.unwrap_or(b"null"),
    };
    let names = MessageNames { kind, message_id: content.message_id(&position), position: position.hex() };
    Message { topic, key: origin.key.clone(), headers: origin.headers(names), payload: payload.into() }
}
