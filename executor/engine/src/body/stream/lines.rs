//! JSON lines: a value a line. Empty lines are passed over; the last line needs no end.

use serde::de::IgnoredAny;

use super::is_space;
use crate::body::DecodeError;

pub(in crate::body) struct JsonLines {
    /// What earlier pieces had of this line, without the white space before it.
    held: Vec<u8>,
    /// Lines that have ended.
    lines: u64,
    rows: u64,
    max_row_bytes: usize,
}

impl JsonLines {
    pub(in crate::body) fn new(max_row_bytes: usize) -> JsonLines {
        JsonLines { held: Vec::new(), lines: 0, rows: 0, max_row_bytes }
    }

    pub(super) fn next(
        &mut self,
        text: &[u8],
        at: &mut usize,
        last: bool,
        row: &mut Vec<u8>,
    ) -> Result<bool, DecodeError> {
        loop {
            let rest = &text[*at..];
            let end = rest.iter().position(|byte| *byte == b'\n');
            if end.is_none() && !last {
                *at = text.len();
                self.hold(rest)?;
                return Ok(false);
            }
            if rest.is_empty() && self.held.is_empty() {
                return Ok(false);
            }
            let length = end.unwrap_or(rest.len());
            *at += length + usize::from(end.is_some());
            self.lines += 1;
            if self.line(&rest[..length], row)? {
                return Ok(true);
            }
        }
    }

    /// A line has ended; true where it was a row.
    fn line(&mut self, rest: &[u8], row: &mut Vec<u8>) -> Result<bool, DecodeError> {
        let mut held = std::mem::take(&mut self.held);
        let line = if held.is_empty() {
            rest
        } else {
            held.extend_from_slice(rest);
            &held
        };
        let line = trimmed_start(line);
        if line.is_empty() {
            return Ok(false);
        }
        self.check_size(line.len())?;
        let line = trimmed_end(line);
        serde_json::from_slice::<IgnoredAny>(line)
            .map_err(|error| DecodeError::Line { line: self.lines, what: words(&error) })?;
        row.extend_from_slice(line);
        self.rows += 1;
        Ok(true)
    }

    fn hold(&mut self, rest: &[u8]) -> Result<(), DecodeError> {
        let rest = if self.held.is_empty() { trimmed_start(rest) } else { rest };
        self.check_size(self.held.len() + rest.len())?;
        self.held.extend_from_slice(rest);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.capacity()
    }

    /// White space behind a row counts, so that it is the same whether it came with the row or after it.
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

/// What is wrong, without the place, which counts from this line alone.
fn words(error: &serde_json::Error) -> String {
    let words = error.to_string();
    words.split(" at line ").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(text: &str, size: usize, max: usize) -> Result<Vec<String>, DecodeError> {
        let mut lines = JsonLines::new(max);
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
    fn a_line_that_is_no_json_is_named() {
        check("1\n\n{\"a\":}\n2", 99, Err("line 3 of the body is no JSON: expected value"));
        check("1\n2 3\n", 99, Err("line 2 of the body is no JSON: trailing characters"));
        check("{\"a\":\n1}", 99, Err("line 1 of the body is no JSON: EOF while parsing a value"));
        check("1\n[", 99, Err("line 2 of the body is no JSON: EOF while parsing a list"));
    }

    #[test]
    fn a_row_is_bounded() {
        check("1\n[1,2,3]\n2", 6, Err("row 1 of the body has more than 6 bytes"));
        check("1\n       [1,2]\r\n2", 7, Ok(&["1", "[1,2]", "2"]));
    }

    #[test]
    fn each_line_is_a_row_as_it_came() {
        check(
            "{\"n\": 1.10}\r\n  \n\t\"ü\\u00e9\" \n\nnull",
            99,
            Ok(&["{\"n\": 1.10}", "\"ü\\u00e9\"", "null"]),
        );
        check("1\n", 99, Ok(&["1"]));
        check("\n\r\n", 99, Ok(&[]));
    }
}
