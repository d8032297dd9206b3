//! The part of a message that describes its HTTP request and response, redacted once per page.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::json;
use super::redact::{REDACTED, Redactor};

/// Most bytes of a request body that a message shows.
const REQUEST_BODY_MAX: usize = 64 * 1024;

/// The request as it was sent, or would have been sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct SentRequest {
    pub(crate) url: Option<String>,
    pub(crate) method: Option<&'static str>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<bytes::Bytes>,
}

/// The head of the response.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReceivedResponse {
    /// The final URL if it differs from the requested one.
    pub(crate) url: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) headers: Option<Vec<(String, String)>>,
    pub(crate) size: Option<u64>,
    pub(crate) duration_ms: Option<u64>,
}

#[derive(Serialize)]
struct ExchangeFields<'a> {
    request_url: Option<String>,
    response_url: Option<String>,
    request_method: Option<&'a str>,
    request_headers: JoinedHeaders<'a>,
    request_body: Option<String>,
    status_code: Option<u16>,
    response_headers: Option<JoinedHeaders<'a>>,
    response_size: Option<u64>,
    duration_ms: Option<u64>,
}

/// A redacted request and response: JSON members `"request_url"` to `"duration_ms"`, without
/// braces.
pub(crate) struct HttpExchange(pub(super) Vec<u8>);

impl HttpExchange {
    /// Returns its size in a message, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn new(sent: &SentRequest, response: &ReceivedResponse, redactor: &Redactor) -> Self {
        let fields = ExchangeFields {
            request_url: sent.url.as_deref().map(|url| redactor.url(url)),
            response_url: response.url.as_deref().map(|url| redactor.url(url)),
            request_method: sent.method,
            request_headers: join_headers(&sent.headers, redactor),
            request_body: sent.body.as_deref().map(|body| visible_body(body, redactor)),
            status_code: response.status,
            response_headers: response.headers.as_ref().map(|headers| join_headers(headers, redactor)),
            response_size: response.size,
            duration_ms: response.duration_ms,
        };
        Self(json::members(&fields))
    }
}

/// Headers sorted by name, each name once.
#[derive(Debug, PartialEq)]
struct JoinedHeaders<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl Serialize for JoinedHeaders<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Redacts headers and joins repeated ones with a comma.
fn join_headers<'a>(headers: &'a [(String, String)], redactor: &Redactor) -> JoinedHeaders<'a> {
    let mut all: Vec<(&str, Cow<'_, str>)> =
        headers.iter().map(|(name, value)| (name.as_str(), redactor.header(name, value))).collect();
    // A stable order makes equal requests print equal bytes; repeated headers keep their sequence.
    all.sort_by_key(|(name, _)| *name);
    all.dedup_by(|(name, value), (before, text)| {
        let same = name == before;
        // A list of redacted values would only reveal how many there were.
        if same && text != REDACTED {
            let text = text.to_mut();
            text.push_str(", ");
            text.push_str(value);
        }
        same
    });
    JoinedHeaders(all)
}

/// Returns the start of a request body without secrets.
fn visible_body(body: &[u8], redactor: &Redactor) -> String {
    // Redacted before it is truncated: a secret cut in half would not be recognised.
    let text = String::from_utf8_lossy(body);
    let clean = redactor.text(&text);
    json::truncate_text(&clean, REQUEST_BODY_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn repeated_headers_are_joined_and_credentials_redacted_once() {
        let headers = [
            header("vary", "a"),
            header("vary", "b"),
            header("set-cookie", "x=1"),
            header("set-cookie", "y=2"),
        ];
        let all = join_headers(&headers, &Redactor::default());
        assert_eq!(all, JoinedHeaders(vec![("set-cookie", REDACTED.into()), ("vary", "a, b".into())]));
    }

    #[test]
    fn long_request_body_is_truncated() {
        let body = "é".repeat(REQUEST_BODY_MAX);
        assert_eq!(visible_body(body.as_bytes(), &Redactor::default()).len(), REQUEST_BODY_MAX);
    }
}
