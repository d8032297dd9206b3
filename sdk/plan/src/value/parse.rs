//! JSON text to values, straight, or only to those parts that somebody reads. Nesting is bounded by serde_json at 127
//! levels; what is not read is still checked to be JSON.

use std::collections::BTreeMap;
use std::fmt;

use jmespath::{Rcvar, Variable};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Number;

use super::Value;

/// Text that is no JSON, or JSON beyond the bounds.
#[derive(Debug, thiserror::Error)]
#[error("not valid json: {0}")]
pub struct ValueError(#[from] serde_json::Error);

impl Value {
    /// Parses JSON text. Integers keep their digits within the range of i64 and u64; beyond it they are doubles.
    ///
    /// # Errors
    /// Where the text is no JSON or is nested deeper than 127 levels.
    pub fn parse(json: &[u8]) -> Result<Self, ValueError> {
        Ok(serde_json::from_slice(json)?)
    }

    /// Parses only some parts; everything else of an object is left out.
    ///
    /// # Errors
    /// As [`Value::parse`].
    pub fn parse_selected(json: &[u8], parts: &PathSelection) -> Result<Self, ValueError> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let value = parts.0.deserialize(&mut reader)?;
        reader.end()?;
        Ok(Self(value))
    }
}

/// Which parts of a document are wanted; made once, used for every document.
#[derive(Debug, Clone, PartialEq)]
pub struct PathSelection(Shape);

impl PathSelection {
    /// All of it.
    pub const ALL: Self = Self(Shape::All);

    /// What lies on paths (names of members, from the top). An empty path takes everything; a list on the way has no members.
    pub fn of<'p>(paths: impl IntoIterator<Item = &'p [String]>) -> PathSelection {
        let mut shape = Shape::Members(Vec::new());
        for path in paths {
            shape.add(path);
        }
        PathSelection(shape)
    }

    /// Whether only members of an object are wanted: of anything else, nothing is.
    #[must_use]
    pub fn selects_members(&self) -> bool {
        matches!(self.0, Shape::Members(_))
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Shape::Members(members) if members.is_empty())
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whole).map(Self)
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    All,
    /// Few, so that a list is searched faster than a tree.
    Members(Vec<(String, Shape)>),
}

impl Shape {
    fn add(&mut self, path: &[String]) {
        let Self::Members(members) = self else { return };
        let [first, rest @ ..] = path else {
            *self = Self::All;
            return;
        };
        let known = members.iter().position(|(name, _)| name == first);
        let at = known.unwrap_or_else(|| {
            members.push((first.clone(), Self::Members(Vec::new())));
            members.len() - 1
        });
        members[at].1.add(rest);
    }
}

impl<'de> DeserializeSeed<'de> for &Shape {
    type Value = Rcvar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Rcvar, D::Error> {
        match self {
            Shape::All => deserializer.deserialize_any(Whole),
            Shape::Members(members) => deserializer.deserialize_any(Part(members)),
        }
    }
}

struct WholeSeed;

impl<'de> DeserializeSeed<'de> for WholeSeed {
    type Value = Rcvar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Rcvar, D::Error> {
        deserializer.deserialize_any(Whole)
    }
}

/// Scalars are read the same way by both visitors.
macro_rules! scalars {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON value")
        }
        fn visit_bool<E>(self, value: bool) -> Result<Rcvar, E> {
            Ok(Rcvar::new(Variable::Bool(value)))
        }
        fn visit_i64<E>(self, value: i64) -> Result<Rcvar, E> {
            Ok(Rcvar::new(Variable::Number(value.into())))
        }
        fn visit_u64<E>(self, value: u64) -> Result<Rcvar, E> {
            Ok(Rcvar::new(Variable::Number(value.into())))
        }
        fn visit_f64<E>(self, value: f64) -> Result<Rcvar, E> {
            Ok(Rcvar::new(Number::from_f64(value).map_or(Variable::Null, Variable::Number)))
        }
        fn visit_str<E: Error>(self, value: &str) -> Result<Rcvar, E> {
            Ok(Rcvar::new(Variable::String(value.to_owned())))
        }
        fn visit_string<E>(self, value: String) -> Result<Rcvar, E> {
            Ok(Rcvar::new(Variable::String(value)))
        }
        fn visit_unit<E>(self) -> Result<Rcvar, E> {
            Ok(Rcvar::new(Variable::Null))
        }
    };
}

struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = Rcvar;

    scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rcvar, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(WholeSeed)? {
            items.push(item);
        }
        Ok(Rcvar::new(Variable::Array(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rcvar, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            members.insert(name, map.next_value_seed(WholeSeed)?);
        }
        Ok(Rcvar::new(Variable::Object(members)))
    }
}

/// Reads some members of an object. A list answers null to every member, so an empty one stands for it.
struct Part<'s>(&'s [(String, Shape)]);

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Rcvar;

    scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rcvar, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Rcvar::new(Variable::Array(Vec::new())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rcvar, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(known) = map.next_key_seed(Known(self.0))? {
            if let Some((name, shape)) = known {
                members.insert(name.clone(), map.next_value_seed(shape)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Rcvar::new(Variable::Object(members)))
    }
}

/// Finds a member's name among those that are wanted, without a copy of it.
struct Known<'s>(&'s [(String, Shape)]);

impl<'de, 's> DeserializeSeed<'de> for Known<'s> {
    type Value = Option<&'s (String, Shape)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'s> Visitor<'_> for Known<'s> {
    type Value = Option<&'s (String, Shape)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|(known, _)| known == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn integers_of_64_bits_keep_every_digit() {
        for json in ["18446744073709551615", "-9223372036854775808", "9007199254740993", "0", "0.1", "1e300"]
        {
            let value = Value::parse(json.as_bytes()).unwrap();
            let back = String::from_utf8(value.to_json()).unwrap();
            assert_eq!(back.parse::<f64>().unwrap(), json.parse::<f64>().unwrap());
            if !json.contains(['.', 'e']) {
                assert_eq!(back, json);
            }
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Value::parse(deep(127).as_bytes()).is_ok());
        assert!(Value::parse(deep(100_000).as_bytes()).is_err());
        // What is not read is passed over without recursion, so it may nest as it likes.
        let a = PathSelection::of([path("a").as_slice()]);
        assert!(Value::parse_selected(deep(100_000).as_bytes(), &a).is_ok());
        let below = format!("{{\"a\":{}}}", deep(100_000));
        assert!(Value::parse_selected(below.as_bytes(), &a).is_err());
    }

    #[test]
    fn only_what_is_read_is_built() {
        let json = br#"{"next":"n","items":[1,2],"meta":{"a":1,"b":{"c":2}},"\u006eame":"x"}"#;
        let read = |paths: &[&str]| {
            let paths: Vec<_> = paths.iter().map(|text| path(text)).collect();
            let value =
                Value::parse_selected(json, &PathSelection::of(paths.iter().map(Vec::as_slice))).unwrap();
            String::from_utf8(value.to_json()).unwrap()
        };
        assert_eq!(read(&[]), "{}");
        assert_eq!(read(&["next", "meta.b"]), r#"{"meta":{"b":{"c":2}},"next":"n"}"#);
        assert_eq!(read(&["meta.b.c", "meta"]), r#"{"meta":{"a":1,"b":{"c":2}}}"#);
        assert_eq!(read(&["name", "items"]), r#"{"items":[1,2],"name":"x"}"#);
        assert_eq!(read(&["items.a"]), r#"{"items":[]}"#);
        assert!(read(&[""]).contains("\"b\":{\"c\":2}"));
    }

    #[test]
    fn what_nobody_reads_is_still_checked() {
        let next = PathSelection::of([path("next").as_slice()]);
        for broken in ["{\"next\":1,\"x\":}", "{\"next\":1} x", "{\"next\":1,\"x\":[1,}"] {
            assert!(Value::parse_selected(broken.as_bytes(), &next).is_err(), "{broken}");
        }
    }
}
