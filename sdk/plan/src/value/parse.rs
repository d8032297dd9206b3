//! Parses JSON text into values, whole or only the selected paths.
//!
//! No value is lost: numbers keep their digits, and half a surrogate pair becomes U+FFFD.
//! Unselected parts are skipped, but are still checked to be valid JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::number::Number;
use super::scan::{JsonScanner, NESTING_MAX, RawText, Token, ValueError};
use super::selection::{PathSelection, SelectionNode};
use super::variable::{Rcvar, Variable};

/// Parses the selected paths of JSON text.
pub(super) fn parse_selected(json: &[u8], selection: &PathSelection) -> Result<Rcvar, ValueError> {
    let mut parser = Parser { scanner: JsonScanner::at(json, 0), open: Vec::new() };
    let value = parser.parse(&selection.0)?;
    parser.scanner.end()?;
    Ok(value)
}

/// A list or object that is being read. Nothing recurses, so that hostile nesting cannot overflow
/// the stack.
enum OpenValue<'s> {
    List(Vec<Rcvar>),
    Object {
        members: BTreeMap<String, Rcvar>,
        /// Name of the member that is being read.
        name: String,
        /// The selected members; `None` if all are.
        selected: Option<&'s [(String, SelectionNode)]>,
    },
}

struct Parser<'t, 's> {
    scanner: JsonScanner<'t>,
    open: Vec<OpenValue<'s>>,
}

impl<'s> Parser<'_, 's> {
    fn parse(&mut self, root: &'s SelectionNode) -> Result<Rcvar, ValueError> {
        let mut node = root;
        loop {
            let mut ended = self.begin(node)?;
            // An ended value is put into the list or object around it, which may end behind it.
            node = loop {
                let first = ended.is_none();
                if let Some(value) = ended.take() {
                    match self.open.last_mut() {
                        Some(around) => around.add(Rcvar::new(value)),
                        None => return Ok(Rcvar::new(value)),
                    }
                }
                match self.next_child(first)? {
                    Some(child) => break child,
                    None => ended = self.open.pop().map(OpenValue::close),
                }
            };
        }
    }

    /// Reads a scalar, or opens a list or object and returns `None`.
    fn begin(&mut self, node: &'s SelectionNode) -> Result<Option<Variable>, ValueError> {
        self.scanner.skip_space();
        if matches!(node, SelectionNode::Members(_)) && self.scanner.peek() == Some(b'[') {
            // Every member of a list is null, so that it is read as empty.
            self.scanner.skip_value_below(self.open.len())?;
            return Ok(Some(Variable::Array(Vec::new())));
        }
        let opened = match self.scanner.token()? {
            Token::Null => return Ok(Some(Variable::Null)),
            Token::Bool(value) => return Ok(Some(Variable::Bool(value))),
            Token::Number(number) => return Ok(Some(Variable::Number(self.number(number)?))),
            Token::Text(text) => return Ok(Some(Variable::String(text_of(&self.scanner, text)?))),
            Token::List => OpenValue::List(Vec::new()),
            Token::Object => {
                let selected = match node {
                    SelectionNode::All => None,
                    SelectionNode::Members(members) => Some(members.as_slice()),
                };
                OpenValue::Object { members: BTreeMap::new(), name: String::new(), selected }
            }
        };
        if self.open.len() >= NESTING_MAX {
            return Err(ValueError::TooDeep);
        }
        self.open.push(opened);
        Ok(None)
    }

    /// Moves to the next selected value of the innermost list or object; `None` behind its end.
    fn next_child(&mut self, mut first: bool) -> Result<Option<&'s SelectionNode>, ValueError> {
        let Self { scanner, open } = self;
        let levels = open.len();
        match open.last_mut() {
            None => Ok(None),
            Some(OpenValue::List(_)) => Ok(scanner.next_element(first)?.then_some(&SelectionNode::All)),
            Some(OpenValue::Object { name, selected, .. }) => {
                while let Some(raw) = scanner.next_member(first)? {
                    first = false;
                    let Some(wanted) = selected else {
                        *name = text_of(scanner, raw)?;
                        return Ok(Some(&SelectionNode::All));
                    };
                    if let Some((wanted, node)) = wanted.iter().find(|(wanted, _)| raw.is(wanted)) {
                        name.clone_from(wanted);
                        return Ok(Some(node));
                    }
                    scanner.skip_value_below(levels)?;
                }
                Ok(None)
            }
        }
    }

    fn number(&self, digits: &[u8]) -> Result<Number, ValueError> {
        // The scanner has checked that these are digits and signs.
        std::str::from_utf8(digits).map(Number::from_json).map_err(|_| self.scanner.fault("expected a digit"))
    }
}

/// Decodes a string that ends where the scanner is.
fn text_of(scanner: &JsonScanner<'_>, raw: RawText<'_>) -> Result<String, ValueError> {
    let not_utf8 = || ValueError::Syntax { what: "text that is not UTF-8", position: scanner.offset() };
    raw.decode().map(Cow::into_owned).ok_or_else(not_utf8)
}

impl OpenValue<'_> {
    fn add(&mut self, value: Rcvar) {
        match self {
            Self::List(items) => items.push(value),
            // The last of equal names wins.
            Self::Object { members, name, .. } => {
                members.insert(std::mem::take(name), value);
            }
        }
    }

    fn close(self) -> Variable {
        match self {
            Self::List(items) => Variable::Array(items),
            Self::Object { members, .. } => Variable::Object(members),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{PathSelection, Value};

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
        let a = PathSelection::of([path("a").as_slice()]);
        for (json, levels) in [
            (deep(1000), 1000),
            (deep(1001), 1001),
            (deep(100_000), 100_000),
            (format!("{{\"a\":{}}}", deep(999)), 1000),
            (format!("{{\"a\":{}}}", deep(1000)), 1001),
            (format!("{{\"b\":{}}}", deep(999)), 1000),
            (format!("{{\"b\":{}}}", deep(1000)), 1001),
            (format!("{{\"b\":{}}}", "{\"x\":".repeat(999) + "1" + &"}".repeat(999)), 1000),
        ] {
            // The limit is the same for selected parts, and for those that are skipped.
            assert_eq!(Value::parse(json.as_bytes()).is_ok(), levels <= 1000, "{levels}");
            assert_eq!(Value::parse_selected(json.as_bytes(), &a).is_ok(), levels <= 1000, "{levels}");
        }
    }

    #[test]
    fn values_beyond_doubles_and_half_surrogates_are_read() {
        for (json, written) in [
            (r#"{"t":"cut \ud83d","n":1E400}"#, "{\"n\":1E400,\"t\":\"cut \u{fffd}\"}"),
            (
                r#"{"\udc00":[123456789012345678901234567890]}"#,
                "{\"\u{fffd}\":[123456789012345678901234567890]}",
            ),
            ("-0.1234567890123456789012345", "-0.1234567890123456789012345"),
        ] {
            assert_eq!(String::from_utf8(Value::parse(json.as_bytes()).unwrap().to_json()).unwrap(), written);
        }
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
