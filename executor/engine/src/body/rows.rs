//! Rows of a page, one at a time: slices of a whole body, elements of a computed list, or what comes out of a stream.

use bytes::Bytes;
use orchid_plan::{JsonType, PlainPath, Value};

use super::raw_list::RawList;
use super::{DecodeError, RowDecoder};

/// Rows, in order. None of these holds more than where it is; a stream holds one row and one piece besides.
pub(crate) enum RowReader {
    /// The elements of a list in a body, as the bytes that came.
    Raw(Box<RawList>),
    /// The elements of a list that an expression gave, and how many were taken.
    Values(Value, usize),
    /// What is fed.
    Stream(Box<RowDecoder>),
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NextRow {
    /// A row as JSON text, without white space around it.
    Row(Bytes),
    /// Nothing before the next piece is fed, or the end told. Only streams say this.
    NeedMore,
    /// All rows were taken.
    End,
}

impl RowReader {
    /// The rows at a path of a JSON text that is known to parse. A missing member, an index out of range and null are no
    /// rows.
    ///
    /// # Errors
    /// Where something that is no list stands there; where a member on the way stands there twice, which may only show
    /// after the last row.
    pub(crate) fn from_json(text: &Bytes, path: &PlainPath) -> Result<RowReader, DecodeError> {
        Ok(RowReader::Raw(Box::new(RawList::open(text.clone(), path)?)))
    }

    /// The elements of a list; null is no rows.
    ///
    /// # Errors
    /// Where the value is anything else.
    pub(crate) fn from_list(list: Value) -> Result<RowReader, DecodeError> {
        match list.json_type() {
            JsonType::List | JsonType::Null => Ok(RowReader::Values(list, 0)),
            other => Err(DecodeError::NotAList(other)),
        }
    }

    /// The rows of a body that comes in pieces.
    pub(crate) fn from_decoder(decoder: RowDecoder) -> RowReader {
        RowReader::Stream(Box::new(decoder))
    }

    /// The next row. After the end comes the end again.
    pub(crate) fn next(&mut self) -> Result<NextRow, DecodeError> {
        match self {
            RowReader::Raw(list) => Ok(list.next()?.map_or(NextRow::End, NextRow::Row)),
            RowReader::Values(list, taken) => {
                if *taken >= list.length().unwrap_or_default() {
                    return Ok(NextRow::End);
                }
                let row = list.index(*taken).to_json();
                *taken += 1;
                Ok(NextRow::Row(row.into()))
            }
            RowReader::Stream(decoder) => decoder.next(),
        }
    }

    /// Whether something, be it null, stands where the rows should be; of a stream it is known at its end.
    pub(crate) fn found(&self) -> bool {
        match self {
            RowReader::Raw(list) => list.found(),
            RowReader::Values(list, _) => !list.is_null(),
            RowReader::Stream(decoder) => decoder.found(),
        }
    }

    /// Takes the next piece of a stream; anything else has no pieces.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        if let RowReader::Stream(decoder) = self {
            decoder.feed(piece);
        }
    }

    /// A stream has ended.
    pub(crate) fn finish(&mut self) {
        if let RowReader::Stream(decoder) = self {
            decoder.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use orchid_plan::PathSegment;

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
        all(RowReader::from_json(&Bytes::from_static(json.as_bytes()), &path(at)))
    }

    fn strings(rows: &[&str]) -> Vec<String> {
        rows.iter().map(|row| (*row).to_owned()).collect()
    }

    #[test]
    fn what_is_no_list_is_an_error_with_its_type() {
        for (json, at, kind) in [
            (r#"{"a":{"b":1}}"#, "a", "object"),
            (r#"{"a":"b"}"#, "a", "text"),
            ("17", "", "number"),
            ("[false]", "0", "boolean"),
        ] {
            assert_eq!(raw(json, at), Err(format!("the rows are of type {kind}, not a list")));
            let value = Value::parse(json.as_bytes()).unwrap();
            let value = if at.is_empty() { value } else { Value::from(Some(value.member("a"))) };
            if !value.is_null() {
                assert!(RowReader::from_list(value).is_err());
            }
        }
    }

    #[test]
    fn a_member_on_the_way_that_stands_there_twice_is_an_error() {
        for (json, at, name) in [
            (r#"{"a":[1],"a":[2]}"#, "a", "a"),
            (r#"{"a":{},"x":{"a":1},"\u0061":null}"#, "a/b", "a"),
            (r#"[{"b":null,"b":[1]}]"#, "0/b", "b"),
        ] {
            let words = format!("the body has the member {name:?} twice on the way to the rows");
            assert_eq!(raw(json, at), Err(words), "{json}");
        }
    }

    #[test]
    fn rows_are_the_bytes_that_came() {
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
    fn what_is_missing_or_null_is_no_rows() {
        for (json, at) in [("{}", "a"), ("5", "a"), ("[1]", "a"), ("{\"a\":1}", "0"), ("{\"a\":[]}", "a/b")] {
            assert_eq!(raw(json, at), Ok((strings(&[]), false)), "{json} {at}");
        }
        assert_eq!(raw("{\"a\":null}", "a"), Ok((strings(&[]), true)));
        assert_eq!(all(RowReader::from_list(Value::null())), Ok((strings(&[]), false)));
    }

    #[test]
    fn text_that_is_no_json_after_all_is_an_error() {
        for (json, at) in [("{\"a\":[1}", "a"), ("{\"a\" 1}", "b"), ("[1] 2", ""), ("[1 2]", ""), ("", "")] {
            assert!(raw(json, at).is_err(), "{json}");
        }
    }

    #[test]
    fn a_computed_list_is_printed_row_by_row() {
        let list = Value::parse(br#"[{"b":1,"a":[]}, "x"]"#).unwrap();
        assert_eq!(all(RowReader::from_list(list)), Ok((strings(&[r#"{"a":[],"b":1}"#, "\"x\""]), true)));
    }
}
