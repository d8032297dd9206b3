//! Cuts a streamed text or file into the parts that messages carry.
//!
//! A part is cut only where enough of the body has arrived to fill it, or at the end: the pieces in
//! which the body arrives make no difference. At most one part and one piece are held in memory.

use bytes::{Buf as _, Bytes, BytesMut};
use encoding_rs::{Decoder, Encoding};

use super::stream::row_decoder::NextRow;
use crate::message::body::BodyKind;
use crate::message::file_part::{FilePart, text_part_length};
use crate::message::json;

/// Bytes of text that are cut off before the rest is moved to the front.
const MOVED_AFTER: usize = 1 << 20;

/// A streamed body that is split anywhere.
pub(crate) struct FileParts {
    content: FileContent,
    /// Bytes that a part may take in a message; none are cut before it is known.
    room: Option<usize>,
    received: u64,
    finished: bool,
}

enum FileContent {
    Text { decoder: Decoder, text: String, offset: usize },
    Binary { content_type: String, bytes: BytesMut, offset: u64 },
}

impl FileParts {
    /// Creates the parts of a text, whose invalid bytes become U+FFFD.
    pub(super) fn text(encoding: &'static Encoding) -> Self {
        Self::new(FileContent::Text { decoder: encoding.new_decoder(), text: String::new(), offset: 0 })
    }

    /// Creates the parts of a file.
    pub(super) fn binary(content_type: String) -> Self {
        Self::new(FileContent::Binary { content_type, bytes: BytesMut::new(), offset: 0 })
    }

    fn new(content: FileContent) -> Self {
        Self { content, room: None, received: 0, finished: false }
    }

    /// Returns the kind of the body; a body of zero bytes is empty.
    pub(crate) fn kind(&self) -> BodyKind {
        match &self.content {
            _ if self.finished && self.received == 0 => BodyKind::Empty,
            FileContent::Text { .. } => BodyKind::Text,
            FileContent::Binary { .. } => BodyKind::Binary,
        }
    }

    /// Returns the size of the body, once all of it has arrived.
    pub(crate) fn size(&self) -> Option<u64> {
        self.finished.then_some(self.received)
    }

    /// Sets the bytes that a part may take in a message, unless they are set.
    pub(crate) fn set_room(&mut self, room: impl FnOnce() -> usize) {
        self.room.get_or_insert_with(room);
    }

    /// Feeds a piece.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.received += piece.len() as u64;
        match &mut self.content {
            FileContent::Text { decoder, text, .. } => decode(decoder, piece, false, text),
            FileContent::Binary { bytes, .. } => bytes.extend_from_slice(piece),
        }
    }

    /// Signals the end of the body.
    pub(crate) fn finish(&mut self) {
        if let FileContent::Text { decoder, text, .. } = &mut self.content
            && !self.finished
        {
            decode(decoder, b"", true, text);
        }
        self.finished = true;
    }

    /// Returns the next part as JSON. After the end it returns the end again.
    pub(super) fn next(&mut self) -> NextRow {
        let none = if self.finished { NextRow::End } else { NextRow::NeedMore };
        let Some(room) = self.room else { return none };
        match &mut self.content {
            FileContent::Text { text, offset, .. } => {
                let rest = &text[*offset..];
                let length = text_part_length(rest, room);
                if rest.is_empty() || (length == rest.len() && !self.finished) {
                    return none;
                }
                let part = json::string(&rest[..length]);
                *offset += length;
                if *offset >= MOVED_AFTER {
                    text.drain(..*offset);
                    *offset = 0;
                }
                NextRow::Row(Bytes::from(part))
            }
            FileContent::Binary { content_type, bytes, offset } => {
                let is_whole = self.finished && *offset == 0;
                let part = FilePart { content_type, offset: *offset };
                let length = part.length(bytes.len(), room);
                if bytes.is_empty() || (length == bytes.len() && !self.finished) {
                    return none;
                }
                let json = if is_whole && length == bytes.len() {
                    FilePart::whole(content_type, bytes)
                } else {
                    part.json(&bytes[..length])
                };
                *offset += length as u64;
                bytes.advance(length);
                NextRow::Row(Bytes::from(json))
            }
        }
    }
}

fn decode(decoder: &mut Decoder, mut piece: &[u8], last: bool, text: &mut String) {
    loop {
        text.reserve(decoder.max_utf8_buffer_length(piece.len()).unwrap_or(piece.len()).max(16));
        let (result, read, _) = decoder.decode_to_string(piece, text, last);
        piece = &piece[read..];
        if matches!(result, encoding_rs::CoderResult::InputEmpty) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(mut file: FileParts, body: &[u8], piece: usize, room: usize) -> Vec<String> {
        file.set_room(|| room);
        let mut parts = Vec::new();
        for piece in body.chunks(piece) {
            file.feed(piece);
            while let NextRow::Row(part) = file.next() {
                parts.push(String::from_utf8(part.to_vec()).unwrap());
            }
        }
        file.finish();
        while let NextRow::Row(part) = file.next() {
            parts.push(String::from_utf8(part.to_vec()).unwrap());
        }
        parts
    }

    #[test]
    fn parts_do_not_depend_on_the_pieces() {
        let body = "ä\u{1}\"𝄞 line\n".repeat(40).into_bytes();
        let text = |piece| parts(FileParts::text(encoding_rs::UTF_8), &body, piece, 60);
        let binary = |piece| parts(FileParts::binary("a/b".to_owned()), &body, piece, 200);
        let (whole_text, whole_binary) = (text(body.len()), binary(body.len()));
        for piece in [1, 2, 3, 7, 100] {
            assert_eq!((text(piece), binary(piece)), (whole_text.clone(), whole_binary.clone()), "{piece}");
        }
        assert!(whole_text.iter().all(|part| part.len() <= 60), "{whole_text:?}");
        assert!(whole_binary.iter().all(|part| part.len() <= 200), "{whole_binary:?}");
    }

    #[test]
    fn file_in_one_part_has_no_offset() {
        let whole = parts(FileParts::binary("a/b".to_owned()), b"abcd", 2, 500);
        assert_eq!(whole, [r#"{"_base64":"YWJjZA==","_content_type":"a/b","_size":4}"#]);
        assert!(parts(FileParts::binary("a/b".to_owned()), b"", 1, 500).is_empty());
    }
}
