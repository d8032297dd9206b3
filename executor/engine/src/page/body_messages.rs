//! The messages of a body without rows, made one at a time: a large body is never in several
//! messages at once.

use bytes::Bytes;

use crate::body::{NextRow, RowPath, RowReader};
use crate::message::Message;
use crate::message::body::{BodyKind, MessageBody};
use crate::message::chunk::{MessageBatch, MessageTooLarge, PageEnvelope};

/// The messages of a body that are not made yet.
pub(crate) struct BodyMessages(Rest);

enum Rest {
    /// The whole body.
    Body(MessageBody),
    /// The rest of an array that is split between its elements.
    Elements {
        list: RowReader,
        read: u64,
        batch: MessageBatch,
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
    pub(crate) fn new(body: MessageBody) -> Self {
        Self(Rest::Body(body))
    }

    /// Returns the next message, or `None` after the last one.
    ///
    /// # Errors
    /// If the body, or one element of the array, does not fit into a message. The elements after it
    /// follow with the next call.
    pub(crate) fn next(&mut self, envelope: &PageEnvelope<'_>) -> Result<Option<Message>, BodyTooLarge> {
        if let Rest::Body(body) = &self.0 {
            let whole = envelope.body_message(body);
            let array = body.array_text().filter(|_| whole.is_err());
            // Only arrays have borders at which consumers can rejoin chunks; objects have none.
            self.0 = array.and_then(Rest::elements).unwrap_or(Rest::Nothing);
            match (&self.0, whole) {
                (_, Ok(message)) => return Ok(Some(message)),
                (Rest::Elements { .. }, Err(_)) => {}
                (_, Err(too_large)) => return Err(BodyTooLarge { element: None, too_large }),
            }
        }
        let Rest::Elements { list, read, batch } = &mut self.0 else { return Ok(None) };
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
}

impl Rest {
    fn elements(array: &Bytes) -> Option<Self> {
        let list = RowReader::from_json(array, &RowPath::of(None)).ok()?;
        Some(Self::Elements { list, read: 0, batch: MessageBatch::new(BodyKind::Array, 0) })
    }
}
