//! The two envelopes, `api.response` and `api.error`: fields in their order, written straight into the payload.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::body::{BodyKind, MessageBody};
use super::exchange::HttpExchange;
use super::id::{Content, Place};
use super::json;
use super::origin::{MessageOrigin, Names, timestamp};
use super::{Message, Topic};
use crate::error::ExecutionError;

/// Bytes of a body that an error shows as text.
const ERROR_TEXT_MAX: usize = 64 * 1024;

/// Where in the run a message stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLocation<'a> {
    /// Ids of the step and those around it, without numbers: `issues.comments`.
    pub(crate) step: &'a str,
    /// With numbers: `issues#2`.
    pub(crate) step_path: &'a str,
    /// The step's passes before this one.
    pub(crate) page: u64,
    pub(crate) time: DateTime<Utc>,
}

/// A piece of a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageChunk {
    pub(crate) chunk: u32,
    pub(crate) last: bool,
}

impl PageChunk {
    /// A page that is not cut.
    pub(crate) const WHOLE: PageChunk = PageChunk { chunk: 0, last: true };
}

#[derive(Serialize)]
struct Position<'a> {
    step: &'a str,
    step_path: &'a str,
    page: u64,
    chunk: u32,
    last_chunk: bool,
    timestamp: String,
}

#[derive(Serialize)]
struct WireError<'a> {
    class: &'a str,
    code: &'a str,
    message: &'a str,
    retries: u32,
    ignored: bool,
    pointer: &'a str,
}

/// What an error message adds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorReport<'a> {
    pub(crate) error: &'a ExecutionError,
    /// Tries after the first.
    pub(crate) retries: u32,
    /// The run goes on.
    pub(crate) ignored: bool,
    /// Errors of the same pass before it.
    pub(crate) chunk: u32,
}

/// What stands beside a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageExtras<'a> {
    /// JSON.
    pub(crate) extracted: &'a [u8],
    /// JSON object of what sub-steps left that ran once for the page; empty without any.
    pub(crate) steps: &'a [u8],
}

/// A page, or a chunk of it.
pub(crate) fn response_message(
    origin: &MessageOrigin,
    at: PageLocation<'_>,
    part: PageChunk,
    exchange: &HttpExchange,
    body: &MessageBody,
    beside: PageExtras<'_>,
) -> Message {
    assemble(origin, at, part, exchange, body, beside, None)
}

/// An error. Its body is shortened to a text where the message would be larger than `max_bytes`.
pub(crate) fn error_message(
    origin: &MessageOrigin,
    at: PageLocation<'_>,
    exchange: &HttpExchange,
    body: MessageBody,
    facts: ErrorReport<'_>,
    max_bytes: usize,
) -> Message {
    let wire = WireError {
        class: facts.error.class.as_str(),
        code: &facts.error.code,
        message: &facts.error.message,
        retries: facts.retries,
        ignored: facts.ignored,
        pointer: &facts.error.pointer,
    };
    let wire = serde_json::to_vec(&wire).unwrap_or_default();
    let make = |body: &MessageBody| {
        assemble(
            origin,
            at,
            PageChunk { chunk: facts.chunk, last: true },
            exchange,
            body,
            PageExtras { extracted: b"null", steps: b"" },
            Some(&wire),
        )
    };
    // A body that could not be read stands there as text, and never whole.
    let body = if body.kind == BodyKind::Text { shortened(&body) } else { body };
    let message = make(&body);
    if message.size() <= max_bytes {
        return message;
    }
    let shorter = make(&shortened(&body));
    if shorter.size() <= max_bytes { shorter } else { make(&MessageBody::empty()) }
}

/// The beginning of a body as text.
fn shortened(body: &MessageBody) -> MessageBody {
    let array = body.array();
    if body.kind == BodyKind::Text
        && let Ok([text]) = serde_json::from_slice::<[String; 1]>(&array)
    {
        return MessageBody::text(json::truncate_text(&text, ERROR_TEXT_MAX));
    }
    let inner = match body.kind {
        BodyKind::Array | BodyKind::Rows => array.as_slice(),
        BodyKind::Object | BodyKind::Scalar | BodyKind::Text | BodyKind::Binary | BodyKind::Empty => {
            array.get(1..array.len().saturating_sub(1)).unwrap_or_default()
        }
    };
    let text = String::from_utf8_lossy(inner);
    MessageBody::text(json::truncate_text(&text, ERROR_TEXT_MAX))
}

fn assemble(
    origin: &MessageOrigin,
    at: PageLocation<'_>,
    part: PageChunk,
    exchange: &HttpExchange,
    body: &MessageBody,
    beside: PageExtras<'_>,
    error: Option<&[u8]>,
) -> Message {
    let PageExtras { extracted, steps } = beside;
    let position = json::members(&Position {
        step: at.step,
        step_path: at.step_path,
        page: at.page,
        chunk: part.chunk,
        last_chunk: part.last,
        timestamp: timestamp(at.time),
    });
    let mut payload = Vec::with_capacity(1024 + exchange.0.len() + body.size() + extracted.len());
    payload.push(b'{');
    for members in [&origin.head, &position, &origin.trace, &exchange.0] {
        payload.extend_from_slice(members);
        payload.push(b',');
    }
    payload.extend_from_slice(b"\"body_kind\":\"");
    payload.extend_from_slice(body.kind.as_str().as_bytes());
    payload.extend_from_slice(b"\",\"response_body\":");
    let body_at = payload.len();
    body.write(&mut payload);
    let body_at = body_at..payload.len();
    payload.extend_from_slice(b",\"extracted_data\":");
    payload.extend_from_slice(extracted);
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
    let place =
        Place { execution_id: &origin.execution_id, kind, step_path: at.step_path, chunk: part.chunk };
    let content = Content {
        body_kind: body.kind.as_str(),
        response_body: &payload[body_at],
        extracted_data: extracted,
        steps,
        last_chunk: part.last,
        error: error.unwrap_or(b"null"),
    };
    let names = Names { kind, message_id: content.message_id(&place), position: place.position() };
    Message { topic, key: origin.key.clone(), headers: origin.headers(names), payload: payload.into() }
}
