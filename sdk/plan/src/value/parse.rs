//! Parses JSON text into values, whole or only the selected paths.
//!
//! No value is lost: numbers keep their digits, and half a surrogate pair becomes U+FFFD.
//! Unselected parts are skipped, but are still checked to be valid JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::number::Number;
use super::scan::{JsonScanner, RawText, Token, ValueError};
use super::selection::{PathSelection, SelectedParts, SelectionNode};
use super::skip::NESTING_MAX;
use super::variable::{Rcvar, Variable};
use crate::pacing;

/// Approximate memory of one value beside its text: the value itself, its counters, the reference
/// to it, and what the allocator adds.
const VALUE_BYTES: usize = 80;
/// Approximate memory of one member beside its name: its share of the tree's nodes.
const MEMBER_BYTES: usize = 64;
/// Memory of a place in a list or object whose value is left out.
const PLACE_BYTES: usize = size_of::<Rcvar>();
/// Steps of [`pacing`] that reading one value counts as.
const VALUE_STEPS: u64 = 4;
/// Steps that are reported at once.
const PACED_STEPS: u64 = 4096;

/// Parses the selected paths of JSON text. Returns the value and its approximate size in memory.
pub(super) fn parse_selected(
    json: &[u8],
    selection: &PathSelection,
    max_bytes: usize,
) -> Result<(Rcvar, usize), ValueError> {
    let scanner = JsonScanner::at(json, 0);
    let mut parser = Parser { scanner, open: Vec::new(), bytes: 0, max_bytes, unpaced: 0, left_out: None };
    let value = parser.parse(&selection.0)?;
    parser.scanner.end()?;
    pacing::spend(parser.unpaced);
    Ok((value, parser.bytes))
}

/// A list or object that is being read. Nothing recurses, so that hostile nesting cannot overflow
/// the stack.
enum OpenValue<'s> {
    List {
        items: Vec<Rcvar>,
        /// The selected elements; `None` if all are.
        selected: Option<&'s SelectedParts>,
    },
    Object {
        members: BTreeMap<String, Rcvar>,
        /// Name of the member that is being read.
        name: String,
        /// The selected members; `None` if all are.
        selected: Option<&'s SelectedParts>,
    },
}

struct Parser<'t, 's> {
    scanner: JsonScanner<'t>,
    open: Vec<OpenValue<'s>>,
    /// Approximate size of what was built.
    bytes: usize,
    max_bytes: usize,
    /// Steps that were not reported to the pacer yet.
    unpaced: u64,
    /// The null in place of elements and members that are left out.
    left_out: Option<Rcvar>,
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
        let selected = match node {
            SelectionNode::All => None,
            SelectionNode::Parts(parts) => Some(parts),
        };
        self.pace();
        self.charge(VALUE_BYTES)?;
        if selected.is_some_and(|parts| !parts.includes_elements()) && self.scanner.peek() == Some(b'[') {
            // Every member of a list is null, so that it is read as empty.
            self.scanner.skip_value_below(self.open.len())?;
            return Ok(Some(Variable::Array(Vec::new())));
        }
        let opened = match self.scanner.token()? {
            Token::Null => return Ok(Some(Variable::Null)),
            Token::Bool(value) => return Ok(Some(Variable::Bool(value))),
            Token::Number(number) => return Ok(Some(Variable::Number(self.number(number)?))),
            Token::Text(text) => return Ok(Some(Variable::String(self.text(text)?))),
            Token::List => OpenValue::List { items: Vec::new(), selected },
            Token::Object => OpenValue::Object { members: BTreeMap::new(), name: String::new(), selected },
        };
        if self.open.len() >= NESTING_MAX {
            return Err(ValueError::TooDeep);
        }
        self.open.push(opened);
        Ok(None)
    }

    /// Moves to the next selected value of the innermost list or object; `None` behind its end.
    fn next_child(&mut self, first: bool) -> Result<Option<&'s SelectionNode>, ValueError> {
        match self.open.last() {
            None => Ok(None),
            Some(OpenValue::List { .. }) => self.next_element(first),
            Some(OpenValue::Object { .. }) => self.next_member(first),
        }
    }

    fn next_element(&mut self, mut first: bool) -> Result<Option<&'s SelectionNode>, ValueError> {
        while self.scanner.next_element(first)? {
            first = false;
            let Some(OpenValue::List { items, selected }) = self.open.last() else { return Ok(None) };
            let Some(parts) = *selected else { return Ok(Some(&SelectionNode::All)) };
            let index = items.len();
            if let Some(node) = parts.element(index) {
                return Ok(Some(node));
            }
            self.scanner.skip_value_below(self.open.len())?;
            if parts.keeps_place(index) {
                self.leave_out(String::new())?;
            }
        }
        Ok(None)
    }

    fn next_member(&mut self, mut first: bool) -> Result<Option<&'s SelectionNode>, ValueError> {
        while let Some(raw) = self.scanner.next_member(first)? {
            first = false;
            let Some(OpenValue::Object { selected, .. }) = self.open.last() else { return Ok(None) };
            let parts = *selected;
            let (next, node) = match parts.map(|parts| parts.find_member(|wanted| raw.is(wanted))) {
                None => (self.text(raw)?, &SelectionNode::All),
                Some(Some((wanted, node))) => (wanted.to_owned(), node),
                Some(None) => {
                    self.scanner.skip_value_below(self.open.len())?;
                    if parts.is_some_and(SelectedParts::keeps_names) {
                        let name = self.text(raw)?;
                        self.leave_out(name)?;
                    }
                    continue;
                }
            };
            self.charge(MEMBER_BYTES)?;
            if let Some(OpenValue::Object { name, .. }) = self.open.last_mut() {
                *name = next;
            }
            return Ok(Some(node));
        }
        Ok(None)
    }

    /// Adds a place for an element, or for the member of this name, that is left out.
    fn leave_out(&mut self, member: String) -> Result<(), ValueError> {
        self.pace();
        self.charge(PLACE_BYTES)?;
        let value = self.left_out.get_or_insert_with(|| Rcvar::new(Variable::Null)).clone();
        match self.open.last_mut() {
            Some(OpenValue::List { items, .. }) => items.push(value),
            Some(OpenValue::Object { members, .. }) => {
                members.insert(member, value);
                self.charge(MEMBER_BYTES)?;
            }
            None => {}
        }
        Ok(())
    }

    fn charge(&mut self, bytes: usize) -> Result<(), ValueError> {
        self.bytes += bytes;
        if self.bytes > self.max_bytes {
            return Err(ValueError::TooLarge { max_bytes: self.max_bytes });
        }
        Ok(())
    }

    /// Counts a value, so that long texts are read with pauses.
    fn pace(&mut self) {
        self.unpaced += VALUE_STEPS;
        if self.unpaced >= PACED_STEPS {
            pacing::spend(std::mem::take(&mut self.unpaced));
        }
    }

    /// Decodes a string that ends where the scanner is.
    fn text(&mut self, raw: RawText<'_>) -> Result<String, ValueError> {
        let not_utf8 =
            || ValueError::Syntax { what: "text that is not UTF-8", position: self.scanner.offset() };
        let text = raw.decode().map(Cow::into_owned).ok_or_else(not_utf8)?;
        self.charge(text.len())?;
        Ok(text)
    }

    fn number(&self, digits: &[u8]) -> Result<Number, ValueError> {
        // The scanner has checked that these are digits and signs.
        std::str::from_utf8(digits).map(Number::from_json).map_err(|_| self.scanner.fault("expected a digit"))
    }
}

impl OpenValue<'_> {
    fn add(&mut self, value: Rcvar) {
        match self {
            Self::List { items, .. } => items.push(value),
            // The last of equal names wins.
            Self::Object { members, name, .. } => {
                members.insert(std::mem::take(name), value);
            }
        }
    }

    fn close(self) -> Variable {
        match self {
            Self::List { items, .. } => Variable::Array(items),
            Self::Object { members, .. } => Variable::Object(members),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{PathSelection, ReadSegment, Value, ValueError};

    /// Reads a path: `*` is every element, `#` the size, and a number an index.
    fn path(text: &str) -> Vec<ReadSegment> {
        let segment = |part: &str| match part.parse() {
            Ok(index) => ReadSegment::Index(index),
            Err(_) if part == "*" => ReadSegment::Every,
            Err(_) if part == "#" => ReadSegment::Size,
            Err(_) => ReadSegment::Member(part.to_owned()),
        };
        text.split('.').filter(|part| !part.is_empty()).map(segment).collect()
    }

    fn selected(json: &[u8], paths: &[&str]) -> String {
        let paths: Vec<_> = paths.iter().map(|text| path(text)).collect();
        let selection = PathSelection::of(paths.iter().map(Vec::as_slice));
        String::from_utf8(Value::parse_selected(json, &selection).unwrap().to_json()).unwrap()
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
        let read = |paths: &[&str]| selected(json, paths);
        assert_eq!(read(&[]), "{}");
        assert_eq!(read(&["next", "meta.b"]), r#"{"meta":{"b":{"c":2}},"next":"n"}"#);
        assert_eq!(read(&["meta.b.c", "meta"]), r#"{"meta":{"a":1,"b":{"c":2}}}"#);
        assert_eq!(read(&["name", "items"]), r#"{"items":[1,2],"name":"x"}"#);
        assert_eq!(read(&["items.a"]), r#"{"items":[]}"#);
        assert!(read(&[""]).contains("\"b\":{\"c\":2}"));
    }

    #[test]
    fn lists_are_parsed_as_far_as_they_are_selected() {
        let json = br#"[{"a":1,"b":[2,3]},[4],5,{"a":6}]"#;
        let read = |paths: &[&str]| selected(json, paths);
        assert_eq!(read(&["*.a"]), r#"[{"a":1},[],5,{"a":6}]"#);
        assert_eq!(read(&["1"]), "[null,[4]]");
        assert_eq!(read(&["0.b.#", "3"]), r#"[{"b":[null,null]},null,null,{"a":6}]"#);
        assert_eq!(read(&["-1.a"]), read(&["*.a"]), "the length is not known before");
        assert_eq!(read(&["*.b.1"]), r#"[{"b":[null,3]},[],5,{}]"#);
        assert_eq!(read(&["2", "*.b.1"]), r#"[{"a":1,"b":[2,3]},[4],5,{"a":6}]"#, "2 and * are one");
        assert_eq!(read(&["#"]), "[null,null,null,null]");
        assert_eq!(read(&["#", "9"]), "[null,null,null,null]");
        assert_eq!(read(&["a", "#"]), "[null,null,null,null]");
        let object = br#"{"a":{"b":1,"c":{}},"d":"text"}"#;
        assert_eq!(selected(object, &["#", "a.c"]), r#"{"a":{"c":{}},"d":null}"#);
        assert_eq!(selected(object, &["a.#", "d.#"]), r#"{"a":{"b":null,"c":null},"d":"text"}"#);
    }

    #[test]
    fn memory_of_values_is_counted_and_bounded() {
        let json = format!("[{}1]", "{\"id\":\"abcdefgh\"},".repeat(999));
        let (_, bytes) = Value::parse_within(json.as_bytes(), &PathSelection::ALL, usize::MAX).unwrap();
        assert!((100_000..400_000).contains(&bytes), "{bytes}");
        let refused = Value::parse_within(json.as_bytes(), &PathSelection::ALL, bytes - 1).unwrap_err();
        assert_eq!(refused, ValueError::TooLarge { max_bytes: bytes - 1 });
        let size = PathSelection::of([[ReadSegment::Size].as_slice()]);
        let (list, bytes) = Value::parse_within(json.as_bytes(), &size, 10_000).unwrap();
        assert_eq!(list.length(), Some(1000));
        assert!(bytes < 10_000, "{bytes}");
    }

    #[test]
    fn long_texts_are_read_with_pauses() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicU64, Ordering};

        struct CountedPauses(AtomicU64);
        impl crate::Pacer for CountedPauses {
            fn pause(&self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let pauses = Arc::new(CountedPauses(AtomicU64::new(0)));
        let json = format!("[{}1]", "1,".repeat(200_000));
        crate::paced(pauses.clone(), || Value::parse(json.as_bytes()).unwrap());
        assert_eq!(pauses.0.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn unselected_parts_must_be_valid_json() {
        let next = PathSelection::of([path("next").as_slice()]);
        for broken in ["{\"next\":1,\"x\":}", "{\"next\":1} x", "{\"next\":1,\"x\":[1,}"] {
            assert!(Value::parse_selected(broken.as_bytes(), &next).is_err(), "{broken}");
        }
    }
}
