//! JMESPath's values: what the interpreter and the functions work on.
//!
//! The parser's crate has a type for values too. It holds numbers as doubles or 64-bit integers;
//! this one keeps every number.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::number::Number;

/// A shared value.
pub(crate) type Rcvar = Arc<Variable>;

/// A JSON value whose parts are shared.
#[derive(Clone, Debug)]
pub(crate) enum Variable {
    Null,
    String(String),
    Bool(bool),
    Number(Number),
    Array(Vec<Rcvar>),
    Object(BTreeMap<String, Rcvar>),
}

impl Variable {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) fn is_string(&self) -> bool {
        matches!(self, Self::String(_))
    }

    pub(crate) fn is_array(&self) -> bool {
        matches!(self, Self::Array(_))
    }

    pub(crate) fn as_string(&self) -> Option<&String> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    pub(crate) fn as_boolean(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    pub(crate) fn as_object(&self) -> Option<&BTreeMap<String, Rcvar>> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }

    /// Returns the member of this name, or null.
    pub(crate) fn get_field(&self, name: &str) -> Rcvar {
        self.as_object().and_then(|members| members.get(name)).cloned().unwrap_or_else(null)
    }

    /// Returns the element at this index, or null.
    pub(crate) fn get_index(&self, index: usize) -> Rcvar {
        let Self::Array(items) = self else { return null() };
        items.get(index).cloned().unwrap_or_else(null)
    }

    /// Returns the element at this distance from the end, or null. The last element has distance 1.
    pub(crate) fn get_negative_index(&self, distance: usize) -> Rcvar {
        let Self::Array(items) = self else { return null() };
        items.len().checked_sub(distance.max(1)).map_or_else(null, |index| self.get_index(index))
    }

    /// Returns the value as a condition: null, false, `""`, `[]` and `{}` are false.
    pub(crate) fn is_truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::String(text) => !text.is_empty(),
            Self::Array(items) => !items.is_empty(),
            Self::Object(members) => !members.is_empty(),
            Self::Number(_) => true,
        }
    }

    /// Returns the type's name in JMESPath.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// Returns JMESPath's order of two numbers or two texts; other values have none.
    pub(crate) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Some(a.compare(b)),
            (Self::String(a), Self::String(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// Returns whether two scalars are equal for JMESPath. Lists and objects are never equal here:
    /// comparing them costs steps.
    pub(crate) fn equals_scalar(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Number(a), Self::Number(b)) if a.is_exact() || b.is_exact() => {
                a.compare_exactly(b) == Ordering::Equal
            }
            (Self::Number(a), Self::Number(b)) => nearly_equal(a.as_f64(), b.as_f64()),
            _ => false,
        }
    }
}

/// Compares two doubles with the tolerance of JMESPath's implementations, for which
/// 0.7100000000000002 equals 0.71.
fn nearly_equal(a: f64, b: f64) -> bool {
    let difference = (a - b).abs();
    if a == b {
        true
    } else if !a.is_normal() || !b.is_normal() {
        // A relative error means little beside zero.
        difference < f64::EPSILON * f64::MIN_POSITIVE
    } else {
        difference / (a.abs() + b.abs()) < f64::EPSILON
    }
}

/// Converts a literal that the parser's crate has read.
impl From<&jmespath::Variable> for Variable {
    fn from(literal: &jmespath::Variable) -> Self {
        match literal {
            jmespath::Variable::Null | jmespath::Variable::Expref(_) => Self::Null,
            jmespath::Variable::Bool(value) => Self::Bool(*value),
            jmespath::Variable::String(text) => Self::String(text.clone()),
            jmespath::Variable::Number(number) => Self::Number(number.into()),
            jmespath::Variable::Array(items) => {
                Self::Array(items.iter().map(|item| Rcvar::new(Self::from(&**item))).collect())
            }
            jmespath::Variable::Object(members) => {
                let member = |(name, value): (&String, &jmespath::Rcvar)| {
                    (name.clone(), Rcvar::new(Self::from(&**value)))
                };
                Self::Object(members.iter().map(member).collect())
            }
        }
    }
}

fn null() -> Rcvar {
    Rcvar::new(Variable::Null)
}
