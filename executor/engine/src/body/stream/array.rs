//! Parses the elements of a JSON list at a plain path, from pieces.
//!
//! Everything before, beside and after the list is skipped but still validated, to the end of the
//! document. A missing member and null mean no rows. A member on the path that occurs twice is an
//! error: the rows of its first occurrence may be emitted already when the second one arrives.

use orchid_plan::{NESTING_MAX, PathSegment};

use super::lexer::{JsonEvent, JsonLexer, LexerError};
use crate::body::error::DecodeError;
use crate::body::json_text::{is_name, json_type_of};
use crate::body::row_path::{RowPath, means_none};

/// An open list or object on the path to the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathLevel {
    /// An object; `seen` records that its member on the path has occurred.
    Object { seen: bool },
    /// A list; `next` is the index of its next element.
    List { next: u64 },
    /// The list of rows.
    Rows,
}

/// A parser of the list at a path.
pub(in crate::body) struct ArrayParser {
    lexer: JsonLexer,
    path: Vec<PathSegment>,
    levels: Vec<PathLevel>,
    /// True if the last name read is the member on the path.
    name_matches: bool,
    /// True inside a row or a value beside the path.
    in_skipped_value: bool,
    found: bool,
    listed: bool,
    /// True if the plan says that an absent list means no rows.
    may_be_absent: bool,
    /// The first byte of a value in place of the list, while it is read as if it were a row.
    substitute: Option<u8>,
    /// The name being read.
    name: PartialText,
    /// The row being read.
    row: PartialText,
    rows: u64,
    max_row_bytes: usize,
    /// Bytes of all earlier pieces, for offsets in errors.
    bytes_before: u64,
}

/// A part of the text that may have begun in an earlier piece.
#[derive(Default)]
struct PartialText {
    /// Its bytes from earlier pieces.
    bytes: Vec<u8>,
    /// Its start in the current piece; `None` if it has not begun.
    start: Option<usize>,
}

impl ArrayParser {
    pub(super) fn new(rows: &RowPath<'_>, max_row_bytes: usize) -> Result<Self, DecodeError> {
        let path = rows.path;
        // Rows must be emitted before the list ends, so its length is unknown.
        if path.0.iter().any(|step| matches!(step, PathSegment::Index(index) if *index < 0)) {
            return Err(DecodeError::NotStreamable("a negative index is only known at the end of its list"));
        }
        Ok(Self {
            lexer: JsonLexer::new(),
            path: path.0.clone(),
            levels: Vec::new(),
            name_matches: false,
            in_skipped_value: false,
            found: false,
            listed: false,
            may_be_absent: rows.may_be_absent,
            substitute: None,
            name: PartialText::default(),
            row: PartialText::default(),
            rows: 0,
            max_row_bytes,
            bytes_before: 0,
        })
    }

    pub(super) fn found(&self) -> bool {
        self.found
    }

    pub(super) fn listed(&self) -> bool {
        self.listed
    }

    pub(super) fn next(
        &mut self,
        text: &[u8],
        offset: &mut usize,
        last: bool,
        row: &mut Vec<u8>,
    ) -> Result<bool, DecodeError> {
        loop {
            let event = self.lexer.next(text, offset).map_err(|error| self.decode_error(error, *offset))?;
            let Some(event) = event else { break };
            if self.handle(event, text, *offset, row)? {
                return Ok(true);
            }
        }
        self.keep_partial(text)?;
        self.bytes_before += text.len() as u64;
        if last {
            // The event is dropped: the end of the document can only end a top-level number, never
            // a row.
            self.lexer.finish().map_err(|error| self.decode_error(error, 0))?;
        }
        Ok(false)
    }

    /// Handles an event. Returns true if a row has ended, which is then appended to `row`.
    fn handle(
        &mut self,
        event: JsonEvent,
        text: &[u8],
        offset: usize,
        row: &mut Vec<u8>,
    ) -> Result<bool, DecodeError> {
        match event {
            JsonEvent::Name => self.name.start = Some(offset),
            JsonEvent::NameEnd => {
                let name = self.name.take(text, offset - 1);
                self.compare_name(&name)?;
            }
            JsonEvent::Value(first) => self.begin_value(first, offset)?,
            JsonEvent::ValueEnd if !self.in_skipped_value => {
                // This closes a level of the path, or the list of rows itself.
                self.levels.pop();
                self.lexer.watch_depth = self.levels.len();
            }
            JsonEvent::ValueEnd => {
                self.in_skipped_value = false;
                if let Some(first) = self.substitute.take() {
                    let value = self.row.take(text, offset);
                    if !means_none(self.may_be_absent, &value) {
                        return Err(DecodeError::NotAList(json_type_of(first)));
                    }
                } else if self.row.start.is_some() {
                    let length = self.row.length(offset);
                    self.check_size(length)?;
                    self.row.append_to(row, text, offset);
                    self.rows += 1;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Records whether a name is the member on the path.
    fn compare_name(&mut self, raw: &[u8]) -> Result<(), DecodeError> {
        let step = self.levels.len().checked_sub(1).and_then(|level| self.path.get(level));
        self.name_matches = match (self.levels.last_mut(), step) {
            (Some(PathLevel::Object { seen }), Some(PathSegment::Member(wanted))) if is_name(raw, wanted) => {
                // Rows under the first occurrence may already be in Kafka: choosing one silently
                // would lose rows.
                if std::mem::replace(seen, true) {
                    return Err(DecodeError::DuplicateMember(wanted.clone()));
                }
                true
            }
            _ => false,
        };
        Ok(())
    }

    /// Handles the start of a value, whose first byte is right before `offset`.
    fn begin_value(&mut self, first: u8, offset: usize) -> Result<(), DecodeError> {
        let depth = self.levels.len();
        let on_path = match self.levels.last_mut() {
            None => true,
            Some(PathLevel::Object { .. }) => self.name_matches,
            Some(PathLevel::List { next }) => {
                let number = *next;
                *next += 1;
                matches!(self.path.get(depth - 1), Some(PathSegment::Index(index)) if u64::try_from(*index) == Ok(number))
            }
            Some(PathLevel::Rows) => {
                self.row.start = Some(offset - 1);
                false
            }
        };
        let level = match (self.path.get(depth), first) {
            // A value beside the path is only validated; the lexer does not report its inside.
            _ if !on_path => None,
            (None, b'[') => {
                self.listed = true;
                Some(PathLevel::Rows)
            }
            // Null in place of the list means no rows.
            (None, b'n') => None,
            // Whether it means no rows is known at its end.
            (None, b'{' | b'"' | b'f') if self.may_be_absent => {
                (self.substitute, self.row.start) = (Some(first), Some(offset - 1));
                None
            }
            (None, _) => return Err(DecodeError::NotAList(json_type_of(first))),
            (Some(PathSegment::Member(_)), b'{') => Some(PathLevel::Object { seen: false }),
            (Some(PathSegment::Index(_)), b'[') => Some(PathLevel::List { next: 0 }),
            (Some(_), _) => None,
        };
        self.found |= on_path && depth == self.path.len();
        self.in_skipped_value = level.is_none();
        self.levels.extend(level);
        self.lexer.watch_depth = self.levels.len();
        Ok(())
    }

    /// Keeps the unfinished row or name for the next piece.
    fn keep_partial(&mut self, text: &[u8]) -> Result<(), DecodeError> {
        if self.row.start.is_some() {
            self.check_size(self.row.length(text.len()))?;
        }
        self.row.keep(text, usize::MAX);
        // An escaped character takes at most six bytes per byte of the name: anything longer cannot
        // match, so that a hostile name does not fill the memory.
        let max = self.path.iter().map(|step| match step {
            PathSegment::Member(name) => 6 * name.len(),
            PathSegment::Index(_) => 0,
        });
        self.name.keep(text, max.max().unwrap_or_default() + 1);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.row.bytes.capacity() + self.name.bytes.capacity()
    }

    fn check_size(&self, bytes: usize) -> Result<(), DecodeError> {
        if bytes > self.max_row_bytes {
            return Err(DecodeError::RowTooLarge { row: self.rows, max: self.max_row_bytes });
        }
        Ok(())
    }

    fn decode_error(&self, error: LexerError, offset: usize) -> DecodeError {
        match error {
            LexerError::Unexpected(what) => {
                DecodeError::Json(format!("{what} at byte {}", self.bytes_before + offset as u64))
            }
            LexerError::TooDeep => DecodeError::TooDeep(NESTING_MAX),
        }
    }
}

impl PartialText {
    /// Returns its length if it ended at `end` of the current piece.
    fn length(&self, end: usize) -> usize {
        self.bytes.len() + end - self.start.unwrap_or(end)
    }

    /// Appends it to `out`, ending at `end` of the current piece, and resets it.
    fn append_to(&mut self, out: &mut Vec<u8>, text: &[u8], end: usize) {
        out.extend_from_slice(&self.bytes);
        out.extend_from_slice(&text[self.start.unwrap_or(end)..end]);
        self.bytes.clear();
        self.start = None;
    }

    fn take(&mut self, text: &[u8], end: usize) -> Vec<u8> {
        let mut whole = Vec::new();
        self.append_to(&mut whole, text, end);
        whole
    }

    /// Keeps its bytes, at most `max`, since it continues in the next piece.
    fn keep(&mut self, text: &[u8], max: usize) {
        if let Some(start) = self.start {
            let rest = &text[start..];
            // Bytes beyond `max` only need to be counted as "too long", which the kept ones already
            // show.
            let room = max.saturating_sub(self.bytes.len());
            self.bytes.extend_from_slice(&rest[..rest.len().min(room)]);
            self.start = Some(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use orchid_plan::PlainPath;

    use super::*;

    fn path(text: &str) -> PlainPath {
        let step = |part: &str| {
            part.parse().map_or_else(|_| PathSegment::Member(part.to_owned()), PathSegment::Index)
        };
        PlainPath(text.split('/').filter(|part| !part.is_empty()).map(step).collect())
    }

    fn rows_of(json: &str, at: &str, size: usize, max: usize) -> Result<(Vec<String>, bool), DecodeError> {
        let path = path(at);
        let mut array = ArrayParser::new(&RowPath { path: &path, may_be_absent: false }, max)?;
        let mut rows = Vec::new();
        let pieces = json.as_bytes().chunks(size).chain([&b""[..]]).collect::<Vec<_>>();
        for (index, piece) in pieces.iter().enumerate() {
            let mut at = 0;
            let mut row = Vec::new();
            while array.next(piece, &mut at, index + 1 == pieces.len(), &mut row)? {
                rows.push(String::from_utf8(std::mem::take(&mut row)).unwrap());
            }
        }
        Ok((rows, array.found()))
    }

    #[track_caller]
    fn check(json: &str, at: &str, expected: Result<(&[&str], bool), &str>) {
        for size in 1..=json.len() {
            let rows = rows_of(json, at, size, 100).map_err(|error| error.to_string());
            let rows = rows.as_ref().map(|(rows, found)| (rows.iter().map(String::as_str).collect(), *found));
            let rows: Result<(Vec<&str>, bool), &str> = rows.map_err(String::as_str);
            assert_eq!(rows, expected.map(|(rows, found)| (rows.to_vec(), found)), "{json} {size}");
        }
    }

    #[test]
    fn invalid_json_is_an_error_anywhere() {
        for (json, at, error) in [
            ("[1,]", "", "expected a value at byte 4"),
            ("{\"a\":[1],}", "a", "expected a quoted name at byte 10"),
            ("{\"a\":[1]} x", "a", "unexpected text after the end at byte 11"),
            ("{\"a\":[1", "a", "unexpected end at byte 7"),
            ("{\"x\":\"\\q\",\"a\":[1]}", "a", "invalid escape at byte 8"),
            ("{\"x\":[{\"y\":01}],\"a\":[1]}", "a", "number with a leading zero at byte 13"),
            ("{\"a\":nul}", "a", "misspelled true, false or null at byte 9"),
            (" ", "", "unexpected end at byte 1"),
        ] {
            check(json, at, Err(&format!("the body is no JSON: {error}")));
        }
    }

    #[test]
    fn value_that_is_not_a_list_is_an_error_with_its_type() {
        check(
            r#"{"a":{"b":1}}"#,
            "a",
            Err(
                "the rows are of type object, not a list: values(…) takes the values of its members, entries(…) their \
                 names too, to_array(…) makes it one row",
            ),
        );
        check(r#"{"a":"b"}"#, "a", Err("the rows are of type text, not a list"));
        check("17", "", Err("the rows are of type number, not a list"));
        check("true", "", Err("the rows are of type boolean, not a list"));
    }

    #[test]
    fn duplicate_member_on_the_path_is_an_error() {
        let twice = |name: &str| format!("the body has the member {name:?} twice on the path to the rows");
        check(r#"{"a":[1],"a":[2]}"#, "a", Err(&twice("a")));
        check(r#"{"a":{"b":[]},"x":{"a":1},"\u0061":null}"#, "a/b", Err(&twice("a")));
        check(r#"{"a":{"x":1,"b":null,"x":2,"b":[1]}}"#, "a/b", Err(&twice("b")));
        check(r#"{"x":1,"a":[1],"x":2}"#, "a", Ok((&["1"], true)));
    }

    #[test]
    fn negative_index_is_not_streamable() {
        let path = path("a/-1");
        let refused = ArrayParser::new(&RowPath { path: &path, may_be_absent: false }, 100).err().unwrap();
        assert_eq!(refused.code(), "EXPRESSION");
    }

    #[test]
    fn row_size_is_limited_in_any_pieces() {
        let json = format!("{{\"x\":\"{0}\",\"a\":[1,\"{0}\"]}}", "y".repeat(200));
        check(&json, "a", Err("row 1 of the body is larger than 100 bytes"));
        let name = format!("{{\"{0}\":1,\"a\":[\"{1}\"]}}", "n".repeat(200), "y".repeat(98));
        check(&name, "a", Ok((&[&format!("\"{}\"", "y".repeat(98))], true)));
    }

    #[test]
    fn rows_keep_their_bytes() {
        check(
            " {\"x\":[[]], \"data\": {\"items\": [ {\"n\": 1.10, \"t\": \"\\u00fc]\"} , 12345678901234567890123,null]}} ",
            "data/items",
            Ok((&["{\"n\": 1.10, \"t\": \"\\u00fc]\"}", "12345678901234567890123", "null"], true)),
        );
        check("[]", "", Ok((&[], true)));
        check("[ [1] ,\"ü\"]", "", Ok((&["[1]", "\"ü\""], true)));
        check(r#"{"a\"b":[true]}"#, "a\"b", Ok((&["true"], true)));
    }

    #[test]
    fn indexes_count_from_the_front() {
        check("[[1],[2,3]]", "1", Ok((&["2", "3"], true)));
        check("[[1],[2,3]]", "2", Ok((&[], false)));
        check(r#"[{"b":[9]},{"a":[7]},{"a":[8]}]"#, "1/a", Ok((&["7"], true)));
    }

    #[test]
    fn missing_or_null_value_has_no_rows() {
        for (json, at) in
            [("{}", "a"), ("5", "a"), ("[1]", "a"), ("{\"a\":1}", "0"), ("{\"b\":{\"a\":[1]}}", "a")]
        {
            check(json, at, Ok((&[], false)));
        }
        check("{\"a\":null}", "a", Ok((&[], true)));
        check("null", "", Ok((&[], true)));
    }
}
