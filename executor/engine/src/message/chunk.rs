//! Splits a page between rows into messages that the broker accepts.

use bytes::Bytes;

use super::body::{BodyKind, MessageBody};
use super::envelope::{PageChunk, PageExtras, PageLocation, response_message};
use super::exchange::HttpExchange;
use super::kafka::Message;
use super::limits::MessageLimits;
use super::origin::MessageOrigin;
use super::row_list::RowList;

/// Reserved bytes for the numbers that differ between chunks: the measured overhead is that of
/// chunk 0.
const CHUNK_NUMBERS_RESERVE: usize = 32;

/// Smallest message limit at which the overhead around a body is negligible, so that small batches
/// need no measuring.
const MEASURED_BELOW: usize = 64 * 1024;

/// A row or body that does not fit into a message of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageTooLarge {
    /// Size in bytes of the message that would carry it alone.
    pub(crate) size: usize,
}

/// The parts of a page that are the same in each of its messages.
pub(crate) struct PageEnvelope<'a> {
    pub(crate) origin: &'a MessageOrigin,
    pub(crate) location: PageLocation<'a>,
    pub(crate) exchange: &'a HttpExchange,
    /// JSON.
    pub(crate) extracted: &'a [u8],
    /// JSON object of the results of sub-steps that ran once for the page; empty if there are none.
    pub(crate) steps: &'a [u8],
    pub(crate) limits: &'a MessageLimits,
}

impl PageEnvelope<'_> {
    /// Creates the message of a whole body.
    ///
    /// # Errors
    /// If the body does not fit into a message.
    pub(crate) fn body_message(&self, body: &MessageBody) -> Result<Message, MessageTooLarge> {
        // Arrays and files can be split; anything else is tried up to the full size.
        let max = match body.kind {
            BodyKind::Array | BodyKind::Text | BodyKind::Binary => self.limits.batch_bytes(),
            BodyKind::Object | BodyKind::Scalar | BodyKind::Rows | BodyKind::Empty => self.limits.max_bytes,
        };
        // A large body is measured before it is copied into a message in vain.
        if body.size() > max {
            let without_body = self.message(PageChunk::WHOLE, &MessageBody::listed(body.kind, Vec::new()));
            return Err(MessageTooLarge { size: without_body.size() - "[]".len() + body.size() });
        }
        let message = self.message(PageChunk::WHOLE, body);
        if message.size() > max || self.holds_refused(body) {
            return Err(MessageTooLarge { size: message.size() });
        }
        Ok(message)
    }

    /// Creates the message of one row, for `emit: record`.
    ///
    /// # Errors
    /// If the row does not fit into a message.
    pub(crate) fn record_message(&self, row: &Bytes) -> Result<Message, MessageTooLarge> {
        let message = self.message(PageChunk::WHOLE, &MessageBody::rows(vec![row.clone()]));
        if message.size() > self.limits.max_bytes || self.limits.is_refused(row) {
            return Err(MessageTooLarge { size: message.size() });
        }
        Ok(message)
    }

    /// Returns whether the broker refused one of the body's elements alone.
    fn holds_refused(&self, body: &MessageBody) -> bool {
        self.limits.has_refused()
            && body.elements().is_some_and(|all| all.iter().any(|element| self.limits.is_refused(element)))
    }

    /// Creates the message of one chunk of a body that is split.
    pub(crate) fn chunk_message(&self, chunk: PageChunk, part: &MessageBody) -> Message {
        self.message(chunk, part)
    }

    /// Returns the bytes that a message has room for beside its envelope.
    pub(crate) fn room(&self) -> usize {
        self.limits.batch_bytes().saturating_sub(self.overhead())
    }

    fn message(&self, part: PageChunk, body: &MessageBody) -> Message {
        response_message(
            self.origin,
            self.location,
            part,
            self.exchange,
            body,
            PageExtras { extracted: self.extracted, steps: self.steps },
        )
    }

    /// Returns the bytes of a message around its rows.
    fn overhead(&self) -> usize {
        self.message(PageChunk::WHOLE, &MessageBody::rows(Vec::new())).size() + CHUNK_NUMBERS_RESERVE
    }
}

/// A batch of rows that grows until it fills a message.
pub(crate) struct MessageBatch {
    kind: BodyKind,
    rows: RowList,
    /// Bytes of a message around its rows; measured when a batch comes near the limit.
    overhead: Option<usize>,
    chunk: u32,
}

impl MessageBatch {
    /// Creates an empty batch; `body` is the JSON text that most of its rows are slices of, if
    /// there is one.
    pub(crate) fn new(kind: BodyKind, body: Option<Bytes>) -> Self {
        Self { kind, rows: RowList::new(body), overhead: None, chunk: 0 }
    }

    /// Creates an empty batch after `chunk` messages of the same page.
    pub(crate) fn resumed(&self, kind: BodyKind, chunk: u32) -> Self {
        Self { chunk, ..Self::new(kind, self.rows.body().cloned()) }
    }

    /// Adds a row. If it does not fit any more, returns the message of the rows before it.
    ///
    /// # Errors
    /// If the row does not fit into any message; it is then not added.
    pub(crate) fn push(
        &mut self,
        page: &PageEnvelope<'_>,
        row: &Bytes,
    ) -> Result<Option<Message>, MessageTooLarge> {
        // Each part of a file is a message of its own.
        let is_part = matches!(self.kind, BodyKind::Text | BodyKind::Binary);
        let before = if is_part { self.flush(page, false) } else { None };
        // Measuring the overhead prints a message: far below the limit it is not worth it.
        let batch_bytes = page.limits.batch_bytes();
        let max = if batch_bytes >= MEASURED_BELOW { batch_bytes / 4 } else { 0 };
        let extras = page.extracted.len() + page.steps.len() + page.exchange.size();
        let is_small = self.rows.bytes() + row.len() < max && extras < max && !page.limits.has_refused();
        let mut full = before;
        if !is_small {
            // The overhead is the same for every chunk of the page, so it is measured once.
            let overhead = *self.overhead.get_or_insert_with(|| page.overhead());
            if overhead + row.len() > page.limits.max_bytes || page.limits.is_refused(row) {
                return Err(MessageTooLarge { size: overhead - CHUNK_NUMBERS_RESERVE + row.len() });
            }
            let with_comma = row.len() + 1;
            if self.rows.len() > 0 && overhead + self.rows.bytes() + with_comma > batch_bytes {
                full = self.flush(page, false);
            }
        }
        self.rows.push(row);
        Ok(full)
    }

    /// Returns the message of the rows so far. Without rows there is none, unless `last` ends a
    /// page with earlier chunks or an array: consumers then need a message with `last_chunk`.
    pub(crate) fn flush(&mut self, page: &PageEnvelope<'_>, last: bool) -> Option<Message> {
        // An empty body is emitted, unless it has rows.
        let ends_empty = last && (self.chunk > 0 || matches!(self.kind, BodyKind::Array | BodyKind::Empty));
        if self.rows.len() == 0 && !ends_empty {
            return None;
        }
        let body = MessageBody::listed(self.kind, self.rows.take());
        let message = page.message(PageChunk { number: self.chunk, last }, &body);
        self.chunk += 1;
        Some(message)
    }

    /// Sets what the rows of the batch are.
    pub(crate) fn set_kind(&mut self, kind: BodyKind) {
        self.kind = kind;
    }

    /// Returns the bytes that the batch holds beside the body of its rows.
    pub(crate) fn held_bytes(&self) -> usize {
        self.rows.held_bytes()
    }

    /// Returns the number of rows in the batch.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the number of the next chunk.
    pub(crate) fn next_chunk(&self) -> u32 {
        self.chunk
    }

    /// Returns the message of all rows except the newest, which stays in the batch so that the last
    /// chunk of the page is not empty.
    pub(crate) fn flush_all_but_newest(&mut self, page: &PageEnvelope<'_>) -> Option<Message> {
        if self.rows.len() < 2 {
            return None;
        }
        let newest = self.rows.pop()?;
        let message = self.flush(page, false);
        self.rows.push(&newest);
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
        let location = PageLocation { step: "a", step_path: "a#0", page: 0, time: DateTime::UNIX_EPOCH };
        let none = MessageLimits::new(0);
        let page = PageEnvelope {
            origin: &origin,
            location,
            exchange: &exchange,
            extracted: b"null",
            steps: b"",
            limits: &none,
        };
        let limits = MessageLimits::new(page.overhead() + rows_bytes);
        work(&PageEnvelope { limits: &limits, ..page })
    }

    /// Returns the number of rows in each message.
    fn rows_per_message(lengths: &[usize], room: usize) -> Vec<usize> {
        with_page(room, |page| {
            let mut batch = MessageBatch::new(BodyKind::Rows, None);
            let mut messages = Vec::new();
            for length in lengths {
                messages.extend(batch.push(page, &vec![b'1'; *length].into()).unwrap());
            }
            messages.extend(batch.flush(page, true));
            assert!(messages.iter().all(|message| message.size() <= page.limits.max_bytes));
            let rows = |message: &Message| {
                let payload: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
                payload["response_body"].as_array().unwrap().len()
            };
            messages.iter().map(rows).collect()
        })
    }

    #[test]
    fn rows_are_split_before_one_that_does_not_fit() {
        let cases: [(&[usize], &[usize]); 5] = [
            (&[3, 3, 3], &[2, 1]),
            (&[7], &[1]),
            (&[7, 7, 7], &[1, 1, 1]),
            (&[1, 1, 1, 1], &[4]),
            (&[1, 1, 1, 1, 1], &[4, 1]),
        ];
        for (lengths, messages) in cases {
            assert_eq!(rows_per_message(lengths, 7), messages, "{lengths:?}");
        }
    }

    #[test]
    fn oversized_row_is_not_added() {
        with_page(7, |page| {
            let mut batch = MessageBatch::new(BodyKind::Rows, None);
            assert!(batch.push(page, &Bytes::from_static(b"1")).unwrap().is_none());
            assert!(batch.push(page, &Bytes::from_static(b"12345678")).is_err());
            assert_eq!(batch.len(), 1);
        });
    }

    #[test]
    fn split_page_ends_with_a_message_even_without_rows() {
        with_page(7, |page| {
            let mut batch = MessageBatch::new(BodyKind::Rows, None);
            assert!(batch.flush(page, true).is_none());
            let mut batch = MessageBatch::new(BodyKind::Rows, None).resumed(BodyKind::Rows, 2);
            assert!(batch.flush(page, true).is_some());
            assert!(
                MessageBatch::new(BodyKind::Array, None).flush(page, true).is_some(),
                "an empty list is emitted"
            );
        });
    }
}
