//! Requests that cannot be decoded. The codec refuses them with statuses of its own; this module
//! replaces those by statuses with Orchid's codes and reasons, which name the field.

use http::Response;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::api::error;
use crate::commands::Diagnostic;

/// Maximum size of a request or response message, in bytes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

const OVERSIZE: &str = "decoded message length too large: found ";
const MALFORMED: &str = "failed to decode Protobuf message: ";

/// Returns the response, or Orchid's status in place of the codec's refusal.
pub(crate) fn explain_refusal(response: Response<Body>) -> Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    if let Some(found) = found_bytes(&status) {
        let message = format!("the request has {found} bytes; the limit is {MAX_MESSAGE_BYTES}");
        return error::plain(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", message).into_http();
    }
    match malformed(&status) {
        Some(diagnostic) => error::invalid("INVALID_MESSAGE", diagnostic).into_http(),
        None => response,
    }
}

fn found_bytes(status: &Status) -> Option<u64> {
    if status.code() != Code::OutOfRange {
        return None;
    }
    let (_, rest) = status.message().split_once(OVERSIZE)?;
    rest.split(' ').next()?.parse().ok()
}

/// Returns the field that could not be decoded. The codec writes it as a list of message and field,
/// such as `Value.kind: Struct.fields: Plan.definition: CreatePlanRequest.plan: ` and the reason.
fn malformed(status: &Status) -> Option<Diagnostic> {
    if status.code() != Code::Internal {
        return None;
    }
    let (_, mut rest) = status.message().split_once(MALFORMED)?;
    let mut fields = Vec::new();
    while let Some((place, after)) = rest.split_once(": ")
        && let Some((message, field)) = place.split_once('.')
    {
        rest = after;
        if !matches!(message, "Struct" | "Value" | "ListValue") {
            fields.push((message, field));
        }
    }
    if fields.first().is_none_or(|(message, _)| !message.ends_with("Request")) {
        fields.reverse();
    }
    // Pointers start at the resource that a request carries, as in the problems of its document.
    if let [(_, "plan" | "config" | "integration"), _, ..] = fields.as_slice() {
        fields.remove(0);
    }
    let pointer: String = fields.iter().map(|(_, field)| format!("/{field}")).collect();
    Some(Diagnostic::new("INVALID_VALUE", pointer, format!("the field cannot be decoded: {rest}")))
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn oversized_request_is_refused_with_size_and_limit() {
        let refusal =
            "Error, decoded message length too large: found 20000000 bytes, the limit is: 16777216 bytes";
        let response = explain_refusal(Status::out_of_range(refusal).into_http());
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("20000000") && status.message().contains("16777216"));
    }

    #[test]
    fn other_responses_are_unchanged() {
        let response = explain_refusal(Status::out_of_range("beyond the end").into_http());
        assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), Code::OutOfRange);
    }

    #[test]
    fn malformed_field_is_refused_with_its_name() {
        let path = "failed to decode Protobuf message: Value.kind: Struct.fields: Plan.definition: CreatePlanRequest.plan: ";
        for (refusal, pointer, reason) in [
            (format!("{path}recursion limit reached"), "/definition", "recursion limit reached"),
            (
                "failed to decode Protobuf message: GetPlanRequest.key: invalid string value: data is not UTF-8 encoded"
                    .to_owned(),
                "/key",
                "not UTF-8",
            ),
        ] {
            let response = explain_refusal(Status::internal(refusal).into_http());
            let status = Status::from_header_map(response.headers()).unwrap();
            assert_eq!(status.code(), Code::InvalidArgument);
            let violation = &status.get_details_bad_request().unwrap().field_violations[0];
            assert_eq!(violation.field, pointer);
            assert!(violation.description.contains(reason), "{}", violation.description);
        }
        let other = explain_refusal(Status::internal("the call was not authenticated").into_http());
        assert_eq!(Status::from_header_map(other.headers()).unwrap().code(), Code::Internal);
    }
}
