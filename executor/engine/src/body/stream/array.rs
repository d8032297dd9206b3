//! The elements of a JSON list at a plain path, out of pieces.
//!
//! Everything before, beside and after the list is passed over and checked, to the document's end. A missing member and
//! null are no rows. A member on the way that stands there twice is an error: the rows of the first may be gone already
//! when the second comes.

use orchid_plan::{PathSegment, PlainPath};

use super::lexer::{DEPTH_MAX, Event, Fault, Lexer};
use crate::body::DecodeError;
use crate::body::raw_list::{is_name, kind_of};

/// A list or object that is open, on the way to the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Whether its member on the way was seen.
    Object { seen: bool },
    /// The number of its next element.
    List { next: u64 },
    /// The rows themselves.
    Rows,
}

pub(in crate::body) struct JsonArray {
    lexer: Lexer,
    path: Vec<PathSegment>,
    levels: Vec<Level>,
    /// The member that was just named is the one on the way.
    named: bool,
    /// Inside a value that is not on the way, or a row.
    inside: bool,
    found: bool,
    /// What earlier pieces had of the name being read.
    name: Held,
    /// What earlier pieces had of the row being read.
    row: Held,
    rows: u64,
    max_row_bytes: usize,
    /// Bytes of text before this piece.
    before: u64,
}

/// A part of the text that may have begun in an earlier piece.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// Where it begins in this piece; none outside of it.
    start: Option<usize>,
}

impl JsonArray {
    pub(super) fn new(path: &PlainPath, max_row_bytes: usize) -> Result<JsonArray, DecodeError> {
        if path.0.iter().any(|step| matches!(step, PathSegment::Index(index) if *index < 0)) {
            return Err(DecodeError::NoStream(
                "an index that counts from a list's end is known at its end alone",
            ));
        }
        Ok(JsonArray {
            lexer: Lexer::new(),
            path: path.0.clone(),
            levels: Vec::new(),
            named: false,
            inside: false,
            found: false,
            name: Held::default(),
            row: Held::default(),
            rows: 0,
            max_row_bytes,
            before: 0,
        })
    }

    pub(super) fn found(&self) -> bool {
        self.found
    }

    pub(super) fn next(
        &mut self,
        text: &[u8],
        at: &mut usize,
        last: bool,
        row: &mut Vec<u8>,
    ) -> Result<bool, DecodeError> {
        loop {
            let event = self.lexer.next(text, at).map_err(|fault| self.fault(fault, *at))?;
            let Some(event) = event else { break };
            if self.take(event, text, *at, row)? {
                return Ok(true);
            }
        }
        self.hold(text)?;
        self.before += text.len() as u64;
        if last {
            // At the top ends no row: this can only be the end of a number that is none.
            self.lexer.finish().map_err(|fault| self.fault(fault, 0))?;
        }
        Ok(false)
    }

    /// True where a row has ended, and stands in `row`.
    fn take(&mut self, event: Event, text: &[u8], at: usize, row: &mut Vec<u8>) -> Result<bool, DecodeError> {
        match event {
            Event::Name => self.name.start = Some(at),
            Event::NameEnd => {
                let name = self.name.take(text, at - 1);
                self.named(&name)?;
            }
            Event::Value(first) => self.begin(first, at)?,
            Event::ValueEnd if !self.inside => {
                self.levels.pop();
                self.lexer.watch = self.levels.len();
            }
            Event::ValueEnd => {
                self.inside = false;
                if self.row.start.is_some() {
                    let length = self.row.length(at);
                    self.check_size(length)?;
                    self.row.append_to(row, text, at);
                    self.rows += 1;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn named(&mut self, raw: &[u8]) -> Result<(), DecodeError> {
        let step = self.levels.len().checked_sub(1).and_then(|level| self.path.get(level));
        self.named = match (self.levels.last_mut(), step) {
            (Some(Level::Object { seen }), Some(PathSegment::Member(wanted))) if is_name(raw, wanted) => {
                if std::mem::replace(seen, true) {
                    return Err(DecodeError::Repeated(wanted.clone()));
                }
                true
            }
            _ => false,
        };
        Ok(())
    }

    /// A value begins, with its first byte just before `at`.
    fn begin(&mut self, first: u8, at: usize) -> Result<(), DecodeError> {
        let depth = self.levels.len();
        let on_the_way = match self.levels.last_mut() {
            None => true,
            Some(Level::Object { .. }) => self.named,
            Some(Level::List { next }) => {
                let number = *next;
                *next += 1;
                matches!(self.path.get(depth - 1), Some(PathSegment::Index(index)) if u64::try_from(*index) == Ok(number))
            }
            Some(Level::Rows) => {
                self.row.start = Some(at - 1);
                false
            }
        };
        let level = match (self.path.get(depth), first) {
            _ if !on_the_way => None,
            (None, b'[') => Some(Level::Rows),
            (None, b'n') => None,
            (None, _) => return Err(DecodeError::NotAList(kind_of(first))),
            (Some(PathSegment::Member(_)), b'{') => Some(Level::Object { seen: false }),
            (Some(PathSegment::Index(_)), b'[') => Some(Level::List { next: 0 }),
            (Some(_), _) => None,
        };
        self.found |= on_the_way && depth == self.path.len();
        self.inside = level.is_none();
        self.levels.extend(level);
        self.lexer.watch = self.levels.len();
        Ok(())
    }

    /// Keeps what the next piece goes on with.
    fn hold(&mut self, text: &[u8]) -> Result<(), DecodeError> {
        if self.row.start.is_some() {
            self.check_size(self.row.length(text.len()))?;
        }
        self.row.hold(text, usize::MAX);
        // Each character of a name takes six bytes at the most: what is longer is another name, whatever it is.
        let most = self.path.iter().map(|step| match step {
            PathSegment::Member(name) => 6 * name.len(),
            PathSegment::Index(_) => 0,
        });
        self.name.hold(text, most.max().unwrap_or_default() + 1);
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

    fn fault(&self, fault: Fault, at: usize) -> DecodeError {
        match fault {
            Fault::Unexpected(what) => {
                DecodeError::Json(format!("{what}, at byte {}", self.before + at as u64))
            }
            Fault::TooDeep => DecodeError::TooDeep(DEPTH_MAX),
        }
    }
}

impl Held {
    /// Its bytes so far, were it to end at `end`.
    fn length(&self, end: usize) -> usize {
        self.bytes.len() + end - self.start.unwrap_or(end)
    }

    /// It ends at `end`.
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

    /// The piece ends, and this goes on: `max` bytes of it are kept.
    fn hold(&mut self, text: &[u8], max: usize) {
        if let Some(start) = self.start {
            let rest = &text[start..];
            let room = max.saturating_sub(self.bytes.len());
            self.bytes.extend_from_slice(&rest[..rest.len().min(room)]);
            self.start = Some(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> PlainPath {
        let step = |part: &str| {
            part.parse().map_or_else(|_| PathSegment::Member(part.to_owned()), PathSegment::Index)
        };
        PlainPath(text.split('/').filter(|part| !part.is_empty()).map(step).collect())
    }

    fn rows_of(json: &str, at: &str, size: usize, max: usize) -> Result<(Vec<String>, bool), DecodeError> {
        let mut array = JsonArray::new(&path(at), max)?;
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
    fn what_is_no_json_is_an_error_wherever_it_is() {
        for (json, at, error) in [
            ("[1,]", "", "a value is expected, at byte 4"),
            ("{\"a\":[1],}", "a", "a name in quotes is expected, at byte 10"),
            ("{\"a\":[1]} x", "a", "something follows after its end, at byte 11"),
            ("{\"a\":[1", "a", "it ends too early, at byte 7"),
            ("{\"x\":\"\\q\",\"a\":[1]}", "a", "an escape is none, at byte 8"),
            ("{\"x\":[{\"y\":01}],\"a\":[1]}", "a", "a number begins with 0, at byte 13"),
            ("{\"a\":nul}", "a", "true, false or null is misspelt, at byte 9"),
            (" ", "", "it ends too early, at byte 1"),
        ] {
            check(json, at, Err(&format!("the body is no JSON: {error}")));
        }
    }

    #[test]
    fn what_is_no_list_is_an_error_with_its_type() {
        check(r#"{"a":{"b":1}}"#, "a", Err("the rows are of type object, not a list"));
        check(r#"{"a":"b"}"#, "a", Err("the rows are of type text, not a list"));
        check("17", "", Err("the rows are of type number, not a list"));
        check("true", "", Err("the rows are of type boolean, not a list"));
    }

    #[test]
    fn a_member_on_the_way_that_stands_there_twice_is_an_error() {
        let twice = |name: &str| format!("the body has the member {name:?} twice on the way to the rows");
        check(r#"{"a":[1],"a":[2]}"#, "a", Err(&twice("a")));
        check(r#"{"a":{"b":[]},"x":{"a":1},"\u0061":null}"#, "a/b", Err(&twice("a")));
        check(r#"{"a":{"x":1,"b":null,"x":2,"b":[1]}}"#, "a/b", Err(&twice("b")));
        check(r#"{"x":1,"a":[1],"x":2}"#, "a", Ok((&["1"], true)));
    }

    #[test]
    fn an_index_from_the_end_cannot_be_followed() {
        let refused = JsonArray::new(&path("a/-1"), 100).err().unwrap();
        assert_eq!(refused.code(), "EXPRESSION");
    }

    #[test]
    fn a_row_is_bounded_however_it_comes() {
        let json = format!("{{\"x\":\"{0}\",\"a\":[1,\"{0}\"]}}", "y".repeat(200));
        check(&json, "a", Err("row 1 of the body has more than 100 bytes"));
        let name = format!("{{\"{0}\":1,\"a\":[\"{1}\"]}}", "n".repeat(200), "y".repeat(98));
        check(&name, "a", Ok((&[&format!("\"{}\"", "y".repeat(98))], true)));
    }

    #[test]
    fn rows_are_the_bytes_that_came() {
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
    fn what_is_missing_or_null_is_no_rows() {
        for (json, at) in
            [("{}", "a"), ("5", "a"), ("[1]", "a"), ("{\"a\":1}", "0"), ("{\"b\":{\"a\":[1]}}", "a")]
        {
            check(json, at, Ok((&[], false)));
        }
        check("{\"a\":null}", "a", Ok((&[], true)));
        check("null", "", Ok((&[], true)));
    }
}
