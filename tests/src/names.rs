//! Computes positions and ids of messages from their definition, independently of the code under
//! test.

use std::collections::HashMap;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

/// Returns `orchid-position`, which identifies a message within its execution: SHA-256 over the
/// fields joined by newlines.
pub fn position(execution_id: &str, kind: &str, step_path: &str, chunk: u64) -> String {
    let fields = [execution_id, kind, step_path, &chunk.to_string()];
    hex::encode(&Sha256::digest(fields.join("\n").as_bytes())[..16])
}

/// Returns `orchid-message-id`, which identifies a message by position and content: BLAKE3 over
/// each field's length (8 bytes, big endian) and bytes. The content is taken from the payload
/// verbatim.
pub fn message_id(payload: &[u8]) -> String {
    let members: HashMap<String, Box<RawValue>> = serde_json::from_slice(payload).expect("an object");
    let raw = |name: &str| members.get(name).map_or("null", |value| value.get()).to_owned();
    let text = |name: &str| serde_json::from_str::<String>(&raw(name)).expect("a text");
    let kind = if members.contains_key("error") { "api.error" } else { "api.response" };
    let fields = [
        text("execution_id"),
        kind.to_owned(),
        text("step_path"),
        raw("chunk"),
        text("body_kind"),
        raw("response_body"),
        raw("extracted_data"),
        raw("last_chunk"),
        raw("error"),
    ];
    let mut hash = blake3::Hasher::new();
    for field in fields {
        hash.update(&u64::try_from(field.len()).expect("a length").to_be_bytes());
        hash.update(field.as_bytes());
    }
    hex::encode(&hash.finalize().as_bytes()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_equals_sha256sum() {
        // printf 'e\napi.response\norders#2\n0' | sha256sum | cut -c1-32
        assert_eq!(position("e", "api.response", "orders#2", 0), "1c8dc4020c6c8820d92ef3eaa0b4db8b");
    }
}
