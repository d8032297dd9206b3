//! Finds rows in the text of a body without decoding them.
//!
//! A plain path is followed through the text, and the elements of the list at its end are returned
//! as slices. Digits and escapes stay as the API sent them.

use super::json_value::JsonType;
use super::scan::{JsonScanner, RawText, ValueError};

/// A path of member names and indexes, without wildcards, filters or functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainPath(pub Vec<PathSegment>);

impl PlainPath {
    /// Returns the bytes of the value at this path of `body`, or `None` where there is no value.
    ///
    /// # Errors
    /// Fails if the body is not valid JSON.
    pub fn find_in<'b>(&self, body: &'b [u8]) -> Result<Option<&'b [u8]>, ValueError> {
        let mut scanner = JsonScanner::at(body, 0);
        let mut found = Some(scanner.skip_value()?);
        scanner.end()?;
        for segment in &self.0 {
            let Some(value) = found else { break };
            found = segment.find_in(value)?;
        }
        Ok(found)
    }
}

/// One segment of a plain path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathSegment {
    /// A member of an object.
    Member(String),
    /// An element of a list. Negative indexes count from its end.
    Index(i32),
}

/// The rows at a path of a body, as unchanged bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawRows<'b> {
    /// True if the value at the path exists and is not null.
    pub found: bool,
    /// Elements in order, without surrounding white space.
    pub rows: Vec<&'b [u8]>,
}

/// The reason why a body has no rows.
#[derive(Debug, thiserror::Error)]
pub enum RawRowsError {
    /// The value at the path is neither a list nor null.
    #[error("the rows are of type {0}, not a list")]
    NotAList(JsonType),
    /// The body is not valid JSON.
    #[error(transparent)]
    Json(#[from] ValueError),
}

impl<'b> RawRows<'b> {
    /// Finds the rows at `path` in `body`. A missing member, an index out of range, and null yield
    /// no rows.
    ///
    /// # Errors
    /// Fails if the body is not valid JSON, or if the value at the path is neither a list nor null.
    pub fn find(body: &'b [u8], path: &PlainPath) -> Result<Self, RawRowsError> {
        let Some(found) = path.find_in(body)? else { return Ok(Self::default()) };
        match json_type_of_text(found) {
            JsonType::Null => Ok(Self::default()),
            JsonType::List => Ok(Self { found: true, rows: elements(found)? }),
            other => Err(RawRowsError::NotAList(other)),
        }
    }
}

/// Returns the type of a JSON text by its first byte.
fn json_type_of_text(json: &[u8]) -> JsonType {
    match json.first() {
        Some(b'[') => JsonType::List,
        Some(b'{') => JsonType::Object,
        Some(b'"') => JsonType::Text,
        Some(b't' | b'f') => JsonType::Bool,
        Some(b'n') | None => JsonType::Null,
        Some(_) => JsonType::Number,
    }
}

impl PathSegment {
    /// Returns the value at this segment of a JSON value. The last of equal names wins, as in
    /// parsed values.
    fn find_in<'v>(&self, value: &'v [u8]) -> Result<Option<&'v [u8]>, ValueError> {
        match self {
            Self::Member(wanted) => {
                let mut found = None;
                for member in RawMembers::of(value) {
                    let (name, member) = member?;
                    if name.is(wanted) {
                        found = Some(member);
                    }
                }
                Ok(found)
            }
            Self::Index(index) if value.first() == Some(&b'[') => {
                let items = elements(value)?;
                let distance = index.unsigned_abs() as usize;
                let index = if *index < 0 { items.len().checked_sub(distance) } else { Some(distance) };
                Ok(index.and_then(|index| items.get(index).copied()))
            }
            Self::Index(_) => Ok(None),
        }
    }
}

/// The members of a JSON object in their order: their names, and their values as text. Any other
/// value has none. After an error there are no more.
pub struct RawMembers<'t> {
    scanner: JsonScanner<'t>,
    first: bool,
    ended: bool,
}

impl<'t> RawMembers<'t> {
    /// Creates an iterator over an object without white space before it.
    #[must_use]
    pub fn of(object: &'t [u8]) -> Self {
        let mut scanner = JsonScanner::at(object, 0);
        let ended = !scanner.skip_byte(b'{');
        Self { scanner, first: true, ended }
    }

    fn read(&mut self) -> Result<Option<(RawText<'t>, &'t [u8])>, ValueError> {
        let name = self.scanner.next_member(std::mem::take(&mut self.first))?;
        name.map(|name| Ok((name, self.scanner.skip_value()?))).transpose()
    }
}

impl<'t> Iterator for RawMembers<'t> {
    type Item = Result<(RawText<'t>, &'t [u8]), ValueError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let member = self.read();
        self.ended = !matches!(member, Ok(Some(_)));
        member.transpose()
    }
}

/// Returns the elements of a JSON list.
fn elements(list: &[u8]) -> Result<Vec<&[u8]>, ValueError> {
    let mut scanner = JsonScanner::at(list, 0);
    let mut items = Vec::new();
    scanner.skip_byte(b'[');
    while scanner.next_element(items.is_empty())? {
        items.push(scanner.skip_value()?);
    }
    Ok(items)
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

    fn rows(body: &str, at: &str) -> Result<Vec<String>, String> {
        let found = RawRows::find(body.as_bytes(), &path(at)).map_err(|error| error.to_string())?;
        Ok(found.rows.into_iter().map(|row| String::from_utf8(row.to_vec()).unwrap()).collect())
    }

    #[test]
    fn rows_are_unchanged_bytes() {
        let body =
            r#" {"data": {"items": [ {"n": 1.10, "t": "\u00fc"} , 12345678901234567890123 ,null]}, "x": 1} "#;
        assert_eq!(
            rows(body, "data/items").unwrap(),
            [r#"{"n": 1.10, "t": "\u00fc"}"#, "12345678901234567890123", "null"]
        );
    }

    #[test]
    fn indexes_count_from_both_ends() {
        assert_eq!(rows("[[1],[2,3]]", "0").unwrap(), ["1"]);
        assert_eq!(rows("[[1],[2,3]]", "-1").unwrap(), ["2", "3"]);
        assert_eq!(rows("[[1],[2,3]]", "2").unwrap(), [""; 0]);
        assert_eq!(rows("[[1],[2,3]]", "-3").unwrap(), [""; 0]);
        assert_eq!(rows(r#"[{"a":[7]}]"#, "-1/a").unwrap(), ["7"]);
    }

    #[test]
    fn missing_or_null_list_has_no_rows() {
        for (body, at) in [("{}", "a"), (r#"{"a":null}"#, "a"), ("5", "a"), ("[1]", "a"), ("{\"a\":1}", "0")]
        {
            assert!(!RawRows::find(body.as_bytes(), &path(at)).unwrap().found, "{body} {at}");
        }
        assert!(RawRows::find(b"{\"a\":[]}", &path("a")).unwrap().found);
    }

    #[test]
    fn other_type_than_list_is_an_error() {
        assert_eq!(rows(r#"{"a":{"b":1}}"#, "a").unwrap_err(), "the rows are of type object, not a list");
        assert_eq!(rows(r#"{"a":"b"}"#, "a").unwrap_err(), "the rows are of type text, not a list");
        assert!(rows("{\"a\":[1,}", "a").is_err());
        assert!(rows("[1] x", "").is_err());
    }
}
