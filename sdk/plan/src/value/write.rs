//! Writes values as JSON: numbers with every digit, doubles in their shortest exact form, members
//! sorted by name.

use std::io::Write as _;

use super::number::Number;
use super::variable::Variable;

/// The text would be longer than permitted.
#[derive(Debug)]
pub(crate) struct JsonTooLong;

/// Appends a value as JSON text without white space.
pub(super) fn append_json(value: &Variable, out: &mut Vec<u8>) {
    // Cannot fail: no text is that long.
    let _unbounded = append_bounded(value, out, usize::MAX);
}

/// Appends a value as JSON text, as long as `out` stays within `max` bytes.
///
/// Recursion is safe: values are nested at most as deep as JSON that is read.
pub(crate) fn append_bounded(value: &Variable, out: &mut Vec<u8>, max: usize) -> Result<(), JsonTooLong> {
    match value {
        Variable::Null => out.extend_from_slice(b"null"),
        Variable::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Variable::Number(number) => append_number(number, out),
        Variable::String(text) => append_text(text, out),
        Variable::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                append_bounded(item, out, max)?;
            }
            out.push(b']');
        }
        Variable::Object(members) => {
            out.push(b'{');
            for (index, (name, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                append_text(name, out);
                out.push(b':');
                append_bounded(member, out, max)?;
            }
            out.push(b'}');
        }
    }
    if out.len() > max { Err(JsonTooLong) } else { Ok(()) }
}

fn append_number(number: &Number, out: &mut Vec<u8>) {
    // Cannot fail: the sink is memory.
    let written = match number {
        Number::Double(double) => serde_json::to_writer(&mut *out, double).map_err(std::io::Error::from),
        Number::Signed(_) | Number::Unsigned(_) | Number::Exact(_) => write!(out, "{number}"),
    };
    debug_assert!(written.is_ok());
}

fn append_text(text: &str, out: &mut Vec<u8>) {
    // Cannot fail: the sink is memory, and the text is valid.
    let written = serde_json::to_writer(&mut *out, text);
    debug_assert!(written.is_ok());
}

/// Returns the value as templates insert it into text, or `None` for null, lists and objects.
pub(super) fn text_of(value: &Variable) -> Option<String> {
    match value {
        Variable::String(text) => Some(text.clone()),
        Variable::Bool(value) => Some(value.to_string()),
        Variable::Number(number) => Some(number_text(number)),
        Variable::Null | Variable::Array(_) | Variable::Object(_) => None,
    }
}

/// Returns the shortest text that parses as the same number. Integral doubles below 10^15 have no
/// fraction.
fn number_text(number: &Number) -> String {
    match number {
        Number::Double(double) if double.fract() == 0.0 && double.abs() < 1e15 => format!("{double:.0}"),
        other => other.to_string(),
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
            ("1E400", "1E400"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
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
