//! Parses CSV: one row per record, as an object of strings named by the header, or as a list of
//! strings without one. Empty lines are skipped.

mod lines;
mod names;
mod records;

use std::collections::VecDeque;

use orchid_plan::{CsvRules, RaggedRows};

use self::lines::{Footer, Preamble, PreambleStep};
use self::names::{FieldNames, RowError};
use self::records::{RecordError, RecordReader};
use crate::body::error::DecodeError;

/// Most rows at the beginning of a body that are held back until the rows behind them were read: if
/// one of those is longer, the header was another line, and the rows before it are wrong.
const HELD_ROWS: usize = 32;
/// Size from which on no more rows are held back, in bytes.
const HELD_BYTES: usize = 64 * 1024;

/// A parser of CSV records.
pub(in crate::body) struct CsvParser {
    preamble: Option<Preamble>,
    records: RecordReader,
    footer: Option<Footer>,
    /// Text that the footer has released.
    released: Vec<u8>,
    /// Number of bytes of `released` that were parsed.
    parsed: usize,
    names: FieldNames,
    first_rows: FirstRows,
    has_wrong_header: bool,
    rows: u64,
    ended: bool,
    max_row_bytes: usize,
}

/// The rows at the beginning of a body.
enum FirstRows {
    /// More are read before the first one is returned.
    Collecting(VecDeque<Vec<u8>>),
    /// They are returned, and then the error that followed them, or the rows behind them.
    Returning(VecDeque<Vec<u8>>, Option<DecodeError>),
}

impl CsvParser {
    /// Creates a parser.
    ///
    /// # Errors
    /// If the plan's header has a name twice.
    pub(in crate::body) fn new(rules: &CsvRules, max_row_bytes: usize) -> Result<Self, DecodeError> {
        let names = FieldNames::new(rules).map_err(|what| DecodeError::Csv { line: 1, what })?;
        let footer = usize::try_from(rules.skip_footer).ok().filter(|lines| *lines > 0).map(Footer::new);
        let first_rows = match rules.ragged {
            RaggedRows::Error => FirstRows::Collecting(VecDeque::new()),
            // Every record fits.
            RaggedRows::Fill => FirstRows::Returning(VecDeque::new(), None),
        };
        Ok(Self {
            preamble: Some(Preamble::new(rules.skip_rows)),
            records: RecordReader::new(rules, max_row_bytes),
            footer,
            released: Vec::new(),
            parsed: 0,
            names,
            first_rows,
            has_wrong_header: false,
            rows: 0,
            ended: false,
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
        while matches!(self.first_rows, FirstRows::Collecting(_)) {
            let mut first = Vec::new();
            let found = self.next_row(text, offset, last, &mut first);
            let FirstRows::Collecting(rows) = &mut self.first_rows else { break };
            match found {
                Ok(true) => {
                    rows.push_back(first);
                    let bytes: usize = rows.iter().map(Vec::len).sum();
                    if rows.len() >= HELD_ROWS || bytes >= HELD_BYTES {
                        self.release_first_rows();
                    }
                }
                Ok(false) if !last => return Ok(false),
                Ok(false) => self.release_first_rows(),
                Err(error) if self.has_wrong_header => return Err(error),
                Err(error) => self.first_rows = FirstRows::Returning(std::mem::take(rows), Some(error)),
            }
        }
        if let FirstRows::Returning(rows, error) = &mut self.first_rows {
            if let Some(first) = rows.pop_front() {
                row.extend_from_slice(&first);
                return Ok(true);
            }
            if let Some(error) = error.take() {
                return Err(error);
            }
        }
        self.next_row(text, offset, last, row)
    }

    /// Returns the first rows from now on, because no text follows that could prove them wrong.
    pub(super) fn release_first_rows(&mut self) {
        if let FirstRows::Collecting(rows) = &mut self.first_rows {
            self.first_rows = FirstRows::Returning(std::mem::take(rows), None);
        }
    }

    fn next_row(
        &mut self,
        text: &[u8],
        offset: &mut usize,
        last: bool,
        row: &mut Vec<u8>,
    ) -> Result<bool, DecodeError> {
        let Some(footer) = &mut self.footer else { return self.parse(text, offset, last, row) };
        footer.push(&text[*offset..], &mut self.released);
        *offset = text.len();
        if footer.held() > self.max_row_bytes {
            return Err(DecodeError::RowTooLarge { row: self.rows, max: self.max_row_bytes });
        }
        let (mut released, mut parsed) = (std::mem::take(&mut self.released), self.parsed);
        let found = self.parse(&released, &mut parsed, last, row);
        if parsed >= released.len() {
            released.clear();
            parsed = 0;
        }
        (self.released, self.parsed) = (released, parsed);
        found
    }

    /// Appends the next row of this text to `row`. Returns false if the text ends before it.
    fn parse(
        &mut self,
        text: &[u8],
        offset: &mut usize,
        last: bool,
        row: &mut Vec<u8>,
    ) -> Result<bool, DecodeError> {
        if !self.skip_preamble(text, offset, last)? {
            return Ok(false);
        }
        loop {
            let complete = self.records.read(text, offset).and_then(|complete| {
                if complete || !last || self.ended {
                    return Ok(complete);
                }
                self.ended = true;
                self.records.finish()
            });
            if !complete.map_err(|error| self.error(error))? {
                return Ok(false);
            }
            let (start, line) = (row.len(), self.records.line());
            // The record is consumed even if it turns out to be invalid.
            let is_row = self.names.write(&self.records.record(), row);
            self.records.clear();
            let is_row = is_row.map_err(|RowError { what, is_longer }| {
                self.has_wrong_header = is_longer;
                DecodeError::Csv { line, what }
            });
            if !is_row? {
                continue;
            }
            if row.len() - start > self.max_row_bytes {
                return Err(self.error(RecordError::TooLarge));
            }
            self.rows += 1;
            return Ok(true);
        }
    }

    /// Reads the lines before the first record. Returns false if the text ends within them.
    fn skip_preamble(&mut self, text: &[u8], offset: &mut usize, last: bool) -> Result<bool, DecodeError> {
        while let Some(preamble) = &mut self.preamble {
            match preamble.read(text, offset, last) {
                PreambleStep::NeedMore => return Ok(false),
                PreambleStep::Line { delimiter, line_break } => {
                    self.records.count_line(line_break);
                    if let Some(delimiter) = delimiter {
                        self.records.set_delimiter(delimiter);
                    }
                }
                PreambleStep::End(begun) => {
                    self.preamble = None;
                    // The beginning of a line, which cannot complete a record.
                    self.records.read(&begun, &mut 0).map_err(|error| self.error(error))?;
                }
            }
        }
        Ok(true)
    }

    fn error(&self, error: RecordError) -> DecodeError {
        match error {
            RecordError::Invalid(what) => DecodeError::Csv { line: self.records.line(), what },
            RecordError::TooLarge => DecodeError::RowTooLarge { row: self.rows, max: self.max_row_bytes },
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let (FirstRows::Collecting(rows) | FirstRows::Returning(rows, _)) = &self.first_rows;
        let first_rows: usize = rows.iter().map(Vec::capacity).sum();
        let footer = self.footer.as_ref().map_or(0, Footer::held);
        self.records.held() + self.released.capacity() + footer + first_rows
    }
}

#[cfg(test)]
mod tests {
    use orchid_plan::CsvHeader;

    use super::records::FIELDS_MAX;
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

    /// Adds the correction to the description of a record of another length.
    fn wrong(what: &str) -> String {
        format!(
            "{what}; response.csv.skip_rows leaves out lines above the header, skip_footer lines below the rows, \
             and ragged: fill allows rows of any length"
        )
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
            Err(&wrong("line 4 of the CSV has another number of fields (1) than the header (2)")),
        );
        check(
            &first,
            "a\n\"x\ny\",2",
            Err(&wrong("line 3 of the CSV has another number of fields (2) than the header (1)")),
        );
        let none = rules(CsvHeader::None);
        check(
            &none,
            "1,2\r\n1,2,3\r\n",
            Err(&wrong("line 2 of the CSV has another number of fields (3) than the first one (2)")),
        );
        let names = rules(CsvHeader::Names(vec!["a".to_owned()]));
        check(
            &names,
            "1,2\n",
            Err(&wrong("line 1 of the CSV has another number of fields (2) than the header (1)")),
        );
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

    fn list() -> CsvRules {
        rules(CsvHeader::None)
    }

    #[test]
    fn plan_sets_delimiter_and_quote() {
        let rules = CsvRules { delimiter: b';', quote: Some(b'\''), ..list() };
        check(&rules, "'a;''b';\"c\n", Ok(&[r#"["a;'b","\"c"]"#]));
        let rules = CsvRules { delimiter: b'\t', quote: None, ..list() };
        check(&rules, "\"a\tb\"\n", Ok(&[r#"["\"a","b\""]"#]));
        let rules = CsvRules { delimiter: 0xC3, quote: None, ..list() };
        let refused = rows_of(&rules, "ü", 9, 99).unwrap_err();
        assert_eq!(refused.code(), "DECODE");
    }

    #[test]
    fn text_behind_a_closing_quote_is_refused() {
        for (text, line) in [("id,n\n1,\"a \\\"q\\\" b\",5\n", 2), ("\"a\" ,b\n", 1), ("a\n\"x\ny\"z\n", 3)] {
            let refused = rows_of(&rules(CsvHeader::First), text, 3, 3000).unwrap_err().to_string();
            let expected = format!("line {line} of the CSV has text behind a closing quote");
            assert!(refused.starts_with(&expected), "{refused}");
        }
    }

    #[test]
    fn escape_takes_the_meaning_of_the_next_character() {
        let rules = CsvRules { escape: Some(b'\\'), ..rules(CsvHeader::First) };
        check(
            &rules,
            "id,name,n\n1,\"a \\\"q\\\" b\",5\n",
            Ok(&[r#"{"id":"1","name":"a \"q\" b","n":"5"}"#]),
        );
        check(&rules, "a\n\"x\\\\\"\n", Ok(&[r#"{"a":"x\\"}"#]));
        check(
            &rules,
            "a,b\nx\\,y,\\N\nC:\\d,\"\"\"\"\n",
            Ok(&[r#"{"a":"x,y","b":"\\N"}"#, r#"{"a":"C:\\d","b":"\""}"#]),
        );
        check(&rules, "a\nx\\\ny\nz\\", Ok(&[r#"{"a":"x\ny"}"#, r#"{"a":"z\\"}"#]));
        check(&rules, "a\n\"1\\\"", Err("line 2 of the CSV has an unclosed quote"));
    }

    #[test]
    fn lines_around_the_rows_are_left_out() {
        let report = "Campaign report\nJan 1 - Jan 31\nid,clicks\n1,10\n2,20\nTotal: --,30\n";
        let two = [r#"{"id":"1","clicks":"10"}"#, r#"{"id":"2","clicks":"20"}"#];
        let first = rules(CsvHeader::First);
        check(&CsvRules { skip_rows: 2, skip_footer: 1, ..first.clone() }, report, Ok(&two));
        let with_breaks = report.replace('\n', "\r\n");
        check(&CsvRules { skip_rows: 2, skip_footer: 1, ..first.clone() }, &with_breaks, Ok(&two));
        check(&CsvRules { skip_rows: 2, skip_footer: 2, ..first.clone() }, report, Ok(&two[..1]));
        check(&CsvRules { skip_rows: 9, ..first.clone() }, report, Ok(&[]));
        check(&CsvRules { skip_footer: 9, ..first.clone() }, report, Ok(&[]));
        // Quotes above the header and below the rows need not be closed.
        let quotes = "a \"report\nid\n1\nthe \"end\"s";
        check(&CsvRules { skip_rows: 1, skip_footer: 1, ..first }, quotes, Ok(&[r#"{"id":"1"}"#]));
        let names = rules(CsvHeader::Names(vec!["a".to_owned()]));
        check(&CsvRules { skip_rows: 1, ..names }, "x\n1\n", Ok(&[r#"{"a":"1"}"#]));
    }

    #[test]
    fn lines_that_were_skipped_are_counted() {
        let skipping = CsvRules { skip_rows: 2, ..rules(CsvHeader::First) };
        for text in ["x\ny\na\n1,2\n", "x\r\ny\r\na\r\n1,2\r\n", "sep=,\ny\na\n1,2\n"] {
            check(
                &skipping,
                text,
                Err(&wrong("line 4 of the CSV has another number of fields (2) than the header (1)")),
            );
        }
    }

    #[test]
    fn wrong_header_is_an_error_before_any_row() {
        let report = "Campaign report\nJan 1 - Jan 31\nid,clicks\n1,10\n";
        check(
            &rules(CsvHeader::First),
            report,
            Err(&wrong("line 3 of the CSV has another number of fields (2) than the header (1)")),
        );
        // Far below the header, the rows before are returned first.
        let mut csv = CsvParser::new(&rules(CsvHeader::First), 3000).unwrap();
        let text = format!("a\n{}1,2\n", "1\n".repeat(HELD_ROWS));
        let mut offset = 0;
        for _ in 0..HELD_ROWS {
            assert!(csv.next(text.as_bytes(), &mut offset, true, &mut Vec::new()).unwrap());
        }
        assert!(csv.next(text.as_bytes(), &mut offset, true, &mut Vec::new()).is_err());
    }

    #[test]
    fn first_line_may_name_the_delimiter() {
        let row = [r#"{"id":"1","name":"a"}"#];
        for text in ["sep=;\nid;name\n1;a\n", "\"sep=;\"\r\nid;name\r\n1;a\r\n", "SEP=;\rid;name\r1;a"] {
            check(&rules(CsvHeader::First), text, Ok(&row));
        }
        check(&CsvRules { skip_rows: 2, ..rules(CsvHeader::First) }, "sep=;\nx\nid;name\n1;a\n", Ok(&row));
        check(&rules(CsvHeader::First), "sep=;", Ok(&[]));
        check(&rules(CsvHeader::First), "sep\n1\n", Ok(&[r#"{"sep":"1"}"#]));
        check(&rules(CsvHeader::First), "\"sep\"\n1\n", Ok(&[r#"{"sep":"1"}"#]));
        check(&rules(CsvHeader::First), "se", Ok(&[]));
    }

    #[test]
    fn comments_are_skipped_where_a_line_begins() {
        let rules = CsvRules { comment: Some(b'#'), ..rules(CsvHeader::First) };
        check(
            &rules,
            "# made, today\nid,n\n#\"x\n1,#2\n\"#3\",\"a\n#b\"\n#end",
            Ok(&[r##"{"id":"1","n":"#2"}"##, r##"{"id":"#3","n":"a\n#b"}"##]),
        );
    }

    #[test]
    fn rows_of_any_length_can_be_filled() {
        let fill = |header| CsvRules { ragged: RaggedRows::Fill, ..rules(header) };
        check(
            &fill(CsvHeader::First),
            "id,name,note\n1,a\n2,b,c,\n3,d,e\n4\n",
            Ok(&[
                r#"{"id":"1","name":"a","note":""}"#,
                r#"{"id":"2","name":"b","note":"c","_extra":[""]}"#,
                r#"{"id":"3","name":"d","note":"e"}"#,
                r#"{"id":"4","name":"","note":""}"#,
            ]),
        );
        check(
            &fill(CsvHeader::None),
            "1,2\n3\n4,5,6\n",
            Ok(&[r#"["1","2"]"#, r#"["3",""]"#, r#"["4","5","6"]"#]),
        );
        check(
            &fill(CsvHeader::First),
            "a,_extra\n1,2\n",
            Err("line 1 of the CSV names a field _extra, which response.csv.ragged: fill adds itself"),
        );
    }
}
