//! Cuts a page at row borders into messages that the broker takes.

use bytes::Bytes;

use super::Message;
use super::body::{BodyKind, MessageBody};
use super::envelope::{PageChunk, PageExtras, PageLocation, response_message};
use super::exchange::HttpExchange;
use super::origin::MessageOrigin;

/// Room for the numbers that differ from chunk to chunk.
const CHUNK_NUMBERS_RESERVE: usize = 32;

/// Where messages may be this large, what stands around their bodies is small against them.
const MEASURED_BELOW: usize = 64 * 1024;

/// Something that no cut makes small enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageTooLarge {
    /// Which row; none where the body has no rows.
    pub(crate) row: Option<usize>,
    /// Bytes of the message that would carry it alone.
    pub(crate) size: usize,
}

/// A page and everything about it that is the same in each of its messages.
pub(crate) struct PageEnvelope<'a> {
    pub(crate) origin: &'a MessageOrigin,
    pub(crate) at: PageLocation<'a>,
    pub(crate) exchange: &'a HttpExchange,
    /// JSON.
    pub(crate) extracted: &'a [u8],
    /// JSON object of what sub-steps left that ran once for the page; empty without any.
    pub(crate) steps: &'a [u8],
    /// Most bytes of a message.
    pub(crate) max_bytes: usize,
}

impl PageEnvelope<'_> {
    /// The messages of a body that is no list of rows. An array that is too large is cut between its elements.
    pub(crate) fn body_messages(&self, body: &MessageBody) -> Result<Vec<Message>, MessageTooLarge> {
        let message = self.message(PageChunk::WHOLE, body);
        if message.size() <= self.max_bytes {
            return Ok(vec![message]);
        }
        let (BodyKind::Array, Some(elements)) = (body.kind, body.elements()) else {
            return Err(MessageTooLarge { row: None, size: message.size() });
        };
        let mut batch = MessageBatch::new(BodyKind::Array, 0);
        let mut messages = Vec::new();
        for (index, element) in elements.into_iter().enumerate() {
            let left = batch.push(self, element);
            messages.extend(left.map_err(|large| MessageTooLarge { row: Some(index), ..large })?);
        }
        messages.extend(batch.flush(self, true));
        Ok(messages)
    }

    /// The one message of one row, as `record` emits it.
    pub(crate) fn record_message(&self, row: &Bytes) -> Result<Message, MessageTooLarge> {
        let message = self.message(PageChunk::WHOLE, &MessageBody::rows(vec![row.clone()]));
        if message.size() <= self.max_bytes {
            Ok(message)
        } else {
            Err(MessageTooLarge { row: Some(0), size: message.size() })
        }
    }

    fn message(&self, part: PageChunk, body: &MessageBody) -> Message {
        response_message(
            self.origin,
            self.at,
            part,
            self.exchange,
            body,
            PageExtras { extracted: self.extracted, steps: self.steps },
        )
    }

    /// Bytes of a message around its rows.
    fn overhead(&self) -> usize {
        self.message(PageChunk::WHOLE, &MessageBody::rows(Vec::new())).size() + CHUNK_NUMBERS_RESERVE
    }
}

/// Rows gathered until they fill a message.
pub(crate) struct MessageBatch {
    kind: BodyKind,
    rows: Vec<Bytes>,
    /// Bytes of the rows with their commas.
    used: usize,
    /// Bytes that there is room for; asked only where it could matter.
    room: Option<usize>,
    chunk: u32,
}

impl MessageBatch {
    /// No rows yet, after `chunk` messages of the same page.
    pub(crate) fn new(kind: BodyKind, chunk: u32) -> MessageBatch {
        MessageBatch { kind, rows: Vec::new(), used: 0, room: None, chunk }
    }

    /// Takes a row; answers the message of the rows before it where it does not fit any more. A row that fits into no
    /// message is not taken.
    pub(crate) fn push(
        &mut self,
        page: &PageEnvelope<'_>,
        row: Bytes,
    ) -> Result<Option<Message>, MessageTooLarge> {
        // Far below the limit nothing has to be measured.
        let most = if page.max_bytes >= MEASURED_BELOW { page.max_bytes / 4 } else { 0 };
        let beside = page.extracted.len() + page.steps.len() + page.exchange.size();
        let small = self.used + row.len() < most && beside < most;
        let mut left = None;
        if !small {
            let room = *self.room.get_or_insert_with(|| page.max_bytes.saturating_sub(page.overhead()));
            if row.len() > room {
                return Err(MessageTooLarge {
                    row: None,
                    size: page.overhead() - CHUNK_NUMBERS_RESERVE + row.len(),
                });
            }
            if !self.rows.is_empty() && self.used + 1 + row.len() > room {
                left = self.flush(page, false);
            }
        }
        self.used += row.len() + usize::from(!self.rows.is_empty());
        self.rows.push(row);
        Ok(left)
    }

    /// The message of the rows so far; none where there are none, unless it ends a page that was cut before.
    pub(crate) fn flush(&mut self, page: &PageEnvelope<'_>, last: bool) -> Option<Message> {
        let ends_empty = last && (self.chunk > 0 || self.kind == BodyKind::Array);
        if self.rows.is_empty() && !ends_empty {
            return None;
        }
        let body = MessageBody::listed(self.kind, std::mem::take(&mut self.rows));
        let message = page.message(PageChunk { chunk: self.chunk, last }, &body);
        self.used = 0;
        self.chunk += 1;
        Some(message)
    }

    /// Rows that wait.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Messages so far.
    pub(crate) fn next_chunk(&self) -> u32 {
        self.chunk
    }

    /// Keeps the newest row for the next message, so that the last one is never empty.
    pub(crate) fn flush_all_but_newest(&mut self, page: &PageEnvelope<'_>) -> Option<Message> {
        let newest = self.rows.pop()?;
        let message = self.flush(page, false);
        self.used = newest.len();
        self.rows.push(newest);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::{ExecutionIdentity, TraceContext};
    use crate::message::exchange::{ReceivedResponse, SentRequest};
    use crate::message::redact::Redactor;
    use chrono::DateTime;
    use uuid::Uuid;

    fn with_page<T>(rows_bytes: usize, work: impl FnOnce(&PageEnvelope<'_>) -> T) -> T {
        let identity = ExecutionIdentity {
            tenant_id: Uuid::nil(),
            integration: String::new(),
            plan_key: String::new(),
            plan_revision: 1,
            config_id: Uuid::nil(),
            config_key: String::new(),
            execution_id: Uuid::nil(),
            attempt: 1,
            fence: 1,
            scheduled_at: DateTime::UNIX_EPOCH,
            started_at: DateTime::UNIX_EPOCH,
        };
        let origin = MessageOrigin::new(&identity, &TraceContext::default());
        let exchange =
            HttpExchange::new(&SentRequest::default(), &ReceivedResponse::default(), &Redactor::default());
        let at = PageLocation { step: "a", step_path: "a#0", page: 0, time: DateTime::UNIX_EPOCH };
        let mut page = PageEnvelope {
            origin: &origin,
            at,
            exchange: &exchange,
            extracted: b"null",
            steps: b"",
            max_bytes: 0,
        };
        page.max_bytes = page.overhead() + rows_bytes;
        work(&page)
    }

    /// How many rows are in each message.
    fn cut(lengths: &[usize], room: usize) -> Vec<usize> {
        with_page(room, |page| {
            let mut batch = MessageBatch::new(BodyKind::Rows, 0);
            let mut messages = Vec::new();
            for length in lengths {
                messages.extend(batch.push(page, Bytes::from(vec![b'1'; *length])).unwrap());
            }
            messages.extend(batch.flush(page, true));
            assert!(messages.iter().all(|message| message.size() <= page.max_bytes));
            let rows = |message: &Message| {
                let payload: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
                payload["response_body"].as_array().unwrap().len()
            };
            messages.iter().map(rows).collect()
        })
    }

    #[test]
    fn rows_are_cut_where_the_next_one_would_not_fit() {
        let cases: [(&[usize], &[usize]); 5] = [
            (&[3, 3, 3], &[2, 1]),
            (&[7], &[1]),
            (&[7, 7, 7], &[1, 1, 1]),
            (&[1, 1, 1, 1], &[4]),
            (&[1, 1, 1, 1, 1], &[4, 1]),
        ];
        for (lengths, messages) in cases {
            assert_eq!(cut(lengths, 7), messages, "{lengths:?}");
        }
    }

    #[test]
    fn a_row_that_fits_nowhere_is_not_taken() {
        with_page(7, |page| {
            let mut batch = MessageBatch::new(BodyKind::Rows, 0);
            assert!(batch.push(page, Bytes::from_static(b"1")).unwrap().is_none());
            assert!(batch.push(page, Bytes::from_static(b"12345678")).is_err());
            assert_eq!(batch.len(), 1);
        });
    }

    #[test]
    fn a_page_that_was_cut_ends_with_a_message_also_where_no_row_is_left() {
        with_page(7, |page| {
            let mut batch = MessageBatch::new(BodyKind::Rows, 0);
            assert!(batch.flush(page, true).is_none());
            let mut batch = MessageBatch::new(BodyKind::Rows, 2);
            assert!(batch.flush(page, true).is_some());
            assert!(
                MessageBatch::new(BodyKind::Array, 0).flush(page, true).is_some(),
                "an empty list is a body"
            );
        });
    }
}
