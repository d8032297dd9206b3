//! Writes values as JSON: integers with every digit, doubles in their shortest exact form, members
//! sorted by name.

use jmespath::Variable;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Number;

/// Appends a value as JSON text without white space.
pub(super) fn append_json(value: &Variable, out: &mut Vec<u8>) {
    // Cannot fail: the sink is memory, names are text, and numbers are finite.
    let written = serde_json::to_writer(&mut *out, &SerializedVariable(value));
    debug_assert!(written.is_ok());
}

/// Returns the value as templates insert it into text, or `None` for null, lists and objects.
pub(super) fn text_of(value: &Variable) -> Option<String> {
    match value {
        Variable::String(text) => Some(text.clone()),
        Variable::Bool(value) => Some(value.to_string()),
        Variable::Number(number) => Some(number_text(number)),
        _ => None,
    }
}

/// Serializes a borrowed JMESPath value.
pub(crate) struct SerializedVariable<'v>(pub(crate) &'v Variable);

impl Serialize for SerializedVariable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Variable::Null | Variable::Expref(_) => serializer.serialize_unit(),
            Variable::Bool(value) => serializer.serialize_bool(*value),
            Variable::Number(number) => number.serialize(serializer),
            Variable::String(text) => serializer.serialize_str(text),
            Variable::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&SerializedVariable(item))?;
                }
                list.end()
            }
            Variable::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, &SerializedVariable(value))?;
                }
                map.end()
            }
        }
    }
}

/// Returns the shortest text that parses as the same number. Integral doubles below 10^15 have no
/// fraction.
fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(double) if number.is_f64() && double.fract() == 0.0 && double.abs() < 1e15 => {
            format!("{double:.0}")
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::Value;

    #[test]
    fn numbers_in_text_are_short_and_exact() {
        for (json, text) in [
            ("5.0", "5"),
            ("0.1", "0.1"),
            ("18446744073709551615", "18446744073709551615"),
            ("1e21", "1e+21"),
            ("-3", "-3"),
            ("true", "true"),
        ] {
            assert_eq!(Value::parse(json.as_bytes()).unwrap().to_text().as_deref(), Some(text));
        }
        assert_eq!(Value::parse(b"[1]").unwrap().to_text(), None);
        assert_eq!(Value::null().to_text(), None);
    }

    #[test]
    fn json_round_trips() {
        let json = r#"{"a":[1,-2,0.5,"\u0000\"\n",null,true],"b":{},"c":"ü"}"#;
        assert_eq!(String::from_utf8(Value::parse(json.as_bytes()).unwrap().to_json()).unwrap(), json);
    }
}
