//! What a message says about the request and the answer it came from. Redacted here, once for a page.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::json;
use super::redact::{REDACTED, Redactor};

/// Bytes of a request body that a message shows.
const REQUEST_BODY_MAX: usize = 64 * 1024;

/// The request as it was sent, or would have been.
#[derive(Debug, Clone, Default)]
pub(crate) struct SentRequest {
    pub(crate) url: Option<String>,
    pub(crate) method: Option<&'static str>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<bytes::Bytes>,
}

/// The head of the answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReceivedResponse {
    /// Where redirects led elsewhere.
    pub(crate) url: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) headers: Option<Vec<(String, String)>>,
    pub(crate) size: Option<u64>,
    pub(crate) duration_ms: Option<u64>,
}

#[derive(Serialize)]
struct Wire<'a> {
    request_url: Option<String>,
    response_url: Option<String>,
    request_method: Option<&'a str>,
    request_headers: Headers<'a>,
    request_body: Option<String>,
    status_code: Option<u16>,
    response_headers: Option<Headers<'a>>,
    response_size: Option<u64>,
    duration_ms: Option<u64>,
}

/// `"request_url": … "duration_ms": …`, without braces.
pub(crate) struct HttpExchange(pub(super) Vec<u8>);

impl HttpExchange {
    /// Its bytes in a message.
    pub(crate) fn size(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn new(sent: &SentRequest, answer: &ReceivedResponse, redactor: &Redactor) -> HttpExchange {
        let wire = Wire {
            request_url: sent.url.as_deref().map(|url| redactor.url(url)),
            response_url: answer.url.as_deref().map(|url| redactor.url(url)),
            request_method: sent.method,
            request_headers: joined(&sent.headers, redactor),
            request_body: sent.body.as_deref().map(|body| shown(body, redactor)),
            status_code: answer.status,
            response_headers: answer.headers.as_ref().map(|headers| joined(headers, redactor)),
            response_size: answer.size,
            duration_ms: answer.duration_ms,
        };
        HttpExchange(json::members(&wire))
    }
}

/// Headers in the order of their names, each once.
#[derive(Debug, PartialEq)]
struct Headers<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Repeated headers are joined with a comma.
fn joined<'a>(headers: &'a [(String, String)], redactor: &Redactor) -> Headers<'a> {
    let mut all: Vec<(&str, Cow<'_, str>)> =
        headers.iter().map(|(name, value)| (name.as_str(), redactor.header(name, value))).collect();
    all.sort_by_key(|(name, _)| *name);
    all.dedup_by(|(name, value), (before, text)| {
        let same = name == before;
        if same && text != REDACTED {
            let text = text.to_mut();
            text.push_str(", ");
            text.push_str(value);
        }
        same
    });
    Headers(all)
}

/// Redacted before it is cut: half a secret at the border would be no match.
fn shown(body: &[u8], redactor: &Redactor) -> String {
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
    fn repeated_headers_are_joined_and_credentials_named_once() {
        let headers = [
            header("vary", "a"),
            header("vary", "b"),
            header("set-cookie", "x=1"),
            header("set-cookie", "y=2"),
        ];
        let all = joined(&headers, &Redactor::default());
        assert_eq!(all, Headers(vec![("set-cookie", REDACTED.into()), ("vary", "a, b".into())]));
    }

    #[test]
    fn a_long_request_body_is_cut() {
        let body = "é".repeat(REQUEST_BODY_MAX);
        assert_eq!(shown(body.as_bytes(), &Redactor::default()).len(), REQUEST_BODY_MAX);
    }
}
