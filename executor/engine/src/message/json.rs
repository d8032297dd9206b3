//! BodyStreaming of JSON text, put together without a tree: what came from an upstream is copied as the bytes that it was.

use serde::Serialize;

/// The members of a struct as JSON, without the braces. Structs here hold texts and numbers: printing them cannot fail.
pub(super) fn members<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.pop();
    if !text.is_empty() {
        text.remove(0);
    }
    text
}

/// A JSON string.
pub(super) fn string(text: &str) -> Vec<u8> {
    serde_json::to_vec(text).unwrap_or_default()
}

/// The longest part from the beginning that is no longer than `max` bytes and cuts no character.
pub(crate) fn truncate_text(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(truncate_text("aéb", 2), "a");
        assert_eq!(truncate_text("aéb", 3), "aé");
        assert_eq!(truncate_text("aéb", 9), "aéb");
    }
}
