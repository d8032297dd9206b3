//! Helpers for JSON that is assembled as text, so that an upstream's bytes are copied unchanged.

use serde::Serialize;

/// Prints the members of a struct as JSON without the braces. The structs used here hold strings
/// and numbers, which always print.
pub(super) fn members<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.pop();
    if !text.is_empty() {
        text.remove(0);
    }
    text
}

/// Prints a JSON string.
pub(crate) fn string(text: &str) -> Vec<u8> {
    serde_json::to_vec(text).unwrap_or_default()
}

/// Returns the longest prefix of at most `max` bytes that does not split a character.
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
    fn text_is_cut_between_characters() {
        assert_eq!(truncate_text("aéb", 2), "a");
        assert_eq!(truncate_text("aéb", 3), "aé");
        assert_eq!(truncate_text("aéb", 9), "aéb");
    }
}
