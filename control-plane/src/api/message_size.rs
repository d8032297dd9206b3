//! The size limit of messages. The codec refuses larger requests with its own status; this module
//! replaces it by one with Orchid's code and reason.

use http::Response;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::api::error;

/// Maximum size of a request or response message, in bytes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

const CODEC_REFUSAL: &str = "decoded message length too large: found ";

/// Returns the response, or Orchid's status in place of the codec's refusal of a large message.
pub(crate) fn explain_oversize(response: Response<Body>) -> Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    match found_bytes(&status) {
        Some(found) => {
            let message = format!("the request has {found} bytes; the limit is {MAX_MESSAGE_BYTES}");
            error::plain(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", message).into_http()
        }
        None => response,
    }
}

fn found_bytes(status: &Status) -> Option<u64> {
    if status.code() != Code::OutOfRange {
        return None;
    }
    let (_, rest) = status.message().split_once(CODEC_REFUSAL)?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oversized_request_is_refused_with_size_and_limit() {
        let refusal =
            "Error, decoded message length too large: found 20000000 bytes, the limit is: 16777216 bytes";
        let response = explain_oversize(Status::out_of_range(refusal).into_http());
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("20000000") && status.message().contains("16777216"));
    }

    #[test]
    fn other_responses_are_unchanged() {
        let response = explain_oversize(Status::out_of_range("beyond the end").into_http());
        assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), Code::OutOfRange);
    }
}
