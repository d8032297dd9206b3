//! What the HTTP client's errors mean to a plan.
//!
//! In: an error of the client. Out: its kind, and words without url and headers, since those may hold secrets.

use std::error::Error;
use std::io;

use orchid_engine::{FetchError, FetchErrorKind};

use crate::fetch::guard::AddressRefused;

/// Names the error's kind; `status` where the head of an answer had come.
pub(crate) fn classify(error: reqwest::Error, status: Option<u16>) -> FetchError {
    let error = error.without_url();
    if let Some(refused) = find::<AddressRefused>(&error) {
        return FetchError { kind: FetchErrorKind::AddressRefused, message: refused.to_string(), status };
    }
    let kind = if error.is_timeout() {
        FetchErrorKind::Timeout
    } else if error.is_dns() {
        FetchErrorKind::Dns
    } else if find::<rustls::Error>(&error).is_some() {
        FetchErrorKind::Tls
    } else if error.is_connect() {
        FetchErrorKind::Connect
    } else if error.is_builder() {
        FetchErrorKind::InvalidRequest
    } else {
        FetchErrorKind::Broken
    };
    FetchError { kind, message: in_words(kind, &error), status }
}

fn in_words(kind: FetchErrorKind, error: &reqwest::Error) -> String {
    let mut deepest: &(dyn Error + 'static) = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let what = match kind {
        FetchErrorKind::Timeout => "no answer in time",
        FetchErrorKind::Dns => "the name did not resolve",
        FetchErrorKind::Connect => "no connection",
        FetchErrorKind::Tls => "no secure connection",
        FetchErrorKind::Broken => "the connection broke",
        FetchErrorKind::Decode => "the body does not decompress",
        FetchErrorKind::InvalidRequest => "the request cannot be sent",
        FetchErrorKind::TooLarge => "the body is too large",
        FetchErrorKind::TooManyRedirects => "too many redirects",
        FetchErrorKind::HostNotAllowed => "the host is not allowed",
        FetchErrorKind::AddressRefused => "the address is refused",
    };
    format!("{what}: {deepest}")
}

/// Searches the chain of sources, and inside I/O errors, whose own content is no source of theirs.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        current = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}
