//! The decoder of rows from pieces: decodes the text, and hands it to the parser of the format.

use bytes::Bytes;
use orchid_plan::CsvRules;

use super::array::ArrayParser;
use super::csv::CsvParser;
use super::lines::LinesParser;
use crate::body::charset::Transcoder;
use crate::body::error::DecodeError;
use crate::body::format::packed_kind;
use crate::body::row_path::RowPath;

/// The format that contains the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFormat {
    /// One row per line.
    JsonLines,
    /// One row per record after the header.
    Csv,
    /// The elements of a list at a path of a JSON document.
    JsonArray,
}

/// The result of reading the next row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NextRow {
    /// A row as JSON text, without surrounding white space.
    Row(Bytes),
    /// No row before the next piece or the end is fed. Only streams return this.
    NeedMore,
    /// All rows were read.
    End,
}

/// The parser of one format.
pub(in crate::body) enum RowParser {
    Lines(LinesParser),
    Csv(Box<CsvParser>),
    Array(Box<ArrayParser>),
}

impl RowParser {
    /// Appends the next row to `row`. Returns false if the text has no further complete row.
    ///
    /// Parsing starts at `offset`, which is moved behind the consumed text. `last` means that no
    /// text follows.
    ///
    /// # Errors
    /// If the text is invalid or a row is too large.
    pub(in crate::body) fn next(
        &mut self,
        text: &[u8],
        offset: &mut usize,
        last: bool,
        row: &mut Vec<u8>,
    ) -> Result<bool, DecodeError> {
        match self {
            Self::Lines(lines) => lines.next(text, offset, last, row),
            Self::Csv(csv) => csv.next(text, offset, last, row),
            Self::Array(array) => array.next(text, offset, last, row),
        }
    }
}

/// A decoder of rows from pieces. Call [`RowDecoder::feed`] for each piece, [`RowDecoder::finish`]
/// at the end of the body, and [`RowDecoder::next`] in between until it needs more.
pub(crate) struct RowDecoder {
    parser: RowParser,
    transcoder: Transcoder,
    /// Decoded text of the pieces; everything before `offset` is consumed.
    text: String,
    offset: usize,
    /// True once a byte has arrived: a body of zero bytes has no rows in any format.
    received: bool,
    finished: bool,
    /// An encoding error behind `text`. It is reported only after all rows before it.
    encoding_error: Option<DecodeError>,
    /// The error that every later call returns.
    failure: Option<DecodeError>,
}

impl RowDecoder {
    /// Creates a decoder of the rows at `path`. For JSON lines and CSV the path must be empty,
    /// since the body itself is the list. Rows are at most `max_row_bytes` long.
    ///
    /// # Errors
    /// If the path cannot be streamed, or the plan's CSV header has a name twice.
    pub(in crate::body) fn new(
        format: RowFormat,
        csv: &CsvRules,
        path: &RowPath<'_>,
        transcoder: Transcoder,
        max_row_bytes: usize,
    ) -> Result<Self, DecodeError> {
        if format != RowFormat::JsonArray && !path.path.0.is_empty() {
            return Err(DecodeError::NotStreamable(
                "the rows of CSV and JSON lines are response.body itself, not a member of it",
            ));
        }
        let parser = match format {
            RowFormat::JsonLines => RowParser::Lines(LinesParser::new(max_row_bytes)),
            RowFormat::Csv => RowParser::Csv(Box::new(CsvParser::new(csv, max_row_bytes)?)),
            RowFormat::JsonArray => RowParser::Array(Box::new(ArrayParser::new(path, max_row_bytes)?)),
        };
        Ok(Self {
            parser,
            transcoder,
            text: String::new(),
            offset: 0,
            received: false,
            finished: false,
            encoding_error: None,
            failure: None,
        })
    }

    /// Feeds a piece. Pieces fed before [`RowDecoder::next`] needs them are buffered.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        if !self.finished && !piece.is_empty() {
            if let Some(kind) = packed_kind(piece).filter(|_| !self.received) {
                self.encoding_error = Some(DecodeError::Packed(kind));
            }
            self.received = true;
            self.decode(piece, false);
        }
    }

    /// Returns whether the rows are the elements of a list in one JSON document.
    pub(crate) fn reads_document(&self) -> bool {
        matches!(self.parser, RowParser::Array(_))
    }

    /// Signals the end of the body; later pieces are ignored.
    pub(crate) fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            self.decode(b"", true);
        }
    }

    /// Signals that the body broke off: rows that were held back until the text behind them was
    /// read are returned.
    pub(crate) fn cut(&mut self) {
        if let RowParser::Csv(csv) = &mut self.parser {
            csv.release_first_rows();
        }
    }

    fn decode(&mut self, piece: &[u8], last: bool) {
        // Text after an encoding error cannot be trusted and is dropped.
        if self.failure.is_some() || self.encoding_error.is_some() {
            return;
        }
        self.encoding_error = self.transcoder.push(piece, last, &mut self.text).err();
    }

    /// Returns the next row. After the end it returns the end again.
    ///
    /// # Errors
    /// If the body is invalid or a row is too large; every later call returns the same error.
    pub(crate) fn next(&mut self) -> Result<NextRow, DecodeError> {
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        // Without a byte, the JSON parser would report a truncated document instead of an empty
        // body.
        if !self.received && self.encoding_error.is_none() {
            return Ok(if self.finished { NextRow::End } else { NextRow::NeedMore });
        }
        // An encoding error hides what follows: the parser must not treat its text as complete.
        let last = self.finished && self.encoding_error.is_none();
        let mut row = Vec::new();
        let failure = match self.parser.next(self.text.as_bytes(), &mut self.offset, last, &mut row) {
            Ok(true) => return Ok(NextRow::Row(Bytes::from(row))),
            Ok(false) => {
                // The parser keeps what it still needs, so the buffer never grows beyond one piece.
                self.text.clear();
                self.offset = 0;
                match self.encoding_error.take() {
                    None if self.finished => return Ok(NextRow::End),
                    None => return Ok(NextRow::NeedMore),
                    Some(error) => error,
                }
            }
            Err(error) => error,
        };
        // Nothing is read after an error: the buffer is released.
        self.text = String::new();
        Err(self.failure.insert(failure).clone())
    }

    /// Returns the number of buffered bytes.
    #[cfg(test)]
    pub(in crate::body) fn held(&self) -> usize {
        self.text.capacity()
            + match &self.parser {
                RowParser::Lines(lines) => lines.held(),
                RowParser::Csv(csv) => csv.held(),
                RowParser::Array(array) => array.held(),
            }
    }

    /// Returns whether the path led to a value, even null. Final at the end of the body.
    pub(crate) fn found(&self) -> bool {
        match &self.parser {
            RowParser::Lines(_) | RowParser::Csv(_) => self.received,
            RowParser::Array(array) => array.found(),
        }
    }

    /// Returns whether the path led to a list. Final at the end of the body.
    pub(crate) fn listed(&self) -> bool {
        match &self.parser {
            RowParser::Lines(_) | RowParser::Csv(_) => self.received,
            RowParser::Array(array) => array.listed(),
        }
    }
}
