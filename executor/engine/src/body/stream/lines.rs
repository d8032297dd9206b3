//! Parses JSON lines: one value per line. Empty lines are skipped, and the last line needs no line
//! break.

use serde::de::IgnoredAny;

use crate::body::error::DecodeError;
use crate::body::json_text::is_space;

/// A parser of JSON lines.
pub(in crate::body) struct LinesParser {
    /// The part of the current line from earlier pieces, without leading white space.
    partial: Vec<u8>,
    /// Number of complete lines.
    lines: u64,
    rows: u64,
    max_row_bytes: usize,
}

impl LinesParser {
    pub(in crate::body) fn new(max_row_bytes: usize) -> Self {
        Self { partial: Vec::new(), lines: 0, rows: 0, max_row_bytes }
    }

    pub(super) fn next(
        &mut self,
        text: &[u8],
        offset: &mut usize,
        last: bool,
        row: &mut Vec<u8>,
    ) -> Result<bool, DecodeError> {
        loop {
            let rest = &text[*offset..];
            let end = rest.iter().position(|byte| *byte == b'\n');
            if end.is_none() && !last {
                *offset = text.len();
                self.keep(rest)?;
                return Ok(false);
            }
            // A final line break does not start another, empty line.
            if rest.is_empty() && self.partial.is_empty() {
                return Ok(false);
            }
            let length = end.unwrap_or(rest.len());
            *offset += length + usize::from(end.is_some());
            self.lines += 1;
            if self.finish_line(&rest[..length], row)? {
                return Ok(true);
            }
        }
    }

    /// Appends a complete line to `row`. Returns false if the line is empty.
    fn finish_line(&mut self, rest: &[u8], row: &mut Vec<u8>) -> Result<bool, DecodeError> {
        let mut partial = std::mem::take(&mut self.partial);
        // Lines within one piece, the usual case, are not copied.
        let line = if partial.is_empty() {
            rest
        } else {
            partial.extend_from_slice(rest);
            &partial
        };
        let line = trimmed_start(line);
        if line.is_empty() {
            return Ok(false);
        }
        self.check_size(line.len())?;
        let line = trimmed_end(line);
        serde_json::from_slice::<IgnoredAny>(line)
            .map_err(|error| DecodeError::Line { line: self.lines, what: reason(&error) })?;
        row.extend_from_slice(line);
        self.rows += 1;
        Ok(true)
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), DecodeError> {
        // Leading white space is dropped early, so that it does not count towards the row's size.
        let rest = if self.partial.is_empty() { trimmed_start(rest) } else { rest };
        self.check_size(self.partial.len() + rest.len())?;
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.partial.capacity()
    }

    // White space behind a row counts towards its size: otherwise the result would depend on where
    // the body was cut.
    fn check_size(&self, bytes: usize) -> Result<(), DecodeError> {
        if bytes > self.max_row_bytes {
            return Err(DecodeError::RowTooLarge { row: self.rows, max: self.max_row_bytes });
        }
        Ok(())
    }
}

fn trimmed_start(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|byte| !is_space(*byte)).unwrap_or(line.len());
    &line[start..]
}

fn trimmed_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1);
    &line[..end]
}

/// Returns serde_json's reason without its position, which counts from the start of this line.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
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
    fn invalid_line_is_an_error_with_its_number() {
        check("1\n\n{\"a\":}\n2", 99, Err("line 3 of the body is no JSON: expected value"));
        check("1\n2 3\n", 99, Err("line 2 of the body is no JSON: trailing characters"));
        check("{\"a\":\n1}", 99, Err("line 1 of the body is no JSON: EOF while parsing a value"));
        check("1\n[", 99, Err("line 2 of the body is no JSON: EOF while parsing a list"));
    }

    #[test]
    fn row_size_is_limited() {
        check("1\n[1,2,3]\n2", 6, Err("row 1 of the body is larger than 6 bytes"));
        check("1\n       [1,2]\r\n2", 7, Ok(&["1", "[1,2]", "2"]));
    }

    #[test]
    fn each_line_is_a_row_with_its_bytes() {
        check(
            "{\"n\": 1.10}\r\n  \n\t\"ü\\u00e9\" \n\nnull",
            99,
            Ok(&["{\"n\": 1.10}", "\"ü\\u00e9\"", "null"]),
        );
        check("1\n", 99, Ok(&["1"]));
        check("\n\r\n", 99, Ok(&[]));
    }
}
