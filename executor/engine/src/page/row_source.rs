//! The rows of a page in order, and the prefix of them that an earlier attempt has settled.

use bytes::Bytes;

use crate::body::{EDGE_BYTES, FileParts, NextRow, RowReader};
use crate::checkpoint::step_state::{RowState, RowsState};
use crate::input::{BodyPiece, FetchError, TryId};
use crate::output::Output;
use crate::page::exchange::TryResponse;
use crate::page::progress::PageProgress;
use crate::page::resume_point::ResumePoint;
use crate::rules::outcome::TryFailure;
use crate::rules::repeat_guard::leading_number;
use crate::state::engine_cx::EngineCx;

/// Bytes of a broken body that its error shows.
const BODY_HEAD_MAX: usize = 64 * 1024;

/// Source of a page's rows.
pub(crate) struct RowSource {
    pub(crate) reader: RowReader,
    /// The streamed body, if the rows come from one.
    pub(crate) open_body: Option<OpenBody>,
    /// Rows to skip because an earlier attempt has settled them, as long as they are the same.
    pub(crate) skip: Option<SkippedPrefix>,
    /// The last piece of the body has arrived, or the body broke off.
    pub(crate) ended: bool,
    /// The last row was taken.
    pub(crate) exhausted: bool,
    /// The failure with which the body broke off; it is told after the rows before it.
    broken: Option<(TryFailure, String)>,
}

impl RowSource {
    /// Creates a source; `stream` is the try whose body delivers the rows.
    pub(crate) fn new(reader: RowReader, stream: Option<TryId>) -> Self {
        let open_body = stream.map(OpenBody::new);
        Self { reader, open_body, skip: None, ended: false, exhausted: false, broken: None }
    }

    /// Takes the next piece of the body, or its end, or the error with which it broke off. Returns
    /// false for an error.
    pub(crate) fn take_piece(
        &mut self,
        cx: &mut EngineCx<'_>,
        try_id: TryId,
        piece: Result<Option<BodyPiece>, FetchError>,
    ) -> bool {
        let ended = !matches!(piece, Ok(Some(_)));
        // No input follows for this try, so its route is forgotten. Without that, the try would
        // count as in flight, and take room from other rows.
        if ended {
            cx.run.try_ended(try_id);
            self.ended = true;
        }
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                self.broken = Some((TryFailure::Fetch(error.kind), error.message));
                self.reader.cut();
                return false;
            }
        };
        if let Some(body) = &mut self.open_body {
            body.arrived(piece.as_ref().map_or(&[], |piece| &piece.bytes));
        }
        match piece {
            Some(piece) => {
                cx.run.progress.counts.bytes += piece.bytes.len() as u64;
                self.reader.feed(piece);
            }
            None => self.reader.finish(),
        }
        true
    }

    /// Reads the next row; `None` if there is none before more of the body, or none at all.
    ///
    /// # Errors
    /// The progress of a page that cannot go on reading.
    pub(crate) fn next_row(&mut self, cx: &mut EngineCx<'_>) -> Result<Option<Bytes>, PageProgress> {
        match self.reader.next() {
            Ok(NextRow::Row(row)) => Ok(Some(row)),
            Ok(NextRow::NeedMore) => {
                if let Some((failure, problem)) = self.broken.take() {
                    return Err(PageProgress::Broken(failure, problem));
                }
                // Pieces are requested one by one, so that a slow page is not buffered in memory.
                if let Some(body) = &mut self.open_body
                    && !body.requested
                {
                    body.requested = true;
                    cx.out.push(Output::ReadBody { try_id: body.try_id });
                }
                Ok(None)
            }
            Ok(NextRow::End) => {
                self.exhausted = true;
                // Fewer rows than the earlier attempt settled: the page is another one.
                if self.skip.is_some() { Err(PageProgress::RowsChanged) } else { Ok(None) }
            }
            Err(error) => Err(PageProgress::Broken(TryFailure::Decode(error.code()), error.to_string())),
        }
    }

    /// Compares a row with those that an earlier attempt has settled, as long as there are any.
    pub(crate) fn skip_row(&mut self, row: &[u8], resume: &mut ResumePoint) -> SkippedRow {
        let Some(skip) = &mut self.skip else { return SkippedRow::New };
        resume.add_skipped(row);
        skip.left -= 1;
        if skip.left > 0 {
            return SkippedRow::Settled;
        }
        // The rows are compared by one hash over all of them, so it takes the last one to know.
        if resume.hash() != skip.state.hash {
            return SkippedRow::Changed;
        }
        let skip = self.skip.take();
        skip.map_or(SkippedRow::New, |skip| SkippedRow::LastSettled(Box::new(skip.state)))
    }

    /// Iterates over the rows of the checkpoint that were in flight, while the settled ones are
    /// skipped.
    pub(crate) fn not_started(&self) -> impl Iterator<Item = (&u64, &RowState)> {
        self.skip.iter().flat_map(|skip| &skip.state.in_flight)
    }

    /// Returns the number of rows that the checkpoint says were settled, while they are skipped.
    pub(crate) fn settled_before(&self) -> usize {
        self.skip.as_ref().map_or(0, |skip| usize::try_from(skip.state.done).unwrap_or(usize::MAX))
    }

    /// Ends the rows before the end of the body. Returns the settled rows that were not read again.
    pub(crate) fn end(&mut self) -> Option<SkippedPrefix> {
        self.ended = true;
        // The rest of a text or file that has arrived is its last part.
        let parts = self.reader.parts().map(FileParts::finish);
        self.exhausted = parts.is_none();
        if let Some(body) = &mut self.open_body {
            body.requested = false;
        }
        self.skip.take()
    }

    /// Computes the fingerprint of the streamed body while it arrives.
    pub(crate) fn compare_answer(&mut self) {
        if let Some(body) = &mut self.open_body {
            body.hash = Some(Box::default());
        }
    }

    /// Returns the beginning and the end of a streamed JSON document, without what is between them.
    pub(crate) fn edges(&self) -> Option<Vec<u8>> {
        let body = self.open_body.as_ref().filter(|_| self.reader.streams_document())?;
        Some([body.head.as_slice(), &body.tail].concat())
    }

    /// Notes the fingerprint of a streamed body that has ended; returns whether it is that of the
    /// page before.
    pub(crate) fn note_answer(&self, response: &mut TryResponse) -> bool {
        let hash = self.open_body.as_ref().and_then(|body| body.hash.as_ref());
        let (Some(comparison), Some(hash)) = (response.comparison, hash) else { return false };
        response.answer = Some(leading_number(hash.finalize().as_bytes()));
        response.answer == comparison.latest
    }

    /// Returns the try whose body is still streaming.
    pub(crate) fn open_try(&self) -> Option<TryId> {
        if self.ended { None } else { self.open_body.as_ref().map(|body| body.try_id) }
    }
}

/// A body that is streaming.
pub(crate) struct OpenBody {
    pub(crate) try_id: TryId,
    /// A piece was requested, and has not arrived.
    pub(crate) requested: bool,
    /// The beginning of the body, for the error in which it may end.
    pub(crate) head: Vec<u8>,
    /// The end of the body as far as it has arrived, once that is longer than `head`.
    tail: Vec<u8>,
    /// Hash of the pieces, if the loop compares its answers.
    hash: Option<Box<blake3::Hasher>>,
}

impl OpenBody {
    fn new(try_id: TryId) -> Self {
        Self { try_id, requested: false, head: Vec::new(), tail: Vec::new(), hash: None }
    }

    /// Notes the arrival of a piece.
    pub(crate) fn arrived(&mut self, piece: &[u8]) {
        self.requested = false;
        let room = BODY_HEAD_MAX.saturating_sub(self.head.len());
        let (head, rest) = piece.split_at(piece.len().min(room));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(EDGE_BYTES)..];
        let outdated = (self.tail.len() + rest.len()).saturating_sub(EDGE_BYTES);
        self.tail.drain(..outdated);
        self.tail.extend_from_slice(rest);
        if let Some(hash) = &mut self.hash {
            hash.update(piece);
        }
    }
}

/// A row that was compared with the settled ones.
pub(crate) enum SkippedRow {
    /// It is none of them.
    New,
    /// It is one of them, as far as can be told before the last one.
    Settled,
    /// It is the last of them, and all of them are as they were.
    LastSettled(Box<RowsState>),
    /// They are not as they were: the page is another one.
    Changed,
}

/// Rows that an earlier attempt has settled and that were not read again yet.
pub(crate) struct SkippedPrefix {
    pub(crate) left: u64,
    pub(crate) state: RowsState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_the_beginning_and_the_end_of_a_long_body() {
        for (length, pieces) in [(100, 7), (BODY_HEAD_MAX + 100, 1000), (4 * BODY_HEAD_MAX, 50_000)] {
            let text: Vec<u8> = (0..length).map(|at| b'a' + u8::try_from(at % 23).unwrap()).collect();
            let mut body = OpenBody::new(TryId(1));
            text.chunks(pieces).for_each(|piece| body.arrived(piece));
            assert!(text.starts_with(&body.head) && text.ends_with(&body.tail), "{length}");
            assert_eq!(body.tail.len(), length.saturating_sub(BODY_HEAD_MAX).min(EDGE_BYTES));
        }
    }
}
