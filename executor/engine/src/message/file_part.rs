//! The parts of a text or of bytes that is larger than a message.
//!
//! The texts of all parts, or their base64, joined in the order of their chunks, are the text or
//! the base64 of the whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::json;

/// Bytes of a binary part around its type and its base64.
const PART_OVERHEAD: usize = 96;

/// A part of a binary body.
pub(crate) struct FilePart<'a> {
    pub(crate) content_type: &'a str,
    /// Bytes of the body before this part.
    pub(crate) offset: u64,
}

impl FilePart<'_> {
    /// Returns the length of the part if `left` bytes are left and it has this much room. It is a
    /// multiple of three except at the end, so that only the last part has base64 padding.
    pub(crate) fn length(&self, left: usize, room: usize) -> usize {
        let room = room.saturating_sub(PART_OVERHEAD + 6 * self.content_type.len());
        (room / 4 * 3).clamp(3, left.max(3)).min(left)
    }

    /// Prints a file that is not split.
    pub(crate) fn whole(content_type: &str, bytes: &[u8]) -> Vec<u8> {
        FilePart { content_type, offset: 0 }.print(bytes, "")
    }

    /// Prints the part.
    pub(crate) fn json(&self, bytes: &[u8]) -> Vec<u8> {
        self.print(bytes, &format!(",\"_offset\":{}", self.offset))
    }

    fn print(&self, bytes: &[u8], offset: &str) -> Vec<u8> {
        let mut part = Vec::with_capacity(bytes.len().div_ceil(3) * 4 + PART_OVERHEAD);
        part.extend_from_slice(b"{\"_base64\":\"");
        part.extend_from_slice(STANDARD.encode(bytes).as_bytes());
        part.extend_from_slice(b"\",\"_content_type\":");
        part.extend(json::string(self.content_type));
        part.extend_from_slice(format!("{offset},\"_size\":{}}}", bytes.len()).as_bytes());
        part
    }
}

/// Returns the length of the longest beginning of a text that takes at most `room` bytes as a JSON
/// string. It ends between characters, and has at least one.
pub(crate) fn text_part_length(text: &str, room: usize) -> usize {
    let mut printed = "\"\"".len();
    for (at, character) in text.char_indices() {
        printed += match character {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..='\u{1f}' => 6,
            other => other.len_utf8(),
        };
        if printed > room && at > 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_by_its_printed_length() {
        for (text, room) in
            [("aé\u{1}\"\n𝄞b", 9), ("\u{1}\u{2}\u{3}", 8), ("ééééé", 5), ("abc", 100), ("𝄞𝄞", 2)]
        {
            let (mut rest, mut parts) = (text, Vec::new());
            while !rest.is_empty() {
                let (part, after) = rest.split_at(text_part_length(rest, room));
                let printed = json::string(part).len();
                assert!(printed <= room || part.chars().count() == 1, "{part:?}");
                parts.push(part);
                rest = after;
            }
            assert_eq!(parts.concat(), text);
        }
    }

    #[test]
    fn base64_of_parts_joins_to_that_of_the_whole() {
        let bytes: Vec<u8> = (0..=255).collect();
        let (mut offset, mut joined) = (0, String::new());
        while offset < bytes.len() {
            let part = FilePart { content_type: "application/pdf", offset: offset as u64 };
            let length = part.length(bytes.len() - offset, 250);
            let json = part.json(&bytes[offset..offset + length]);
            assert!(json.len() <= 250);
            let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(
                (json["_offset"].as_u64(), json["_size"].as_u64()),
                (Some(offset as u64), Some(length as u64))
            );
            joined.push_str(json["_base64"].as_str().unwrap());
            offset += length;
        }
        assert_eq!(joined, STANDARD.encode(&bytes));
    }
}
