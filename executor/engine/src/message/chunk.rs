//! Cuts a page at row borders into messages that the broker takes.

use std::ops::Range;

use bytes::Bytes;

use super::body::{BodyKind, MessageBody};
use super::envelope::{At, Part, response};
use super::exchange::Exchange;
use super::origin::Origin;
use super::{Message, body};

/// Room for the numbers that differ from chunk to chunk.
const SLACK: usize = 32;

/// Something that no cut makes small enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TooLarge {
    /// Which row; none where the body has no rows.
    pub(crate) row: Option<usize>,
    /// Bytes of the message that would carry it alone.
    pub(crate) size: usize,
}

/// A page and everything about it that is the same in each chunk.
pub(crate) struct Page<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) at: At<'a>,
    pub(crate) exchange: &'a Exchange,
    /// JSON.
    pub(crate) extracted: &'a [u8],
    /// Most bytes of a message.
    pub(crate) max_bytes: usize,
}

impl Page<'_> {
    /// The messages of a body that is no list of rows. An array that is too large is cut between its elements.
    pub(crate) fn whole(&self, body: &MessageBody) -> Result<Vec<Message>, TooLarge> {
        let message = self.message(Part::WHOLE, body);
        if message.size() <= self.max_bytes {
            return Ok(vec![message]);
        }
        match (body.kind, body::elements(&body.array)) {
            (BodyKind::Array, Some(elements)) => self.cut(BodyKind::Array, &elements),
            _ => Err(TooLarge { row: None, size: message.size() }),
        }
    }

    /// The messages of some rows, in order. No rows make no message.
    pub(crate) fn rows(&self, rows: &[Bytes]) -> Result<Vec<Message>, TooLarge> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        self.cut(BodyKind::Rows, rows)
    }

    /// The one message of one row, as `record` emits it.
    pub(crate) fn record(&self, row: &Bytes) -> Result<Message, TooLarge> {
        let message = self.message(Part::WHOLE, &MessageBody::rows(std::slice::from_ref(row)));
        if message.size() <= self.max_bytes {
            Ok(message)
        } else {
            Err(TooLarge { row: Some(0), size: message.size() })
        }
    }

    fn cut(&self, kind: BodyKind, rows: &[Bytes]) -> Result<Vec<Message>, TooLarge> {
        let around = self.message(Part::WHOLE, &MessageBody { kind, array: b"[]".to_vec() }).size() + SLACK;
        let parts = borders(rows, self.max_bytes.saturating_sub(around))
            .map_err(|row| TooLarge { row: Some(row), size: around - SLACK + rows[row].len() })?;
        let last = parts.len().saturating_sub(1);
        let messages = parts.into_iter().enumerate().map(|(index, range)| {
            let body = MessageBody { kind, ..MessageBody::rows(&rows[range]) };
            self.message(Part { chunk: u32::try_from(index).unwrap_or(u32::MAX), last: index == last }, &body)
        });
        Ok(messages.collect())
    }

    fn message(&self, part: Part, body: &MessageBody) -> Message {
        response(self.origin, self.at, part, self.exchange, body, self.extracted)
    }
}

/// As many rows in each range as fit into `budget` bytes with their commas; the error is a row that does not alone.
fn borders(rows: &[Bytes], budget: usize) -> Result<Vec<Range<usize>>, usize> {
    let mut parts = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (index, row) in rows.iter().enumerate() {
        if row.len() > budget {
            return Err(index);
        }
        if index > start && used + 1 + row.len() > budget {
            parts.push(start..index);
            (start, used) = (index, 0);
        }
        used += row.len() + usize::from(index > start);
    }
    parts.push(start..rows.len());
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(lengths: &[usize]) -> Vec<Bytes> {
        lengths.iter().map(|length| Bytes::from(vec![b'1'; *length])).collect()
    }

    #[test]
    fn rows_are_cut_where_the_next_one_would_not_fit() {
        let cases: [(&[usize], &[usize]); 5] = [
            (&[3, 3, 3], &[2, 3]),
            (&[7], &[1]),
            (&[7, 7, 7], &[1, 2, 3]),
            (&[1, 1, 1, 1], &[4]),
            (&[1, 1, 1, 1, 1], &[4, 5]),
        ];
        for (lengths, ends) in cases {
            let parts = borders(&rows(lengths), 7).unwrap();
            assert_eq!(parts.iter().map(|part| part.end).collect::<Vec<_>>(), ends, "{lengths:?}");
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start), "{lengths:?}");
        }
    }

    #[test]
    fn a_row_that_fits_nowhere_is_named() {
        assert_eq!(borders(&rows(&[1, 8]), 7), Err(1));
    }
}
