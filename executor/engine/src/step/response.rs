//! Reads a response: its body, the facts that the outcome table looks at, and its value for
//! expressions.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use orchid_plan::{Method, ResponseFormat, ResponseRules, Value};

use crate::body::{Body, BodyReader, DecodeError, FileDecoder, RowPath, RowReader, read_files};
use crate::input::{ArchiveFile, FetchError, Response};
use crate::message::exchange::ReceivedResponse;
use crate::page::exchange::{SentTry, TryResponse};
use crate::program::node::{StepNode, sends_files};
use crate::program::required_fields::RequiredFields;
use crate::rules::asked_wait;
use crate::rules::outcome::{TryFacts, TryFailure};
use crate::state::buffer_meter::HeldValue;
use crate::state::engine_cx::EngineCx;

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
    let path = RowPath::of(node.step.rows.as_ref());
    match body_reader(node, head.status, &content_type).row_decoder(&path, ROW_MAX) {
        Ok(Some(decoder)) => StreamedRows::Rows(RowReader::from_decoder(decoder)),
        Ok(None) => match body_reader(node, head.status, &content_type).file_parts() {
            Some(parts) if sends_files(&node.step) => StreamedRows::Rows(RowReader::from_parts(parts)),
            Some(_) | None => StreamedRows::WholeBody,
        },
        Err(error) => StreamedRows::Failed(TryFailure::Decode(error.code()), error.to_string()),
    }
}

/// Reads a response whose body has arrived, or whose body is streamed and therefore still empty.
pub(crate) fn read(
    node: &StepNode,
    sent: &SentTry,
    response: Response,
    cx: &EngineCx<'_>,
    duration: Duration,
    retries_left: bool,
) -> TryResponse {
    let Response { status, headers, body: bytes, url, files } = response;
    let content_type = joined_header(&headers, "content-type").unwrap_or_default();
    let max_value_bytes = cx.run.limits.value_max_bytes;
    let reader = BodyReader { max_value_bytes, ..body_reader(node, status, &content_type) };
    let accepted = node.step.outcome.accept_on.iter().any(|matcher| matcher.matches(Some(status), None));
    let mut partial = None;
    let (body, failure, problem) = match status {
        200..=299 if !accepted => match read_body(node, &reader, &bytes, &files) {
            Ok(body) => (body, None, String::new()),
            Err(error) => {
                partial = Some(bytes.clone());
                (reader.read_lenient(&bytes), Some(TryFailure::Decode(error.code())), error.to_string())
            }
        },
        // `accept_on` takes the response whatever its body is.
        200..=299 => (reader.read_lenient(&bytes), None, String::new()),
        _ => {
            let problem = format!("the upstream answered {status}");
            (read_error(node, &reader, &bytes), Some(TryFailure::Status), problem)
        }
    };
    let value = response_value(&node.needs, Some(status), Some(&headers), &body, &url, &files);
    let value = cx.run.buffers.hold_value(value, body.value_bytes());
    TryResponse {
        asked_wait: asked_wait::of_headers(status, &headers, cx.now.wall),
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
        partial,
        value,
        stream: None,
        streamed: false,
        edges: None,
        answer: None,
        comparison: None,
        problem,
    }
}

/// Creates the response of a try that failed. If the head of a response had arrived, its status,
/// headers and the part of its body that came are kept; otherwise expressions see it as empty.
pub(crate) fn interrupted(
    node: &StepNode,
    sent: &SentTry,
    error: FetchError,
    cx: &EngineCx<'_>,
    duration: Duration,
    retries_left: bool,
) -> TryResponse {
    let FetchError { kind, message, status, received } = error;
    let tried = TryFacts { status, failure: Some(TryFailure::Fetch(kind)), retries_left };
    if let Some(response) = received {
        let bytes = response.body.clone();
        let as_read = read(node, sent, *response, cx, duration, retries_left);
        let partial = (!bytes.is_empty()).then_some(bytes);
        return TryResponse { tried, problem: message, partial, ..as_read };
    }
    // Conditions are not evaluated without a response, but `set_context` and pagination are, if
    // the error is ignored.
    let body = Body::Empty;
    TryResponse {
        value: HeldValue::uncounted(response_value(&node.needs, status, None, &body, "", &[])),
        tried,
        facts: ReceivedResponse {
            url: None,
            status,
            headers: None,
            size: None,
            duration_ms: Some(millis(duration)),
        },
        link: None,
        stream: None,
        streamed: false,
        edges: None,
        answer: None,
        comparison: None,
        body,
        partial: None,
        problem: message,
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

/// Creates the reader of the rows that came before a body broke off; `None` if its format has none
/// before its end.
pub(crate) fn partial_rows(
    node: &StepNode,
    response: &TryResponse,
) -> Result<Option<RowReader>, DecodeError> {
    let Some(received) = &response.partial else { return Ok(None) };
    let headers = response.facts.headers.as_deref().unwrap_or_default();
    let content_type = joined_header(headers, "content-type").unwrap_or_default();
    let status = response.tried.status.unwrap_or_default();
    let path = RowPath::of(node.step.rows.as_ref());
    let decoder = body_reader(node, status, &content_type).partial_decoder(&path, received, ROW_MAX)?;
    Ok(decoder.map(|decoder| RowReader::from_partial(decoder, received)))
}

/// Reads the body of an error status.
///
/// It is rarely in the format of the data: a CSV export fails with a JSON object. So its own
/// content type decides, unless the plan says that bodies are JSON, whatever their type.
fn read_error(node: &StepNode, reader: &BodyReader<'_>, bytes: &Bytes) -> Body {
    match node.step.response.format {
        ResponseFormat::Auto | ResponseFormat::Json => reader.read_lenient(bytes),
        ResponseFormat::Jsonl
        | ResponseFormat::Xml
        | ResponseFormat::Csv
        | ResponseFormat::Text
        | ResponseFormat::Binary => {
            let rules = ResponseRules { format: ResponseFormat::Auto, ..node.step.response.clone() };
            BodyReader { rules: &rules, ..*reader }.read_lenient(bytes)
        }
    }
}

/// Creates the reader of a body. [`read`] limits the memory of its values.
fn body_reader<'a>(node: &'a StepNode, status: u16, content_type: &'a str) -> BodyReader<'a> {
    let is_head = node.step.request().is_some_and(|request| request.method() == Method::Head);
    BodyReader {
        rules: &node.step.response,
        content_type,
        bodiless: status == 204 || is_head,
        members: node.needs.members,
        parts: &node.needs.body,
        max_value_bytes: usize::MAX,
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
        // A text or bytes that no expression reads are not copied.
        (body.json_text().is_some() || !needs.body.is_empty()).then(|| ("body", body.value())),
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
