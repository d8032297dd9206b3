//! Parses a sequence of JSON values: JSON lines, concatenated values, and JSON text sequences
//! (RFC 7464), in which a record separator begins each value.
//!
//! White space and separators between values are skipped, so that a value may also span lines.

use orchid_plan::{JsonScanner, NESTING_MAX};

use super::lexer::{JsonEvent, JsonLexer, LexerError};
use crate::body::error::DecodeError;
use crate::body::json_text::is_space;

/// Begins each value of a JSON text sequence.
const RECORD_SEPARATOR: u8 = 0x1E;

/// A parser of a sequence of values.
pub(in crate::body) struct LinesParser {
    /// The value that began in an earlier piece, and its lexer.
    open: Option<(Vec<u8>, JsonLexer)>,
    /// Number of line breaks so far.
    lines: u64,
    rows: u64,
    max_row_bytes: usize,
}

impl LinesParser {
    pub(in crate::body) fn new(max_row_bytes: usize) -> Self {
        Self { open: None, lines: 0, rows: 0, max_row_bytes }
    }

    pub(super) fn next(
        &mut self,
        text: &[u8],
        offset: &mut usize,
        last: bool,
        row: &mut Vec<u8>,
    ) -> Result<bool, DecodeError> {
        if self.open.is_none() {
            self.skip_separators(text, offset);
            let rest = &text[*offset..];
            if rest.is_empty() {
                return Ok(false);
            }
            if let Some(value) = whole_value(rest, last) {
                *offset += value.len();
                self.add(value, row)?;
                return Ok(true);
            }
        }
        self.continue_value(text, offset, last, row)
    }

    /// Reads on in a value that is not whole in this piece, or is invalid.
    fn continue_value(
        &mut self,
        text: &[u8],
        offset: &mut usize,
        last: bool,
        row: &mut Vec<u8>,
    ) -> Result<bool, DecodeError> {
        let (mut value, mut lexer) =
            self.open.take().unwrap_or_else(|| (Vec::new(), JsonLexer::of_element()));
        let start = *offset;
        let mut ended = false;
        while !ended {
            match lexer.next(text, offset).map_err(|error| self.error(error))? {
                Some(event) => ended = event == JsonEvent::ValueEnd,
                None => break,
            }
        }
        value.extend_from_slice(&text[start..*offset]);
        if !ended && last {
            ended = lexer.finish().map_err(|error| self.error(error))?.is_some();
        }
        if ended {
            self.add(&value, row)?;
            return Ok(true);
        }
        self.check_size(value.len())?;
        self.open = Some((value, lexer));
        Ok(false)
    }

    fn skip_separators(&mut self, text: &[u8], offset: &mut usize) {
        while let Some(byte) = text.get(*offset).filter(|byte| is_space(**byte) || **byte == RECORD_SEPARATOR)
        {
            self.lines += u64::from(*byte == b'\n');
            *offset += 1;
        }
    }

    fn add(&mut self, value: &[u8], row: &mut Vec<u8>) -> Result<(), DecodeError> {
        self.check_size(value.len())?;
        self.lines += line_breaks(value);
        self.rows += 1;
        row.extend_from_slice(value);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.open.as_ref().map_or(0, |(value, _)| value.capacity())
    }

    fn check_size(&self, bytes: usize) -> Result<(), DecodeError> {
        if bytes > self.max_row_bytes {
            return Err(DecodeError::RowTooLarge { row: self.rows, max: self.max_row_bytes });
        }
        Ok(())
    }

    /// Describes what is wrong with a value. The line at which it begins is named: a line that was
    /// cut off shows only in the next one.
    fn error(&self, error: LexerError) -> DecodeError {
        match error {
            LexerError::Unexpected(what) => DecodeError::Line { line: self.lines + 1, what: what.to_owned() },
            LexerError::TooDeep => DecodeError::TooDeep(NESTING_MAX),
        }
    }
}

/// Returns the value at the start of a piece if it ends within the piece. The usual case: nothing
/// of it is copied twice.
fn whole_value(rest: &[u8], last: bool) -> Option<&[u8]> {
    let value = JsonScanner::of_element(rest).skip_value().ok()?;
    // A number at the end of a piece may go on in the next one.
    let open_end = value.len() == rest.len() && !last && matches!(value[0], b'-' | b'0'..=b'9');
    (!open_end).then_some(value)
}

fn line_breaks(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(text: &str, size: usize, max: usize) -> Result<Vec<String>, DecodeError> {
        let mut lines = LinesParser::new(max);
        let mut rows = Vec::new();
        let pieces = text.as_bytes().chunks(size).chain([&b""[..]]).collect::<Vec<_>>();
        for (index, piece) in pieces.iter().enumerate() {
            let mut at = 0;
            let mut row = Vec::new();
            while lines.next(piece, &mut at, index + 1 == pieces.len(), &mut row)? {
                rows.push(String::from_utf8(std::mem::take(&mut row)).unwrap());
            }
        }
        Ok(rows)
    }

    #[track_caller]
    fn check(text: &str, max: usize, expected: Result<&[&str], &str>) {
        for size in 1..=text.len() {
            let rows = rows_of(text, size, max).map_err(|error| error.to_string());
            let expected = expected.map(|rows| rows.iter().map(|row| (*row).to_owned()).collect());
            assert_eq!(rows, expected.map_err(str::to_owned), "{text:?} {size}");
        }
    }

    #[test]
    fn invalid_value_is_an_error_with_its_line() {
        check("1\n\n{\"a\":}\n2", 99, Err("line 3 of the body is no JSON: expected a value"));
        check("1\n2,3\n", 99, Err("line 2 of the body is no JSON: expected a value"));
        check("{\"a\":\n1,}", 99, Err("line 1 of the body is no JSON: expected a quoted name"));
        check("{\"a\":1\n{\"a\":2}", 99, Err("line 1 of the body is no JSON: expected a comma or the end"));
        check("1\n[", 99, Err("line 2 of the body is no JSON: unexpected end"));
        check("1\n\"a\nb\"", 99, Err("line 2 of the body is no JSON: control character in a string"));
    }

    #[test]
    fn nesting_is_that_of_the_whole_list() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(rows_of(&deep(NESTING_MAX - 1), 7, 9999).is_ok());
        assert_eq!(rows_of(&deep(NESTING_MAX), 7, 9999), Err(DecodeError::TooDeep(NESTING_MAX)));
        assert_eq!(rows_of(&deep(NESTING_MAX), 9999, 9999), Err(DecodeError::TooDeep(NESTING_MAX)));
    }

    #[test]
    fn row_size_is_limited() {
        check("1\n[1,2,3]\n2", 6, Err("row 1 of the body is larger than 6 bytes"));
        check("1\n       [1,2]       \r\n2", 7, Ok(&["1", "[1,2]", "2"]));
    }

    #[test]
    fn each_line_is_a_row_with_its_bytes() {
        check(
            "{\"n\": 1.10}\r\n  \n\t\"ü\\u00e9\\ud83d\" \n\nnull",
            99,
            Ok(&["{\"n\": 1.10}", "\"ü\\u00e9\\ud83d\"", "null"]),
        );
        check("1\n", 99, Ok(&["1"]));
        check("\n\r\n", 99, Ok(&[]));
    }

    #[test]
    fn values_may_be_concatenated_or_separated_by_records() {
        check(
            "{\"a\":1}{\"a\":2}[3] 4 5\"x\"true",
            99,
            Ok(&["{\"a\":1}", "{\"a\":2}", "[3]", "4", "5", "\"x\"", "true"]),
        );
        check("{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}", 99, Ok(&["{\n  \"a\": 1\n}", "{\n  \"a\": 2\n}"]));
        check("\u{1e}{\"a\":1}\n\u{1e}12\n\u{1e}\n", 99, Ok(&["{\"a\":1}", "12"]));
    }
}
