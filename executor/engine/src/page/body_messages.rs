//! The messages of a body without rows, made one at a time: a large body is never in several
//! messages at once.

use bytes::Bytes;

use crate::body::{Body, NextRow, RowPath, RowReader};
use crate::message::Message;
use crate::message::body::{BodyKind, MessageBody};
use crate::message::chunk::{MessageBatch, MessageTooLarge, PageEnvelope};
use crate::message::envelope::PageChunk;
use crate::message::file_part::{FilePart, text_part_length};

/// The messages of a body that are not made yet.
pub(crate) struct BodyMessages(Rest);

enum Rest {
    /// The whole body.
    Body,
    /// The rest of an array that is split between its elements.
    Elements {
        list: RowReader,
        read: u64,
        batch: MessageBatch,
    },
    /// The rest of a text or of bytes, from this offset on.
    File {
        offset: usize,
        chunk: u32,
        room: usize,
    },
    Nothing,
}

/// A body, or one element of an array, that does not fit into a message of its own.
pub(crate) struct BodyTooLarge {
    /// The element with its number; `None` for a body that cannot be split.
    pub(crate) element: Option<(u64, Bytes)>,
    pub(crate) too_large: MessageTooLarge,
}

impl BodyMessages {
    /// Creates the messages of a body.
    pub(crate) fn new() -> Self {
        Self(Rest::Body)
    }

    /// Returns the next message of the body, or `None` after the last one.
    ///
    /// # Errors
    /// If the body, or one element of the array, does not fit into a message. The elements after it
    /// follow with the next call.
    pub(crate) fn next(
        &mut self,
        envelope: &PageEnvelope<'_>,
        body: &Body,
    ) -> Result<Option<Message>, BodyTooLarge> {
        if matches!(self.0, Rest::Body) {
            self.0 = Rest::Nothing;
            // Escaped and in base64 a file takes more room than it has bytes.
            if body.file_bytes().is_some_and(|length| length > envelope.limits.max_bytes) {
                self.0 = Rest::file(envelope);
            } else {
                match envelope.body_message(&body.to_message_body()) {
                    Ok(message) => return Ok(Some(message)),
                    Err(too_large) => self.0 = self.split(envelope, body, too_large)?,
                }
            }
        }
        match &mut self.0 {
            Rest::Body | Rest::Nothing => Ok(None),
            Rest::Elements { list, read, batch } => {
                // The text was read as a whole before, so each of its elements can be read.
                while let Ok(NextRow::Row(element)) = list.next() {
                    let number = *read;
                    *read += 1;
                    match batch.push(envelope, &element) {
                        Ok(None) => {}
                        Ok(full) => return Ok(full),
                        Err(too_large) => {
                            return Err(BodyTooLarge { element: Some((number, element)), too_large });
                        }
                    }
                }
                let last = batch.flush(envelope, true);
                self.0 = Rest::Nothing;
                Ok(last)
            }
            Rest::File { offset, chunk, room } => {
                let (part, length, last) = file_part(body, *offset, *room);
                let message = envelope.chunk_message(PageChunk { number: *chunk, last }, &part);
                if message.size() > envelope.limits.max_bytes {
                    self.0 = Rest::Nothing;
                    let too_large = MessageTooLarge { size: message.size() };
                    return Err(BodyTooLarge { element: None, too_large });
                }
                (*offset, *chunk) = (*offset + length, *chunk + 1);
                if last {
                    self.0 = Rest::Nothing;
                }
                Ok(Some(message))
            }
        }
    }

    /// Returns how a body is split that is too large for one message.
    fn split(
        &self,
        envelope: &PageEnvelope<'_>,
        body: &Body,
        too_large: MessageTooLarge,
    ) -> Result<Rest, BodyTooLarge> {
        if body.file_bytes().is_some() {
            return Ok(Rest::file(envelope));
        }
        // Only arrays have borders at which consumers can rejoin chunks; objects have none.
        let array = body.to_message_body();
        let elements = array.array_text().and_then(Rest::elements);
        elements.ok_or(BodyTooLarge { element: None, too_large })
    }
}

impl Rest {
    fn elements(array: &Bytes) -> Option<Self> {
        let list = RowReader::from_json(array, &RowPath::of(None)).ok()?;
        Some(Self::Elements { list, read: 0, batch: MessageBatch::new(BodyKind::Array, Some(array.clone())) })
    }

    fn file(envelope: &PageEnvelope<'_>) -> Self {
        Self::File { offset: 0, chunk: 0, room: envelope.room() }
    }
}

/// Returns the part of a text or of bytes that begins at an offset, with its length and whether it
/// is the last one.
fn file_part(body: &Body, offset: usize, room: usize) -> (MessageBody, usize, bool) {
    match body {
        Body::Text(text) => {
            let rest = &text[offset..];
            let length = text_part_length(rest, room);
            (MessageBody::text(&rest[..length]), length, length == rest.len())
        }
        Body::Binary { content_type, bytes } => {
            let rest = &bytes[offset..];
            let part = FilePart { content_type, offset: offset as u64 };
            let length = part.length(rest.len(), room);
            (MessageBody::binary(part.json(&rest[..length])), length, length == rest.len())
        }
        Body::Json { .. } | Body::Empty => (MessageBody::empty(), 0, true),
    }
}
