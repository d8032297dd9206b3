//! JSON values as expressions see them: immutable, cheap to clone, with the value of every number.

use std::collections::BTreeMap;
use std::fmt;

use super::number::Number;
use super::parse::parse_selected;
use super::scan::ValueError;
use super::selection::PathSelection;
use super::variable::{Rcvar, Variable};
use super::write::{append_json, text_of};

/// A JSON value.
#[derive(Clone)]
pub struct Value(Rcvar);

/// The JSON type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonType {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// Any number.
    Number,
    /// A string.
    Text,
    /// A list.
    List,
    /// An object.
    Object,
}

impl fmt::Display for JsonType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "boolean",
            Self::Number => "number",
            Self::Text => "text",
            Self::List => "list",
            Self::Object => "object",
        })
    }
}

impl Value {
    /// Returns JSON null.
    #[must_use]
    pub fn null() -> Self {
        Self(Rcvar::new(Variable::Null))
    }

    /// Creates a list.
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self(Rcvar::new(Variable::Array(items.into_iter().map(|item| item.0).collect())))
    }

    /// Creates an object. The last of equal names wins.
    pub fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Self)>) -> Self {
        let members: BTreeMap<_, _> =
            members.into_iter().map(|(name, value)| (name.into(), value.0)).collect();
        Self(Rcvar::new(Variable::Object(members)))
    }

    /// Creates a decimal number, or null if the number is not finite.
    #[must_use]
    pub fn decimal(number: f64) -> Self {
        Self(Rcvar::new(Number::from_f64(number).map_or(Variable::Null, Variable::Number)))
    }

    /// Creates a number from JSON text, or returns `None` if the text is no number.
    #[must_use]
    pub fn number(text: &str) -> Option<Self> {
        Number::parse(text).map(|number| Self(Rcvar::new(Variable::Number(number))))
    }

    /// Parses JSON text. Numbers keep their value, whatever their size; half a surrogate pair
    /// becomes U+FFFD.
    ///
    /// # Errors
    /// Fails if the text is not valid JSON, or is nested deeper than [`super::NESTING_MAX`] levels.
    pub fn parse(json: &[u8]) -> Result<Self, ValueError> {
        Self::parse_selected(json, &PathSelection::ALL)
    }

    /// Parses only the selected paths. Everything else of lists and objects is left out.
    ///
    /// # Errors
    /// Fails as [`Value::parse`] does.
    pub fn parse_selected(json: &[u8], selection: &PathSelection) -> Result<Self, ValueError> {
        Self::parse_within(json, selection, usize::MAX).map(|(value, _)| value)
    }

    /// Parses only the selected paths into values that take at most about `max_bytes` of memory.
    /// Returns how much they take, too.
    ///
    /// # Errors
    /// Fails as [`Value::parse`] does, and with [`ValueError::TooLarge`].
    pub fn parse_within(
        json: &[u8],
        selection: &PathSelection,
        max_bytes: usize,
    ) -> Result<(Self, usize), ValueError> {
        let (value, bytes) = parse_selected(json, selection, max_bytes)?;
        Ok((Self(value), bytes))
    }

    /// Returns the value as JSON text without white space.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(64);
        self.write_json(&mut json);
        json
    }

    /// Appends the value as JSON text.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        append_json(&self.0, out);
    }

    /// Returns the value as templates insert it into text: text unchanged, numbers in their
    /// shortest exact form. Returns `None` for null, lists and objects.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        text_of(&self.0)
    }

    /// Returns the JSON type.
    #[must_use]
    pub fn json_type(&self) -> JsonType {
        json_type_of(&self.0)
    }

    /// Returns true if the value is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(*self.0, Variable::Null)
    }

    /// Returns the value as a JMESPath condition: null, false, `""`, `[]` and `{}` are false, all
    /// others are true.
    #[must_use]
    pub fn truthy(&self) -> bool {
        self.0.is_truthy()
    }

    /// Returns the text, if the value is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &*self.0 {
            Variable::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the boolean, if the value is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        self.0.as_boolean()
    }

    /// Returns the number, if it is an integer in the range of `i64`.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match &*self.0 {
            Variable::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// Returns the number, if it is an integer in the range of `u64`.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match &*self.0 {
            Variable::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// Returns the nearest double, if the value is a number; beyond the range of doubles it is
    /// infinite.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match &*self.0 {
            Variable::Number(number) => Some(number.as_f64()),
            _ => None,
        }
    }

    /// Returns the number of elements, members or characters, or `None` for null, booleans and
    /// numbers.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        match &*self.0 {
            Variable::Array(items) => Some(items.len()),
            Variable::Object(members) => Some(members.len()),
            Variable::String(text) => Some(text.chars().count()),
            _ => None,
        }
    }

    /// Returns the elements, if the value is a list.
    #[must_use]
    pub fn items(&self) -> Option<impl ExactSizeIterator<Item = Self> + '_> {
        match &*self.0 {
            Variable::Array(items) => Some(items.iter().map(|item| Self(item.clone()))),
            _ => None,
        }
    }

    /// Returns the members sorted by name, if the value is an object.
    #[must_use]
    pub fn members(&self) -> Option<impl ExactSizeIterator<Item = (&str, Self)> + '_> {
        match &*self.0 {
            Variable::Object(members) => {
                Some(members.iter().map(|(name, value)| (name.as_str(), Self(value.clone()))))
            }
            _ => None,
        }
    }

    /// Returns the member of this name, or null.
    #[must_use]
    pub fn member(&self, name: &str) -> Self {
        Self(self.0.get_field(name))
    }

    /// Returns the element at this index, or null.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(self.0.get_index(index))
    }

    pub(crate) fn rcvar(&self) -> &Rcvar {
        &self.0
    }
}

impl From<Rcvar> for Value {
    fn from(value: Rcvar) -> Self {
        Self(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self(Rcvar::new(Variable::Bool(value)))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::from(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self(Rcvar::new(Variable::String(value)))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self(Rcvar::new(Variable::Number(value.into())))
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self(Rcvar::new(Variable::Number(value.into())))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::from(u64::from(value))
    }
}

impl From<Option<Value>> for Value {
    fn from(value: Option<Value>) -> Self {
        value.unwrap_or_else(Self::null)
    }
}

impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::null(),
            serde_json::Value::Bool(value) => Self::from(*value),
            serde_json::Value::Number(number) => Self(Rcvar::new(Variable::Number(number.into()))),
            serde_json::Value::String(text) => Self::from(text.as_str()),
            serde_json::Value::Array(items) => Self::list(items.iter().map(Self::from)),
            serde_json::Value::Object(members) => {
                Self::object(members.iter().map(|(name, value)| (name.as_str(), Self::from(value))))
            }
        }
    }
}

/// Exact equality: numbers compare by every digit, and an integer never equals a decimal.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        equal_exactly(&self.0, &other.0)
    }
}

fn equal_exactly(a: &Variable, b: &Variable) -> bool {
    match (a, b) {
        (Variable::Null, Variable::Null) => true,
        (Variable::Bool(a), Variable::Bool(b)) => a == b,
        (Variable::Number(a), Variable::Number(b)) => a.is_same(b),
        (Variable::String(a), Variable::String(b)) => a == b,
        (Variable::Array(a), Variable::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal_exactly(a, b))
        }
        (Variable::Object(a), Variable::Object(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|((a_name, a), (b_name, b))| a_name == b_name && equal_exactly(a, b))
        }
        _ => false,
    }
}

/// Returns the JSON type of a JMESPath value.
pub(crate) fn json_type_of(value: &Variable) -> JsonType {
    match value {
        Variable::Null => JsonType::Null,
        Variable::Bool(_) => JsonType::Bool,
        Variable::Number(_) => JsonType::Number,
        Variable::String(_) => JsonType::Text,
        Variable::Array(_) => JsonType::List,
        Variable::Object(_) => JsonType::Object,
    }
}

/// Prints only type and length, because values can be secret.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length() {
            Some(length) => write!(f, "Value({} of {length})", self.json_type()),
            None => write!(f, "Value({})", self.json_type()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truthiness_follows_jmespath() {
        for (json, truth) in [
            ("null", false),
            ("false", false),
            ("\"\"", false),
            ("[]", false),
            ("{}", false),
            ("0", true),
            ("true", true),
            ("\"a\"", true),
            ("[null]", true),
            ("{\"a\":null}", true),
        ] {
            assert_eq!(Value::parse(json.as_bytes()).unwrap().truthy(), truth, "{json}");
        }
    }

    #[test]
    fn equality_distinguishes_adjacent_integers() {
        assert_ne!(Value::from(9_007_199_254_740_993_i64), Value::from(9_007_199_254_740_992_i64));
        assert_eq!(Value::from(5_u64), Value::from(5_i64));
        assert_ne!(Value::decimal(5.0), Value::from(5_i64));
    }
}
