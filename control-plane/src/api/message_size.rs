//! A request over the limit of size is refused by the codec, with a code and words of its own; callers are told in Orchid's.

use http::Response;
use tonic::{Code, Status, body::Body};

use crate::api::error;

/// Largest message that is taken or sent, in bytes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

const OF_CODEC: &str = "decoded message length too large: found ";

/// The same response, or what stands for a message that was too large.
pub(crate) fn explain_oversize(response: Response<Body>) -> Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    match found_bytes(&status) {
        Some(found) => {
            let message = format!("the request has {found} bytes, and at most {MAX_MESSAGE_BYTES} are taken");
            error::plain(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", message).into_http()
        }
        None => response,
    }
}

fn found_bytes(status: &Status) -> Option<u64> {
    if status.code() != Code::OutOfRange {
        return None;
    }
    let (_, rest) = status.message().split_once(OF_CODEC)?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codec_s_refusal_is_told_with_both_numbers() {
        let refusal =
            "Error, decoded message length too large: found 20000000 bytes, the limit is: 16777216 bytes";
        let response = explain_oversize(Status::out_of_range(refusal).into_http());
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("20000000") && status.message().contains("16777216"));
    }

    #[test]
    fn other_answers_pass_as_they_are() {
        let response = explain_oversize(Status::out_of_range("beyond the end").into_http());
        assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), Code::OutOfRange);
    }
}
