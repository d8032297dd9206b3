//! Names of places and of contents.
//!
//! A **position** names the place a message came from; the same place has the same position, also after a crash.
//! A **message id** names place and content: the same id means the same bytes, so that repeats can be dropped.

use sha2::{Digest, Sha256};

/// Bytes of a hash that a name keeps.
const KEPT: usize = 16;

/// The place of a message in a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The execution, as text.
    pub(crate) execution_id: &'a str,
    /// The message's type, `api.response`.
    pub(crate) kind: &'a str,
    /// `orders#2`; empty for events of the run itself.
    pub(crate) step_path: &'a str,
    /// Chunk of the page, from 0.
    pub(crate) chunk: u32,
}

impl Place<'_> {
    /// `orchid-position`: hex of the first 16 bytes of SHA-256 over execution id, type, step path and chunk, joined by
    /// newlines.
    pub(crate) fn position(&self) -> String {
        let joined = format!("{}\n{}\n{}\n{}", self.execution_id, self.kind, self.step_path, self.chunk);
        hex::encode(&Sha256::digest(joined)[..KEPT])
    }
}

/// What a message says, as the bytes that are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'a> {
    /// `rows`, `object` …
    pub(crate) body_kind: &'a str,
    /// The array of `response_body`, brackets included.
    pub(crate) response_body: &'a [u8],
    /// JSON, or `null`.
    pub(crate) extracted_data: &'a [u8],
    /// JSON of `steps`; empty without.
    pub(crate) steps: &'a [u8],
    /// Whether the page ends here.
    pub(crate) last_chunk: bool,
    /// JSON of `error`, or `null`.
    pub(crate) error: &'a [u8],
}

impl Content<'_> {
    /// `orchid-message-id`: hex of the first 16 bytes of BLAKE3 over nine fields, each as its length in bytes (8 bytes, big
    /// endian) followed by its bytes: execution id, type, step path, chunk (decimal), body kind, `response_body`,
    /// `extracted_data`, `last_chunk` (`true` or `false`), `error`. The JSON fields are hashed as the bytes that stand in
    /// the payload; one that a message of this type lacks counts as `null`. A message with `steps` has them as a tenth field.
    /// BLAKE3, since every body passes through it: SHA-256 was a sixth of what a page of 1 MiB cost.
    pub(crate) fn message_id(&self, place: &Place<'_>) -> String {
        let chunk = place.chunk.to_string();
        let last: &[u8] = if self.last_chunk { b"true" } else { b"false" };
        let fields: [&[u8]; 10] = [
            place.execution_id.as_bytes(),
            place.kind.as_bytes(),
            place.step_path.as_bytes(),
            chunk.as_bytes(),
            self.body_kind.as_bytes(),
            self.response_body,
            self.extracted_data,
            last,
            self.error,
            self.steps,
        ];
        let mut hash = blake3::Hasher::new();
        for field in if self.steps.is_empty() { &fields[..9] } else { &fields } {
            hash.update(&(field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        hex::encode(&hash.finalize().as_bytes()[..KEPT])
    }
}

/// Hex of the first 16 bytes of SHA-256 over fields with their lengths: no two lists of fields look alike.
pub(crate) fn fingerprint(fields: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hex::encode(&hash.finalize()[..KEPT])
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> =
        Place { execution_id: "e", kind: "api.response", step_path: "orders#2", chunk: 0 };
    const CONTENT: Content<'_> = Content {
        body_kind: "rows",
        response_body: b"[1]",
        extracted_data: b"null",
        steps: b"",
        last_chunk: true,
        error: b"null",
    };

    #[test]
    fn a_position_is_the_documented_hash() {
        // printf 'e\napi.response\norders#2\n0' | sha256sum | cut -c1-32
        assert_eq!(PLACE.position(), "1c8dc4020c6c8820d92ef3eaa0b4db8b");
    }

    #[test]
    fn every_field_changes_the_id() {
        let id = CONTENT.message_id(&PLACE);
        let others = [
            CONTENT.message_id(&Place { execution_id: "f", ..PLACE }),
            CONTENT.message_id(&Place { kind: "api.error", ..PLACE }),
            CONTENT.message_id(&Place { step_path: "orders#3", ..PLACE }),
            CONTENT.message_id(&Place { chunk: 1, ..PLACE }),
            Content { body_kind: "array", ..CONTENT }.message_id(&PLACE),
            Content { response_body: b"[2]", ..CONTENT }.message_id(&PLACE),
            Content { extracted_data: b"{}", ..CONTENT }.message_id(&PLACE),
            Content { steps: b"{}", ..CONTENT }.message_id(&PLACE),
            Content { last_chunk: false, ..CONTENT }.message_id(&PLACE),
            Content { error: b"{}", ..CONTENT }.message_id(&PLACE),
        ];
        assert!(others.iter().all(|other| *other != id));
        assert_eq!(CONTENT.message_id(&PLACE), id);
    }

    #[test]
    fn a_border_between_fields_cannot_move() {
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
    }
}
