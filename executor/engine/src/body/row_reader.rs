//! Reads the rows of a page one at a time: slices of a whole body, elements of a computed list, or
//! the rows of a stream.

use bytes::Bytes;
use orchid_plan::{JsonType, Value};

use super::archive::FileDecoder;
use super::error::DecodeError;
use super::file_parts::FileParts;
use super::raw_list::RawList;
use super::row_path::RowPath;
use super::stream::row_decoder::{NextRow, RowDecoder};
use crate::input::BodyPiece;

/// A reader of rows, in order. It holds a position in a list that exists anyway; only a stream
/// holds data of its own: one row and one piece.
pub(crate) enum RowReader {
    /// The elements of a list in a body, as the received bytes.
    Raw(Box<RawList>),
    /// The elements of a list that an expression computed, and the number already read.
    Values(Value, usize),
    /// The rows of a streamed body.
    Stream(Box<RowDecoder>),
    /// The parts of a streamed text or file.
    Parts(Box<FileParts>),
    /// The rows of the files of a streamed archive.
    Files(Box<FileDecoder>),
    /// The rows before the place at which a body broke off, and the number already read.
    Partial(PartialRows, usize),
}

/// The rows of a body that broke off.
#[derive(Clone)]
pub(crate) struct PartialRows {
    rows: Vec<Bytes>,
    found: bool,
    listed: bool,
}

impl RowReader {
    /// Creates a reader of the rows at a path of valid JSON. A missing member, an index out of
    /// range and null mean no rows.
    ///
    /// # Errors
    /// If the value at the path is not a list, or a member on the path occurs twice. The latter may
    /// only show after the last row, as an error of [`RowReader::next`].
    pub(crate) fn from_json(text: &Bytes, path: &RowPath<'_>) -> Result<Self, DecodeError> {
        Ok(Self::Raw(Box::new(RawList::open(text.clone(), path)?)))
    }

    /// Creates a reader of a computed list; null means no rows.
    ///
    /// # Errors
    /// If the value is neither a list nor null.
    pub(crate) fn from_list(list: Value) -> Result<Self, DecodeError> {
        match list.json_type() {
            JsonType::List | JsonType::Null => Ok(Self::Values(list, 0)),
            other => Err(DecodeError::NotAList(other)),
        }
    }

    /// Returns a reader of the same rows from the first one; `None` for a stream.
    pub(crate) fn restarted(&self) -> Option<Self> {
        match self {
            Self::Raw(list) => Some(Self::Raw(Box::new(list.restarted().ok()?))),
            Self::Values(list, _) => Some(Self::Values(list.clone(), 0)),
            Self::Partial(rows, _) => Some(Self::Partial(rows.clone(), 0)),
            Self::Stream(_) | Self::Files(_) | Self::Parts(_) => None,
        }
    }

    /// Returns whether the rows are streamed out of one JSON document.
    pub(crate) fn streams_document(&self) -> bool {
        matches!(self, Self::Stream(decoder) if decoder.reads_document())
    }

    /// Creates a reader of the parts of a streamed text or file.
    pub(crate) fn from_parts(parts: FileParts) -> Self {
        Self::Parts(Box::new(parts))
    }

    /// Returns the parts of a streamed text or file.
    pub(crate) fn parts(&mut self) -> Option<&mut FileParts> {
        if let Self::Parts(parts) = self { Some(parts) } else { None }
    }

    /// Creates a reader of a streamed archive.
    pub(crate) fn from_files(files: FileDecoder) -> Self {
        Self::Files(Box::new(files))
    }

    /// Creates a reader of a streamed body.
    pub(crate) fn from_decoder(decoder: RowDecoder) -> Self {
        Self::Stream(Box::new(decoder))
    }

    /// Creates a reader of the whole rows in a body that broke off.
    pub(crate) fn from_partial(mut decoder: RowDecoder, received: &[u8]) -> Self {
        decoder.feed(received);
        let mut rows = Vec::new();
        // The error of the body was reported before: its rows end there.
        let mut read = |decoder: &mut RowDecoder| {
            while let Ok(NextRow::Row(row)) = decoder.next() {
                rows.push(row);
            }
        };
        read(&mut decoder);
        decoder.cut();
        read(&mut decoder);
        let (found, listed) = (decoder.found(), decoder.listed());
        Self::Partial(PartialRows { rows, found, listed }, 0)
    }

    /// Returns the next row. After the end it returns the end again.
    ///
    /// # Errors
    /// If the body is invalid or a row is too large; every later call returns the same error.
    pub(crate) fn next(&mut self) -> Result<NextRow, DecodeError> {
        match self {
            Self::Raw(list) => Ok(list.next()?.map_or(NextRow::End, NextRow::Row)),
            Self::Values(list, taken) => {
                if *taken >= list.length().unwrap_or_default() {
                    return Ok(NextRow::End);
                }
                // Rows that an expression computed have no bytes of their own and are printed.
                let row = list.index(*taken).to_json();
                *taken += 1;
                Ok(NextRow::Row(row.into()))
            }
            Self::Stream(decoder) => decoder.next(),
            Self::Files(files) => files.next(),
            Self::Parts(parts) => Ok(parts.next()),
            Self::Partial(partial, taken) => {
                let row = partial.rows.get(*taken).cloned();
                *taken += usize::from(row.is_some());
                Ok(row.map_or(NextRow::End, NextRow::Row))
            }
        }
    }

    /// Returns whether the path leads to a value, even null. For a stream this is final at its end.
    pub(crate) fn found(&self) -> bool {
        match self {
            Self::Raw(list) => list.found(),
            Self::Values(list, _) => !list.is_null(),
            Self::Stream(decoder) => decoder.found(),
            // An archive without files is an error of the archive.
            Self::Files(_) | Self::Parts(_) => true,
            Self::Partial(partial, _) => partial.found,
        }
    }

    /// Returns whether there is a list of rows. For a stream this is final at its end.
    pub(crate) fn listed(&self) -> bool {
        match self {
            Self::Raw(list) => list.listed(),
            Self::Values(list, _) => !list.is_null(),
            Self::Stream(decoder) => decoder.listed(),
            Self::Files(_) | Self::Parts(_) => true,
            Self::Partial(partial, _) => partial.listed,
        }
    }

    /// Feeds the next piece of a stream; other readers ignore it.
    pub(crate) fn feed(&mut self, piece: BodyPiece) {
        match self {
            Self::Stream(decoder) => decoder.feed(&piece.bytes),
            Self::Files(files) => files.feed(piece),
            Self::Parts(parts) => parts.feed(&piece.bytes),
            Self::Raw(_) | Self::Values(..) | Self::Partial(..) => {}
        }
    }

    /// Signals the end of a stream; other readers ignore it.
    pub(crate) fn finish(&mut self) {
        match self {
            Self::Stream(decoder) => decoder.finish(),
            Self::Files(files) => files.finish(),
            Self::Parts(parts) => parts.finish(),
            Self::Raw(_) | Self::Values(..) | Self::Partial(..) => {}
        }
    }

    /// Signals that a stream broke off: the rows before that are complete.
    pub(crate) fn cut(&mut self) {
        match self {
            Self::Stream(decoder) => decoder.cut(),
            Self::Files(files) => files.cut(),
            // The rest of a part is complete only if the plan accepts that the body broke off.
            Self::Raw(_) | Self::Values(..) | Self::Partial(..) | Self::Parts(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use orchid_plan::{PathSegment, PlainPath};

    use super::*;

    fn path(text: &str) -> PlainPath {
        let step = |part: &str| {
            part.parse().map_or_else(|_| PathSegment::Member(part.to_owned()), PathSegment::Index)
        };
        PlainPath(text.split('/').filter(|part| !part.is_empty()).map(step).collect())
    }

    fn all(rows: Result<RowReader, DecodeError>) -> Result<(Vec<String>, bool), String> {
        let mut rows = rows.map_err(|error| error.to_string())?;
        let mut taken = Vec::new();
        loop {
            match rows.next().map_err(|error| error.to_string())? {
                NextRow::Row(row) => taken.push(String::from_utf8(row.to_vec()).unwrap()),
                NextRow::NeedMore => panic!("no stream"),
                NextRow::End => {
                    assert_eq!(rows.next(), Ok(NextRow::End));
                    return Ok((taken, rows.found()));
                }
            }
        }
    }

    fn raw(json: &'static str, at: &str) -> Result<(Vec<String>, bool), String> {
        let path = RowPath { path: &path(at), may_be_absent: false };
        all(RowReader::from_json(&Bytes::from_static(json.as_bytes()), &path))
    }

    fn strings(rows: &[&str]) -> Vec<String> {
        rows.iter().map(|row| (*row).to_owned()).collect()
    }

    #[test]
    fn value_that_is_not_a_list_is_an_error_with_its_type() {
        for (json, at, kind) in [
            (r#"{"a":{"b":1}}"#, "a", "object"),
            (r#"{"a":"b"}"#, "a", "text"),
            ("17", "", "number"),
            ("[false]", "0", "boolean"),
        ] {
            let words = raw(json, at).unwrap_err();
            assert!(words.starts_with(&format!("the rows are of type {kind}, not a list")), "{words}");
            assert_eq!(words.contains("entries(…)"), kind == "object", "{words}");
            let value = Value::parse(json.as_bytes()).unwrap();
            let value = if at.is_empty() { value } else { Value::from(Some(value.member("a"))) };
            if !value.is_null() {
                assert!(RowReader::from_list(value).is_err());
            }
        }
    }

    #[test]
    fn duplicate_member_on_the_path_is_an_error() {
        for (json, at, name) in [
            (r#"{"a":[1],"a":[2]}"#, "a", "a"),
            (r#"{"a":{},"x":{"a":1},"\u0061":null}"#, "a/b", "a"),
            (r#"[{"b":null,"b":[1]}]"#, "0/b", "b"),
        ] {
            let message = format!("the body has the member {name:?} twice on the path to the rows");
            assert_eq!(raw(json, at), Err(message), "{json}");
        }
    }

    #[test]
    fn rows_keep_their_bytes() {
        let json = " {\"x\": [[]], \"data\": {\"items\": [ {\"n\": 1.10, \"t\": \"\\u00fc]\"} , 12345678901234567890123 ,null], \"y\":1}} ";
        let rows = ["{\"n\": 1.10, \"t\": \"\\u00fc]\"}", "12345678901234567890123", "null"];
        assert_eq!(raw(json, "data/items"), Ok((strings(&rows), true)));
        assert_eq!(raw("[]", ""), Ok((strings(&[]), true)));
        assert_eq!(raw(r#"{"a\"b":[ true ]}"#, "a\"b"), Ok((strings(&["true"]), true)));
    }

    #[test]
    fn indexes_count_from_both_ends() {
        assert_eq!(raw("[[1],[2,3]]", "0"), Ok((strings(&["1"]), true)));
        assert_eq!(raw("[[1],[2,3]]", "-1"), Ok((strings(&["2", "3"]), true)));
        assert_eq!(raw("[[1],[2,3]]", "-2"), Ok((strings(&["1"]), true)));
        assert_eq!(raw("[[1],[2,3]]", "2"), Ok((strings(&[]), false)));
        assert_eq!(raw("[[1],[2,3]]", "-3"), Ok((strings(&[]), false)));
        assert_eq!(raw(r#"[{},{"a":[7]}]"#, "-1/a"), Ok((strings(&["7"]), true)));
    }

    #[test]
    fn missing_or_null_value_has_no_rows() {
        for (json, at) in [("{}", "a"), ("5", "a"), ("[1]", "a"), ("{\"a\":1}", "0"), ("{\"a\":[]}", "a/b")] {
            assert_eq!(raw(json, at), Ok((strings(&[]), false)), "{json} {at}");
        }
        assert_eq!(raw("{\"a\":null}", "a"), Ok((strings(&[]), true)));
        assert_eq!(all(RowReader::from_list(Value::null())), Ok((strings(&[]), false)));
    }

    #[test]
    fn absent_list_may_be_any_false_value() {
        let read = |json: &'static str| {
            let path = RowPath { path: &path("a"), may_be_absent: true };
            all(RowReader::from_json(&Bytes::from_static(json.as_bytes()), &path)).map(|(rows, _)| rows)
        };
        for json in ["{\"a\":{ }}", "{\"a\":\"\"}", "{\"a\":false}", "{\"a\":null}", "{}", "[]"] {
            assert_eq!(read(json), Ok(strings(&[])), "{json}");
        }
        assert!(read("{\"a\":{\"b\":1}}").is_err());
        assert!(read("{\"a\":0}").is_err());
    }

    #[test]
    fn invalid_json_is_an_error() {
        for (json, at) in [("{\"a\":[1}", "a"), ("{\"a\" 1}", "b"), ("[1] 2", ""), ("[1 2]", ""), ("", "")] {
            assert!(raw(json, at).is_err(), "{json}");
        }
    }

    #[test]
    fn computed_list_is_printed_row_by_row() {
        let list = Value::parse(br#"[{"b":1,"a":[]}, "x"]"#).unwrap();
        assert_eq!(all(RowReader::from_list(list)), Ok((strings(&[r#"{"a":[],"b":1}"#, "\"x\""]), true)));
    }
}
