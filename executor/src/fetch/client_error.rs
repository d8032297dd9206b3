//! Classifies the HTTP client's errors.
//!
//! The messages contain no URL and no headers, because these may hold secrets.

use std::error::Error;
use std::io;

use orchid_engine::{FetchError, FetchErrorKind};

use crate::fetch::address::guard::AddressRefused;
use crate::fetch::certificate_error;

/// Converts an error of the client. `status` is set if the head of a response had arrived.
pub(crate) fn classify(error: reqwest::Error, status: Option<u16>) -> FetchError {
    let error = error.without_url();
    if let Some(refused) = find::<AddressRefused>(&error) {
        return FetchError {
            kind: FetchErrorKind::AddressRefused,
            message: refused.to_string(),
            status,
            received: None,
        };
    }
    let tls = find::<rustls::Error>(&error);
    if let Some(message) = tls.and_then(certificate_error::explain) {
        return FetchError { kind: FetchErrorKind::Certificate, message, status, received: None };
    }
    let kind = if error.is_timeout() {
        FetchErrorKind::Timeout
    } else if error.is_dns() {
        FetchErrorKind::Dns
    } else if tls.is_some() {
        FetchErrorKind::Tls
    } else if error.is_connect() {
        FetchErrorKind::Connect
    } else if error.is_builder() {
        FetchErrorKind::InvalidRequest
    } else {
        FetchErrorKind::Broken
    };
    FetchError { kind, message: message(kind, &error), status, received: None }
}

fn message(kind: FetchErrorKind, error: &reqwest::Error) -> String {
    // The deepest source is the actual cause; the layers above repeat "error sending request".
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let what = match kind {
        FetchErrorKind::Timeout => "no response in time",
        FetchErrorKind::Dns => "host name did not resolve",
        FetchErrorKind::Connect => "connection failed",
        FetchErrorKind::Tls | FetchErrorKind::Certificate => "no secure connection",
        FetchErrorKind::Broken => "connection broke",
        FetchErrorKind::Decode => "body does not decompress",
        FetchErrorKind::InvalidRequest => "invalid request",
        FetchErrorKind::TooLarge => "body is too large",
        FetchErrorKind::TooManyRedirects => "too many redirects",
        FetchErrorKind::HostNotAllowed => "host is not allowed",
        FetchErrorKind::AddressRefused => "address is refused",
    };
    format!("{what}: {cause}")
}

/// Finds an error of type `T` in the chain of sources. An I/O error does not report its inner error
/// as a source, so the search looks there, too.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        current = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
