//! Parses CSV (RFC 4180, with the plan's delimiter and quote): one row per record, as an object of
//! strings named by the header, or as a list of strings without one. Empty lines are skipped.

use std::collections::HashMap;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use orchid_plan::{CsvHeader, CsvRules};

use crate::body::error::DecodeError;

/// Largest number of fields in a record.
const FIELDS_MAX: usize = 65_536;

/// A parser of CSV records.
pub(in crate::body) struct CsvParser {
    reader: Reader,
    /// The concatenated fields of the current record; the first `written` bytes are valid.
    record: Vec<u8>,
    written: usize,
    /// The end of each field in `record`; the first `fields` entries are valid.
    ends: Vec<usize>,
    fields: usize,
    header: FieldNames,
    /// True once a byte was read.
    begun: bool,
    ending: InputEnd,
    /// True if the last byte read was a line break.
    at_line_end: bool,
    rows: u64,
    max_row_bytes: usize,
}

/// The names of the fields.
enum FieldNames {
    /// The first record, not read yet, has the names.
    Pending,
    /// Names as JSON members, `"name":`.
    Known(Vec<Vec<u8>>),
    /// No names: a row is a list with as many fields as the first one.
    None { fields: Option<usize> },
}

/// The part of the end of the text that the CSV reader has been given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InputEnd {
    /// More text may follow.
    Open,
    /// The reader got a final line break. A record that is still open after it has an unclosed
    /// quote.
    Closing,
    /// The reader has finished.
    Closed,
}

impl CsvParser {
    /// Creates a parser.
    ///
    /// # Errors
    /// If the plan's header has a name twice.
    pub(in crate::body) fn new(rules: &CsvRules, max_row_bytes: usize) -> Result<Self, DecodeError> {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(rules.delimiter);
        match rules.quote {
            Some(quote) => builder.quote(quote),
            None => builder.quoting(false),
        };
        let header = match &rules.header {
            CsvHeader::First => FieldNames::Pending,
            CsvHeader::None => FieldNames::None { fields: None },
            CsvHeader::Names(names) => FieldNames::Known(json_names(names.iter().map(String::as_str), 1)?),
        };
        Ok(Self {
            reader: builder.build(),
            record: vec![0; 1024],
            written: 0,
            ends: vec![0; 64],
            fields: 0,
            header,
            begun: false,
            ending: InputEnd::Open,
            at_line_end: false,
            rows: 0,
            max_row_bytes,
        })
    }

    pub(super) fn next(
        &mut self,
        text: &[u8],
        offset: &mut usize,
        last: bool,
        row: &mut Vec<u8>,
    ) -> Result<bool, DecodeError> {
        while self.read_record(text, offset, last)? {
            let start = row.len();
            // The record is consumed even if it turns out to be invalid.
            let is_row = self.write_row(row);
            (self.written, self.fields) = (0, 0);
            if !is_row? {
                continue;
            }
            if row.len() - start > self.max_row_bytes {
                return Err(self.too_large());
            }
            self.rows += 1;
            return Ok(true);
        }
        Ok(false)
    }

    /// Reads up to the end of a record. Returns false if the text ends before it.
    fn read_record(&mut self, text: &[u8], offset: &mut usize, last: bool) -> Result<bool, DecodeError> {
        loop {
            let left = &text[*offset..];
            let input = match self.ending {
                // The reader skips a byte order mark in its first input, but the decoder already
                // removed it: a second mark is content, and a first input of one byte cannot look
                // like a mark.
                InputEnd::Open if !left.is_empty() && !self.begun => &left[..1],
                InputEnd::Open if !left.is_empty() => left,
                InputEnd::Open if !last => return Ok(false),
                // A last record without a line break would otherwise stay open.
                InputEnd::Open => b"\n",
                InputEnd::Closing => b"",
                InputEnd::Closed => return Ok(false),
            };
            let (result, read, written, fields) = self.reader.read_record(
                input,
                &mut self.record[self.written..],
                &mut self.ends[self.fields..],
            );
            self.begun = true;
            self.written += written;
            self.fields += fields;
            if let Some(byte) = input[..read].last() {
                self.at_line_end = *byte == b'\n';
                if left.is_empty() {
                    self.ending = InputEnd::Closing;
                }
            }
            *offset += read.min(left.len());
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.grow_record()?,
                ReadRecordResult::OutputEndsFull => self.grow_ends()?,
                ReadRecordResult::Record if self.ending == InputEnd::Closing && read == 0 => {
                    return Err(self.error("has an unclosed quote".to_owned()));
                }
                ReadRecordResult::Record => return Ok(true),
                ReadRecordResult::End => self.ending = InputEnd::Closed,
            }
        }
    }

    fn grow_record(&mut self) -> Result<(), DecodeError> {
        if self.record.len() > self.max_row_bytes {
            return Err(self.too_large());
        }
        // Growth doubles up to one byte over the limit, which is enough to detect an oversized row.
        let most = self.max_row_bytes.saturating_add(1);
        self.record.resize(self.record.len().saturating_mul(2).min(most), 0);
        Ok(())
    }

    fn grow_ends(&mut self) -> Result<(), DecodeError> {
        if self.ends.len() >= FIELDS_MAX {
            return Err(self.error(format!("has more than {FIELDS_MAX} fields")));
        }
        self.ends.resize(self.ends.len() * 2, 0);
        Ok(())
    }

    /// Appends the complete record to `row` as JSON. Returns false if it is the header.
    fn write_row(&mut self, row: &mut Vec<u8>) -> Result<bool, DecodeError> {
        let line = self.line();
        let ends = &self.ends[..self.fields];
        // The text is UTF-8; a delimiter that is not ASCII could still cut a character in half.
        let record = std::str::from_utf8(&self.record[..self.written]).map_err(|_| {
            error(line, "is split inside a character: delimiter and quote must be ASCII".to_owned())
        })?;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let fields = starts.zip(ends).map(|(start, end)| record.get(start..*end).unwrap_or_default());
        let wrong_count = |than: &str, expected: usize| {
            error(line, format!("has another number of fields ({}) than {than} ({expected})", ends.len()))
        };
        match &mut self.header {
            FieldNames::Pending => {
                self.header = FieldNames::Known(json_names(fields, line)?);
                return Ok(false);
            }
            FieldNames::Known(names) if names.len() != ends.len() => {
                return Err(wrong_count("the header", names.len()));
            }
            FieldNames::Known(names) => {
                row.push(b'{');
                for (index, (name, field)) in names.iter().zip(fields).enumerate() {
                    if index > 0 {
                        row.push(b',');
                    }
                    row.extend_from_slice(name);
                    write_text(row, field);
                }
                row.push(b'}');
            }
            FieldNames::None { fields: Some(expected) } if *expected != ends.len() => {
                return Err(wrong_count("the first one", *expected));
            }
            // The first record fixes the number of fields for all others.
            FieldNames::None { fields: expected } => {
                *expected = Some(ends.len());
                row.push(b'[');
                for (index, field) in fields.enumerate() {
                    if index > 0 {
                        row.push(b',');
                    }
                    write_text(row, field);
                }
                row.push(b']');
            }
        }
        Ok(true)
    }

    /// Returns the line in which the current record ends.
    fn line(&self) -> u64 {
        self.reader.line() - u64::from(self.at_line_end)
    }

    fn error(&self, what: String) -> DecodeError {
        error(self.line(), what)
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.record.capacity() + self.ends.capacity()
    }

    fn too_large(&self) -> DecodeError {
        DecodeError::RowTooLarge { row: self.rows, max: self.max_row_bytes }
    }
}

/// Prints field names as JSON members, `"name":`.
fn json_names<'n>(names: impl Iterator<Item = &'n str>, line: u64) -> Result<Vec<Vec<u8>>, DecodeError> {
    let mut seen = HashMap::new();
    let mut written = Vec::new();
    for (index, name) in names.enumerate() {
        if let Some(before) = seen.insert(name, index + 1) {
            let what = format!("names two fields {name:?}: numbers {before} and {}", index + 1);
            return Err(error(line, what));
        }
        let mut json = Vec::with_capacity(name.len() + 3);
        write_text(&mut json, name);
        json.push(b':');
        written.push(json);
    }
    Ok(written)
}

fn error(line: u64, what: String) -> DecodeError {
    DecodeError::Csv { line, what }
}

/// Appends a JSON string. Writing into memory cannot fail.
fn write_text(json: &mut Vec<u8>, text: &str) {
    let written = serde_json::to_writer(json, text);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(rules: &CsvRules, text: &str, size: usize, max: usize) -> Result<Vec<String>, DecodeError> {
        let mut csv = CsvParser::new(rules, max)?;
        let mut rows = Vec::new();
        let pieces = text.as_bytes().chunks(size).chain([&b""[..]]).collect::<Vec<_>>();
        for (index, piece) in pieces.iter().enumerate() {
            let mut at = 0;
            let mut row = Vec::new();
            while csv.next(piece, &mut at, index + 1 == pieces.len(), &mut row)? {
                rows.push(String::from_utf8(std::mem::take(&mut row)).unwrap());
            }
        }
        Ok(rows)
    }

    #[track_caller]
    fn check(rules: &CsvRules, text: &str, expected: Result<&[&str], &str>) {
        for size in 1..=text.len() {
            let rows = rows_of(rules, text, size, 3000).map_err(|error| error.to_string());
            let expected = expected.map(|rows| rows.iter().map(|row| (*row).to_owned()).collect());
            assert_eq!(rows, expected.map_err(str::to_owned), "{text:?} {size}");
        }
    }

    fn rules(header: CsvHeader) -> CsvRules {
        CsvRules { header, ..CsvRules::default() }
    }

    #[test]
    fn wrong_field_count_is_an_error_with_its_line() {
        let first = rules(CsvHeader::First);
        check(
            &first,
            "a,b\n1,2\n\n3\n",
            Err("line 4 of the CSV has another number of fields (1) than the header (2)"),
        );
        check(
            &first,
            "a\n\"x\ny\",2",
            Err("line 3 of the CSV has another number of fields (2) than the header (1)"),
        );
        let none = rules(CsvHeader::None);
        check(
            &none,
            "1,2\r\n1,2,3\r\n",
            Err("line 2 of the CSV has another number of fields (3) than the first one (2)"),
        );
        let names = rules(CsvHeader::Names(vec!["a".to_owned()]));
        check(&names, "1,2\n", Err("line 1 of the CSV has another number of fields (2) than the header (1)"));
    }

    #[test]
    fn duplicate_field_names_are_refused() {
        check(
            &rules(CsvHeader::First),
            "\nid,a,id\n1,2,3\n",
            Err("line 2 of the CSV names two fields \"id\": numbers 1 and 3"),
        );
        let names = rules(CsvHeader::Names(vec!["a".to_owned(), "a".to_owned()]));
        check(&names, "1,2", Err("line 1 of the CSV names two fields \"a\": numbers 1 and 2"));
    }

    #[test]
    fn unclosed_quote_is_an_error() {
        for text in ["a\n\"1", "a\n\"1\"\"", "a\n1\n\""] {
            let lines = text.lines().count();
            check(
                &rules(CsvHeader::First),
                text,
                Err(&format!("line {lines} of the CSV has an unclosed quote")),
            );
        }
    }

    #[test]
    fn row_size_is_limited() {
        let long = format!("a\n1\n{}\n", "x".repeat(3100));
        check(&rules(CsvHeader::First), &long, Err("row 1 of the body is larger than 3000 bytes"));
        let named = rules(CsvHeader::Names(vec!["n".repeat(3000)]));
        check(&named, "1\n", Err("row 0 of the body is larger than 3000 bytes"));
        let wide = ",".repeat(FIELDS_MAX);
        let refused = rows_of(&rules(CsvHeader::None), &wide, 10_000, usize::MAX).unwrap_err();
        assert_eq!(refused.to_string(), "line 1 of the CSV has more than 65536 fields");
    }

    #[test]
    fn record_is_an_object_named_by_the_header() {
        check(
            &rules(CsvHeader::First),
            "id,\"first \"\"name\"\"\"\r\n1,\"Ada, of \"\"L\"\"\r\nü\"\r\n\r\n007,",
            Ok(&[
                r#"{"id":"1","first \"name\"":"Ada, of \"L\"\r\nü"}"#,
                r#"{"id":"007","first \"name\"":""}"#,
            ]),
        );
        check(&rules(CsvHeader::First), "a,b\n", Ok(&[]));
        check(&rules(CsvHeader::First), "a\r1\r2\r", Ok(&[r#"{"a":"1"}"#, r#"{"a":"2"}"#]));
        let names = rules(CsvHeader::Names(vec!["a".to_owned(), String::new()]));
        check(&names, "x,y", Ok(&[r#"{"a":"x","":"y"}"#]));
    }

    #[test]
    fn record_is_a_list_without_a_header() {
        check(&rules(CsvHeader::None), "a,b\n1,\"\"\n", Ok(&[r#"["a","b"]"#, r#"["1",""]"#]));
        check(&rules(CsvHeader::None), "\n \n", Ok(&[r#"[" "]"#]));
    }

    #[test]
    fn plan_sets_delimiter_and_quote() {
        let rules = CsvRules { delimiter: b';', quote: Some(b'\''), header: CsvHeader::None };
        check(&rules, "'a;''b';\"c\n", Ok(&[r#"["a;'b","\"c"]"#]));
        let rules = CsvRules { delimiter: b'\t', quote: None, header: CsvHeader::None };
        check(&rules, "\"a\tb\"\n", Ok(&[r#"["\"a","b\""]"#]));
        let rules = CsvRules { delimiter: 0xC3, quote: None, header: CsvHeader::None };
        let refused = rows_of(&rules, "ü", 9, 99).unwrap_err();
        assert_eq!(refused.code(), "DECODE");
    }
}
