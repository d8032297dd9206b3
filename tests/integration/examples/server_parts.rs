//! Parts that the example servers share: opaque page tokens, refusals, pages and a one-time rate
//! limit.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Opaque page tokens: they cannot be guessed or counted up, and contain characters that must be
/// escaped in a URL.
#[derive(Debug)]
pub(super) struct PageTokens<T> {
    known: HashMap<String, T>,
}

impl<T> PageTokens<T> {
    pub(super) fn new() -> PageTokens<T> {
        PageTokens { known: HashMap::new() }
    }

    /// Issues a new token for a value.
    pub(super) fn issue(&mut self, meaning: T) -> String {
        let hash = Sha256::digest((self.known.len() as u64).to_be_bytes());
        let token = format!("{}+/{}==", hex::encode(&hash[..6]), hex::encode(&hash[6..9]));
        self.known.insert(token.clone(), meaning);
        token
    }

    /// Returns the value of a token; `None` if this server did not issue it.
    pub(super) fn get(&self, token: &str) -> Option<&T> {
        self.known.get(token)
    }
}

/// A rate limit that refuses one request, given by its number from 1.
#[derive(Debug)]
pub(super) struct Turnstile {
    opens_after: u32,
}

impl Turnstile {
    pub(super) fn shut_at(request: u32) -> Turnstile {
        Turnstile { opens_after: request }
    }

    /// Counts a request and returns whether it is refused.
    pub(super) fn refuses(&mut self) -> bool {
        let refuses = self.opens_after == 1;
        self.opens_after = self.opens_after.saturating_sub(1);
        refuses
    }
}

/// Returns a page of rows, and the start of the next page.
pub(super) fn page<T: Clone>(rows: &[T], start: usize, size: usize) -> (Vec<T>, Option<usize>) {
    let end = rows.len().min(start.saturating_add(size));
    let start = start.min(end);
    (rows[start..end].to_vec(), (end < rows.len()).then_some(end))
}

/// Returns a JSON reply with additional headers.
pub(super) fn json_with(status: u16, headers: &[(&'static str, String)], body: &Value) -> UpstreamReply {
    let mut all = vec![("content-type", "application/json; charset=utf-8".to_owned())];
    all.extend(headers.iter().cloned());
    UpstreamReply::Raw(status, all, body.to_string().into())
}

/// Returns a header of a request; empty if there is none.
pub(super) fn header<'a>(ask: &'a ReceivedRequest, name: &str) -> &'a str {
    ask.headers.get(name).map_or("", String::as_str)
}

/// A parameter of a request.
pub(super) fn param<'a>(ask: &'a ReceivedRequest, name: &str) -> Option<&'a str> {
    ask.query.get(name).map(String::as_str)
}

/// The body of a request as JSON; null where it is none.
pub(super) fn body(ask: &ReceivedRequest) -> Value {
    serde_json::from_slice(&ask.body).unwrap_or_default()
}

/// A time in whole seconds, `2026-01-15T10:30:00Z`.
pub(super) fn seconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The same with milliseconds.
pub(super) fn millis(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The instant of a text in RFC 3339, or with a zone without a colon.
pub(super) fn instant(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"));
    time.ok().map(|time| time.to_utc())
}

/// Percent-encodes a text for a query.
pub(super) fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Undoes the percent-encoding of a segment of a path.
pub(super) fn unescaped(segment: &str) -> String {
    let query = format!("={}", segment.replace('+', "%2B"));
    url::form_urlencoded::parse(query.as_bytes()).map(|(_, text)| text.into_owned()).collect()
}

/// `Basic …`, as a client sends it.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
