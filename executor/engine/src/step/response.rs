//! Reads a response: its body, the facts that the outcome table looks at, and its value for
//! expressions.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use orchid_plan::{Method, PlainPath, ResponseFormat, Value};

use crate::body::{Body, BodyReader, DecodeError, FileDecoder, RowReader, read_files};
use crate::input::{ArchiveFile, CurrentTime, FetchError, Response};
use crate::message::exchange::ReceivedResponse;
use crate::page::exchange::{SentTry, TryResponse};
use crate::program::node::StepNode;
use crate::program::required_fields::RequiredFields;
use crate::rules::asked_wait;
use crate::rules::outcome::{TryFacts, TryFailure};

/// Maximum size of one row of a streamed body, in bytes.
const ROW_MAX: usize = 16 * 1024 * 1024;

/// The rows of a streamed response.
pub(crate) enum StreamedRows {
    /// The body is decoded row by row.
    Rows(RowReader),
    /// The body has to be read as a whole.
    WholeBody,
    /// The body cannot be decoded.
    Failed(TryFailure, String),
}

/// Decides how to read a streamed body, by the head of its response.
pub(crate) fn streamed_rows(node: &StepNode, head: &Response) -> StreamedRows {
    let content_type = joined_header(&head.headers, "content-type").unwrap_or_default();
    let rules = &node.step.response;
    if rules.archive.is_some() && matches!(rules.format, ResponseFormat::Csv | ResponseFormat::Jsonl) {
        return StreamedRows::Rows(RowReader::from_files(FileDecoder::new(rules, &content_type, ROW_MAX)));
    }
    let whole_body = PlainPath::default();
    let path = node.step.rows.as_ref().and_then(|rows| rows.plain.as_ref()).unwrap_or(&whole_body);
    match body_reader(node, head.status, &content_type).row_decoder(path, ROW_MAX) {
        Ok(Some(decoder)) => StreamedRows::Rows(RowReader::from_decoder(decoder)),
        Ok(None) => StreamedRows::WholeBody,
        Err(error) => StreamedRows::Failed(TryFailure::Decode(error.code()), error.to_string()),
    }
}

/// Reads a response whose body has arrived, or whose body is streamed and therefore still empty.
pub(crate) fn read(
    node: &StepNode,
    sent: &SentTry,
    response: Response,
    now: CurrentTime,
    duration: Duration,
    retries_left: bool,
) -> TryResponse {
    let Response { status, headers, body: bytes, url, files } = response;
    let content_type = joined_header(&headers, "content-type").unwrap_or_default();
    let reader = body_reader(node, status, &content_type);
    let accepted = node.step.outcome.accept_on.iter().any(|matcher| matcher.matches(Some(status), None));
    let (body, failure, problem) = match status {
        200..=299 if !accepted => match read_body(node, &reader, &bytes, &files) {
            Ok(body) => (body, None, String::new()),
            Err(error) => {
                (reader.read_lenient(&bytes), Some(TryFailure::Decode(error.code())), error.to_string())
            }
        },
        // `accept_on` takes the response whatever its body is.
        200..=299 => (reader.read_lenient(&bytes), None, String::new()),
        _ => {
            let problem = format!("the upstream answered {status}");
            (reader.read_lenient(&bytes), Some(TryFailure::Status), problem)
        }
    };
    let value = response_value(&node.needs, Some(status), Some(&headers), &body, &url, &files);
    TryResponse {
        asked_wait: asked_wait::of_headers(status, &headers, now.wall),
        link: joined_header(&headers, "link"),
        tried: TryFacts { status: Some(status), failure, retries_left },
        // The URL is reported only if redirects led elsewhere.
        facts: ReceivedResponse {
            url: (url != sent.url.as_str()).then_some(url),
            status: Some(status),
            headers: Some(headers),
            size: Some(bytes.len() as u64),
            duration_ms: Some(millis(duration)),
        },
        body,
        value,
        stream: None,
        streamed: false,
        answer: None,
        comparison: None,
        problem,
    }
}

/// Creates the response of a try that ended without one: expressions see it as empty.
pub(crate) fn without_response(
    node: &StepNode,
    error: FetchError,
    duration: Duration,
    retries_left: bool,
) -> TryResponse {
    // Conditions are not evaluated without a response, but `set_context` and pagination are, if
    // the error is ignored.
    let body = Body::Empty;
    TryResponse {
        value: response_value(&node.needs, error.status, None, &body, "", &[]),
        tried: TryFacts { status: error.status, failure: Some(TryFailure::Fetch(error.kind)), retries_left },
        facts: ReceivedResponse {
            url: None,
            status: error.status,
            headers: None,
            size: None,
            duration_ms: Some(millis(duration)),
        },
        link: None,
        stream: None,
        streamed: false,
        answer: None,
        comparison: None,
        body,
        problem: error.message,
        asked_wait: None,
    }
}

/// Reads a whole body: the files of an archive one by one if the plan selects them.
fn read_body(
    node: &StepNode,
    reader: &BodyReader<'_>,
    bytes: &Bytes,
    files: &[ArchiveFile],
) -> Result<Body, DecodeError> {
    if node.step.response.archive.is_some() && !files.is_empty() {
        return read_files(reader, bytes, files);
    }
    reader.read(bytes)
}

fn body_reader<'a>(node: &'a StepNode, status: u16, content_type: &'a str) -> BodyReader<'a> {
    let is_head = node.step.request().is_some_and(|request| request.method() == Method::Head);
    BodyReader {
        rules: &node.step.response,
        content_type,
        bodiless: status == 204 || is_head,
        parts: &node.needs.body,
    }
}

/// Returns the response as expressions see it, with only those members that some expression reads.
fn response_value(
    needs: &RequiredFields,
    status: Option<u16>,
    headers: Option<&Vec<(String, String)>>,
    body: &Body,
    url: &str,
    files: &[ArchiveFile],
) -> Value {
    let headers = || headers.map_or_else(|| Value::object::<&str>([]), |headers| headers_value(headers));
    let url = || if url.is_empty() { Value::null() } else { Value::from(url) };
    let files = || match files {
        [] => Value::null(),
        files => Value::list(files.iter().map(|file| Value::from(file.name.as_str()))),
    };
    let members = [
        needs
            .status
            .then(|| ("status_code", Value::from(status.map(|status| Value::from(u32::from(status)))))),
        needs.headers.then(|| ("headers", headers())),
        Some(("body", body.value())),
        needs.url.then(|| ("url", url())),
        needs.files.then(|| ("files", files())),
    ];
    Value::object(members.into_iter().flatten())
}

/// Joins repeated headers with `, `, as RFC 9110 permits. `set-cookie` is the exception: its values
/// contain commas, so it becomes a list.
fn headers_value(headers: &[(String, String)]) -> Value {
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    let mut cookies = Vec::new();
    for (name, value) in headers {
        if name == "set-cookie" {
            cookies.push(Value::from(value.as_str()));
        } else if let Some(before) = texts.get_mut(name.as_str()) {
            before.push_str(", ");
            before.push_str(value);
        } else {
            texts.insert(name, value.clone());
        }
    }
    let cookies = (!cookies.is_empty()).then(|| ("set-cookie", Value::list(cookies)));
    Value::object(texts.into_iter().map(|(name, text)| (name, Value::from(text))).chain(cookies))
}

fn joined_header(headers: &[(String, String)], name: &str) -> Option<String> {
    let mut values = headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let first = values.next()?.to_owned();
    Some(values.fold(first, |all, value| all + ", " + value))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
