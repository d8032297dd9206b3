//! Byte-level facts about JSON text, shared by the readers of whole bodies and of streams.

use orchid_plan::{JsonType, RawText};

/// Returns whether JSON allows this byte as white space between tokens (RFC 8259, 2).
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Returns whether a member name, given as its raw bytes between the quotes, equals `name`.
pub(super) fn is_name(raw: &[u8], name: &str) -> bool {
    // An escape takes at most six bytes for each byte of the name. Of a longer one, streams keep
    // only the beginning, which may end inside an escape.
    raw.len() <= 6 * name.len() && RawText::new(raw).is(name)
}

/// Returns the type of a JSON value by its first byte.
pub(super) fn json_type_of(first: u8) -> JsonType {
    match first {
        b'[' => JsonType::List,
        b'{' => JsonType::Object,
        b'"' => JsonType::Text,
        b't' | b'f' => JsonType::Bool,
        b'n' => JsonType::Null,
        _ => JsonType::Number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_of_a_longer_name_is_not_the_name() {
        assert!(is_name(b"\\u0061", "a"));
        assert!(is_name(b"", ""));
        assert!(!is_name(b"\\", ""));
        assert!(!is_name(b"\\u0061\\", "a"));
    }
}
