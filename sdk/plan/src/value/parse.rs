//! Parses JSON text into values, whole or only the selected paths.
//!
//! serde_json bounds nesting at 127 levels. Unselected parts are still checked to be valid JSON.

use std::collections::BTreeMap;
use std::fmt;

use jmespath::{Rcvar, Variable};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// The text is not valid JSON, or is nested too deep.
#[derive(Debug, thiserror::Error)]
#[error("not valid json: {0}")]
pub struct ValueError(#[from] serde_json::Error);

/// Parses JSON text.
pub(super) fn parse_whole(json: &[u8]) -> Result<Rcvar, ValueError> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value = (&mut reader).deserialize_any(WholeVisitor)?;
    reader.end()?;
    Ok(value)
}

/// Parses the selected paths of JSON text.
pub(super) fn parse_selected(json: &[u8], selection: &PathSelection) -> Result<Rcvar, ValueError> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value = selection.0.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// A set of paths to parse out of JSON documents. It is built once and used for every document.
#[derive(Debug, Clone, PartialEq)]
pub struct PathSelection(SelectionNode);

impl PathSelection {
    /// Selects the whole document.
    pub const ALL: Self = Self(SelectionNode::All);

    /// Selects the values at paths of member names, from the top. An empty path selects everything.
    /// A list on the way has no members, so nothing in it is selected.
    pub fn of<'p>(paths: impl IntoIterator<Item = &'p [String]>) -> Self {
        let mut root = SelectionNode::Members(Vec::new());
        for path in paths {
            root.add(path);
        }
        Self(root)
    }

    /// Returns true if only members of an object are selected. Nothing of any other value is.
    #[must_use]
    pub fn selects_members(&self) -> bool {
        matches!(self.0, SelectionNode::Members(_))
    }

    /// Returns true if nothing is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, SelectionNode::Members(members) if members.is_empty())
    }
}

#[derive(Debug, Clone, PartialEq)]
enum SelectionNode {
    All,
    /// Selected members. They are few, so searching a list is faster than a tree.
    Members(Vec<(String, SelectionNode)>),
}

impl SelectionNode {
    fn add(&mut self, path: &[String]) {
        let Self::Members(members) = self else { return };
        // An empty path selects everything, so longer paths below it need no node.
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

impl<'de> DeserializeSeed<'de> for &SelectionNode {
    type Value = Rcvar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Rcvar, D::Error> {
        match self {
            SelectionNode::All => deserializer.deserialize_any(WholeVisitor),
            SelectionNode::Members(members) => deserializer.deserialize_any(MemberVisitor(members)),
        }
    }
}

struct WholeSeed;

impl<'de> DeserializeSeed<'de> for WholeSeed {
    type Value = Rcvar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Rcvar, D::Error> {
        deserializer.deserialize_any(WholeVisitor)
    }
}

/// The methods for scalars, which both visitors share.
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

/// Reads a whole value.
pub(super) struct WholeVisitor;

impl<'de> Visitor<'de> for WholeVisitor {
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

/// Reads the selected members of an object. A list is read as empty: every member of it is null
/// either way.
struct MemberVisitor<'s>(&'s [(String, SelectionNode)]);

impl<'de> Visitor<'de> for MemberVisitor<'_> {
    type Value = Rcvar;

    scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rcvar, A::Error> {
        // `IgnoredAny` checks the syntax without building values.
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Rcvar::new(Variable::Array(Vec::new())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rcvar, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(selected) = map.next_key_seed(MemberName(self.0))? {
            if let Some((name, node)) = selected {
                members.insert(name.clone(), map.next_value_seed(node)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Rcvar::new(Variable::Object(members)))
    }
}

/// Looks up a member's name among the selected ones, without copying it.
struct MemberName<'s>(&'s [(String, SelectionNode)]);

impl<'de, 's> DeserializeSeed<'de> for MemberName<'s> {
    type Value = Option<&'s (String, SelectionNode)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'s> Visitor<'_> for MemberName<'s> {
    type Value = Option<&'s (String, SelectionNode)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|(selected, _)| selected == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    fn path(text: &str) -> Vec<String> {
        text.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn integers_keep_every_digit() {
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
        // Unselected parts are skipped without recursion, so their nesting is not bounded.
        let a = PathSelection::of([path("a").as_slice()]);
        assert!(Value::parse_selected(deep(100_000).as_bytes(), &a).is_ok());
        let below = format!("{{\"a\":{}}}", deep(100_000));
        assert!(Value::parse_selected(below.as_bytes(), &a).is_err());
    }

    #[test]
    fn only_selected_paths_are_parsed() {
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
    fn unselected_parts_must_be_valid_json() {
        let next = PathSelection::of([path("next").as_slice()]);
        for broken in ["{\"next\":1,\"x\":}", "{\"next\":1} x", "{\"next\":1,\"x\":[1,}"] {
            assert!(Value::parse_selected(broken.as_bytes(), &next).is_err(), "{broken}");
        }
    }
}
