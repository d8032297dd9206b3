//! Rows out of a body that comes in pieces.
//!
//! In: pieces of bytes, cut anywhere, and the body's end. Out: its rows, one by one, each as JSON text. Never more than
//! one row and one piece is held; what is passed over is still checked.

mod array;
mod csv;
mod lexer;
mod lines;

use bytes::Bytes;
use encoding_rs::Encoding;
use orchid_plan::{CsvRules, PlainPath};

use self::array::JsonArray;
pub(super) use self::csv::Csv;
pub(super) use self::lines::JsonLines;
use super::charset::Transcoder;
use super::{DecodeError, NextRow};

/// What rows are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFormat {
    /// A row a line.
    JsonLines,
    /// A row a record, the header apart.
    Csv,
    /// The elements of a list somewhere in a JSON body.
    JsonArray,
}

/// One of the formats, over text. `at` says how far the text was read.
pub(super) enum RowSource {
    Lines(JsonLines),
    Csv(Box<Csv>),
    Array(Box<JsonArray>),
}

impl RowSource {
    /// Appends the next row to `row`; false where the text holds no other whole one. `last`: nothing comes after it.
    pub(super) fn next(
        &mut self,
        text: &[u8],
        at: &mut usize,
        last: bool,
        row: &mut Vec<u8>,
    ) -> Result<bool, DecodeError> {
        match self {
            RowSource::Lines(lines) => lines.next(text, at, last, row),
            RowSource::Csv(csv) => csv.next(text, at, last, row),
            RowSource::Array(array) => array.next(text, at, last, row),
        }
    }
}

/// Takes rows out of pieces: [`RowDecoder::feed`] them, [`RowDecoder::finish`] at the end, and take what is there with
/// [`RowDecoder::next`] in between.
pub(crate) struct RowDecoder {
    source: RowSource,
    transcoder: Transcoder,
    /// What the pieces say, from `at` on not yet read.
    text: String,
    at: usize,
    /// Whether a byte came: no body at all is no rows, whatever its format.
    came: bool,
    finished: bool,
    /// What comes after all rows of `text`: the place where the encoding broke.
    broken: Option<DecodeError>,
    /// What was wrong, once and for all.
    failed: Option<DecodeError>,
}

impl RowDecoder {
    /// Rows at `path` of a body in this encoding; those of lines and CSV are the body itself. No row is longer than
    /// `max_row_bytes`.
    pub(super) fn new(
        format: RowFormat,
        csv: &CsvRules,
        path: &PlainPath,
        encoding: &'static Encoding,
        max_row_bytes: usize,
    ) -> Result<RowDecoder, DecodeError> {
        if format != RowFormat::JsonArray && !path.0.is_empty() {
            return Err(DecodeError::NoStream(
                "the rows of CSV and JSON lines are response.body itself, and no member of it",
            ));
        }
        let source = match format {
            RowFormat::JsonLines => RowSource::Lines(JsonLines::new(max_row_bytes)),
            RowFormat::Csv => RowSource::Csv(Box::new(Csv::new(csv, max_row_bytes)?)),
            RowFormat::JsonArray => RowSource::Array(Box::new(JsonArray::new(path, max_row_bytes)?)),
        };
        Ok(RowDecoder {
            source,
            transcoder: Transcoder::new(encoding),
            text: String::new(),
            at: 0,
            came: false,
            finished: false,
            broken: None,
            failed: None,
        })
    }

    /// Takes a piece. One is due whenever [`RowDecoder::next`] says so; earlier ones are kept until their turn.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        if !self.finished && !piece.is_empty() {
            self.came = true;
            self.take(piece, false);
        }
    }

    /// The body has ended.
    pub(crate) fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            self.take(b"", true);
        }
    }

    fn take(&mut self, piece: &[u8], last: bool) {
        if self.failed.is_some() || self.broken.is_some() {
            return;
        }
        self.broken = self.transcoder.push(piece, last, &mut self.text).err();
    }

    /// The next row. After an error comes the same error, after the end the end.
    pub(crate) fn next(&mut self) -> Result<NextRow, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if !self.came && self.broken.is_none() {
            return Ok(if self.finished { NextRow::End } else { NextRow::NeedMore });
        }
        let last = self.finished && self.broken.is_none();
        let mut row = Vec::new();
        let failed = match self.source.next(self.text.as_bytes(), &mut self.at, last, &mut row) {
            Ok(true) => return Ok(NextRow::Row(Bytes::from(row))),
            Ok(false) => {
                self.text.clear();
                self.at = 0;
                match self.broken.take() {
                    None if self.finished => return Ok(NextRow::End),
                    None => return Ok(NextRow::NeedMore),
                    Some(broken) => broken,
                }
            }
            Err(error) => error,
        };
        self.text = String::new();
        Err(self.failed.insert(failed).clone())
    }

    /// Bytes that are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.text.capacity()
            + match &self.source {
                RowSource::Lines(lines) => lines.held(),
                RowSource::Csv(csv) => csv.held(),
                RowSource::Array(array) => array.held(),
            }
    }

    /// Whether something, be it null, was seen where the rows should be; known for sure at the end.
    pub(crate) fn found(&self) -> bool {
        match &self.source {
            RowSource::Lines(_) | RowSource::Csv(_) => self.came,
            RowSource::Array(array) => array.found(),
        }
    }
}

/// Whether a JSON parser passes over this byte between tokens.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
