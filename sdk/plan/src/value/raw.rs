//! Finds rows in the text of a body without decoding them.
//!
//! A plain path is followed through the text, and the elements of the list at its end are returned
//! as slices. Digits and escapes stay as the API sent them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::json_value::JsonType;

/// A path of member names and indexes, without wildcards, filters or functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlainPath(pub Vec<PathSegment>);

impl PlainPath {
    /// Returns the bytes of the value at this path of `body`, or `None` where there is no value.
    ///
    /// # Errors
    /// Fails if the body is not valid JSON.
    pub fn find_in<'b>(&self, body: &'b [u8]) -> Result<Option<&'b [u8]>, RawRowsError> {
        let mut reader = serde_json::Deserializer::from_slice(body);
        let found = PathSeed(&self.0).deserialize(&mut reader)?;
        reader.end()?;
        Ok(found.map(|raw| raw.get().as_bytes()))
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
    #[error("not valid json: {0}")]
    Json(#[from] serde_json::Error),
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
            JsonType::List => {
                let rows: Vec<&RawValue> = serde_json::from_slice(found)?;
                Ok(Self { found: true, rows: rows.into_iter().map(|row| row.get().as_bytes()).collect() })
            }
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

/// Deserializes only the value at a path.
struct PathSeed<'p>(&'p [PathSegment]);

impl<'de> DeserializeSeed<'de> for PathSeed<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            [] => serde::Deserialize::deserialize(deserializer).map(Some),
            [first, rest @ ..] => deserializer.deserialize_any(PathVisitor { first, rest }),
        }
    }
}

struct PathVisitor<'p> {
    first: &'p PathSegment,
    rest: &'p [PathSegment],
}

impl<'de> Visitor<'de> for PathVisitor<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let PathSegment::Index(index) = self.first else {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        if let Ok(index) = usize::try_from(*index) {
            for _ in 0..index {
                if list.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            // The rest of the list is still read, so that a body with broken JSON is refused.
            let found = list.next_element_seed(PathSeed(self.rest))?.flatten();
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(found);
        }
        // A negative index needs the length of the list, so its elements are collected as slices
        // first.
        let mut items: Vec<&'de RawValue> = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        let back = index.unsigned_abs() as usize;
        let Some(item) = items.len().checked_sub(back).and_then(|index| items.get(index)) else {
            return Ok(None);
        };
        let mut reader = serde_json::Deserializer::from_str(item.get());
        PathSeed(self.rest).deserialize(&mut reader).map_err(A::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            match self.first {
                // The last of equal names wins, as in parsed values.
                PathSegment::Member(wanted) if *wanted == *name => {
                    found = map.next_value_seed(PathSeed(self.rest))?
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
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
