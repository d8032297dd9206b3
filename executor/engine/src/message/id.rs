//! Positions and ids of messages.
//!
//! A **position** identifies where in an execution a message comes from; it is the same again after
//! a crash. A **message id** identifies position and content: the same id means the same bytes, so
//! that consumers can drop duplicates.

use sha2::{Digest, Sha256};

/// Number of bytes to which hashes are truncated.
const HASH_BYTES: usize = 16;

/// The position of a message in an execution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessagePosition<'a> {
    /// The execution id as text.
    pub(crate) execution_id: &'a str,
    /// The message's type, such as `api.response`.
    pub(crate) kind: &'a str,
    /// The step path, such as `orders#2`; empty for events of the execution itself.
    pub(crate) step_path: &'a str,
    /// The chunk of the page, from 0.
    pub(crate) chunk: u32,
}

impl MessagePosition<'_> {
    /// Returns the `orchid-position` header: the first 16 bytes, as hex, of the SHA-256 of
    /// execution id, type, step path and chunk, joined by newlines.
    pub(crate) fn hex(self) -> String {
        let joined = format!("{}\n{}\n{}\n{}", self.execution_id, self.kind, self.step_path, self.chunk);
        hex::encode(&Sha256::digest(joined)[..HASH_BYTES])
    }
}

/// The content of a message, as the bytes that are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageContent<'a> {
    /// The body kind, such as `rows` or `object`.
    pub(crate) body_kind: &'a str,
    /// The JSON array `response_body`, with brackets.
    pub(crate) response_body: &'a [u8],
    /// JSON or `null`.
    pub(crate) extracted_data: &'a [u8],
    /// The JSON object `steps`; empty if the message has none.
    pub(crate) steps: &'a [u8],
    /// True for the last chunk of the page.
    pub(crate) last_chunk: bool,
    /// The JSON object `error`, or `null`.
    pub(crate) error: &'a [u8],
}

impl MessageContent<'_> {
    /// Returns the `orchid-message-id` header: the first 16 bytes, as hex, of the BLAKE3 hash of
    /// nine fields, each preceded by its length in bytes as a big-endian `u64`.
    ///
    /// The fields are execution id, type, step path, chunk (decimal), body kind, `response_body`,
    /// `extracted_data`, `last_chunk` (`true` or `false`) and `error`; `steps` follows as a tenth
    /// field if the message has it. JSON fields are hashed as the bytes in the payload; a field
    /// that messages of this type lack counts as `null`.
    pub(crate) fn message_id(&self, position: &MessagePosition<'_>) -> String {
        let chunk = position.chunk.to_string();
        let last: &[u8] = if self.last_chunk { b"true" } else { b"false" };
        let fields: [&[u8]; 10] = [
            position.execution_id.as_bytes(),
            position.kind.as_bytes(),
            position.step_path.as_bytes(),
            chunk.as_bytes(),
            self.body_kind.as_bytes(),
            self.response_body,
            self.extracted_data,
            last,
            self.error,
            self.steps,
        ];
        // BLAKE3, since every body passes through it: SHA-256 took a sixth of the time of a 1 MiB
        // page.
        let mut hash = blake3::Hasher::new();
        for field in if self.steps.is_empty() { &fields[..9] } else { &fields } {
            hash.update(&(field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        hex::encode(&hash.finalize().as_bytes()[..HASH_BYTES])
    }
}

/// Returns the first 16 bytes, as hex, of the SHA-256 of fields, each preceded by its length so
/// that different lists of fields never hash the same bytes.
pub(crate) fn fingerprint(fields: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hex::encode(&hash.finalize()[..HASH_BYTES])
}

/// Returns the hash by which a checkpoint knows a row or element: the first 8 bytes, as hex, of
/// SHA-256.
pub(crate) fn short_hash(element: &[u8]) -> String {
    hex::encode(&Sha256::digest(element)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSITION: MessagePosition<'_> =
        MessagePosition { execution_id: "e", kind: "api.response", step_path: "orders#2", chunk: 0 };
    const CONTENT: MessageContent<'_> = MessageContent {
        body_kind: "rows",
        response_body: b"[1]",
        extracted_data: b"null",
        steps: b"",
        last_chunk: true,
        error: b"null",
    };

    #[test]
    fn position_is_the_documented_hash() {
        // printf 'e\napi.response\norders#2\n0' | sha256sum | cut -c1-32
        assert_eq!(POSITION.hex(), "1c8dc4020c6c8820d92ef3eaa0b4db8b");
    }

    #[test]
    fn every_field_changes_the_id() {
        let id = CONTENT.message_id(&POSITION);
        let others = [
            CONTENT.message_id(&MessagePosition { execution_id: "f", ..POSITION }),
            CONTENT.message_id(&MessagePosition { kind: "api.error", ..POSITION }),
            CONTENT.message_id(&MessagePosition { step_path: "orders#3", ..POSITION }),
            CONTENT.message_id(&MessagePosition { chunk: 1, ..POSITION }),
            MessageContent { body_kind: "array", ..CONTENT }.message_id(&POSITION),
            MessageContent { response_body: b"[2]", ..CONTENT }.message_id(&POSITION),
            MessageContent { extracted_data: b"{}", ..CONTENT }.message_id(&POSITION),
            MessageContent { steps: b"{}", ..CONTENT }.message_id(&POSITION),
            MessageContent { last_chunk: false, ..CONTENT }.message_id(&POSITION),
            MessageContent { error: b"{}", ..CONTENT }.message_id(&POSITION),
        ];
        assert!(others.iter().all(|other| *other != id));
        assert_eq!(CONTENT.message_id(&POSITION), id);
    }

    #[test]
    fn field_borders_change_the_fingerprint() {
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
    }
}
