//! XML as JSON.
//!
//! In: a text. Out: the JSON of an object whose one member is the root element. Attributes become members `@name`, the
//! elements inside an element members of their names, repeated ones a list; an element with nothing but text is that text,
//! one with neither is null, and text beside attributes or elements is `#text`. Prefixes and the declarations of their
//! namespaces are dropped. No document type is read: entities are the five of XML and numbers of characters, and nothing
//! is fetched or expanded.

use std::collections::{HashMap, HashSet};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion, escape};

use super::DecodeError;

/// Elements inside each other at most: as JSON, with a list around each, they nest within what is parsed (127 levels).
const DEPTH_MAX: usize = 60;

/// Members up to which looking through them is faster than an index.
const UNINDEXED_MAX: usize = 8;

/// The JSON of a document. Elements whose name is one of `arrays` are lists also where there is one of them.
pub(super) fn to_json(text: &str, arrays: &[String]) -> Result<Vec<u8>, DecodeError> {
    let mut reader = Reader::from_str(text);
    let mut tree = Tree::new(arrays);
    loop {
        let (place, step) = match reader.read_event() {
            Ok(Event::Eof) => break,
            Ok(event) => (reader.buffer_position(), tree.take(&event)),
            Err(error) => (reader.error_position(), Err(error.to_string())),
        };
        step.map_err(|what| fault(text, usize::try_from(place).unwrap_or(text.len()), what))?;
    }
    tree.finish().map_err(|what| fault(text, text.len(), what))
}

fn fault(text: &str, place: usize, what: String) -> DecodeError {
    let before = &text.as_bytes()[..place.min(text.len())];
    DecodeError::Xml { line: 1 + before.iter().filter(|byte| **byte == b'\n').count(), what }
}

/// What is open, and what was closed of it.
struct Tree<'a> {
    arrays: HashSet<&'a str>,
    open: Vec<Element>,
    root: Members,
}

/// An element that is open.
struct Element {
    name: String,
    members: Members,
    text: String,
    /// The part of the text that stays as it is, since it was escaped: white space around it is dropped.
    kept: Option<(usize, usize)>,
}

/// Members of an object, in the order in which they came.
#[derive(Default)]
struct Members {
    list: Vec<Member>,
    /// Places by name, where there are many.
    index: HashMap<String, usize>,
}

struct Member {
    name: String,
    /// Its values as JSON, with commas between them.
    values: Vec<u8>,
    is_list: bool,
}

type Step = Result<(), String>;

impl<'a> Tree<'a> {
    fn new(arrays: &'a [String]) -> Tree<'a> {
        let arrays = arrays.iter().map(String::as_str).collect();
        Tree { arrays, open: Vec::new(), root: Members::default() }
    }

    fn take(&mut self, event: &Event<'_>) -> Step {
        match event {
            Event::Start(start) => self.begin(start),
            Event::Empty(start) => {
                self.begin(start)?;
                self.end();
                Ok(())
            }
            Event::End(_) => {
                self.end();
                Ok(())
            }
            Event::Text(text) => self.text(&text.xml10_content(), false),
            Event::CData(text) => self.text(&text.xml10_content(), true),
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(character)) => self.text(character.encode_utf8(&mut [0; 4]), true),
                Ok(None) => match escape::resolve_xml_entity(reference) {
                    Some(text) => self.text(text, true),
                    None => Err(format!("it has the entity &{};, which nobody knows", short(reference))),
                },
                Err(error) => Err(error.to_string()),
            },
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Eof => Ok(()),
        }
    }

    fn begin(&mut self, start: &BytesStart<'_>) -> Step {
        let name = start.local_name().as_ref().to_owned();
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("it is nested deeper than {DEPTH_MAX} elements"));
        }
        if self.open.is_empty() && !self.root.list.is_empty() {
            return Err(format!("a second root element follows, <{}>", short(&name)));
        }
        let mut members = Members::default();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let value =
                attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
            members.add(&format!("@{}", attribute.key.local_name().as_ref()), &string(&value), false);
        }
        self.open.push(Element { name, members, text: String::new(), kept: None });
        Ok(())
    }

    fn end(&mut self) {
        let Some(element) = self.open.pop() else { return };
        let is_list = self.arrays.contains(element.name.as_str());
        let (name, json) = element.into_json();
        let around = self.open.last_mut().map_or(&mut self.root, |parent| &mut parent.members);
        around.add(&name, &json, is_list);
    }

    fn text(&mut self, text: &str, escaped: bool) -> Step {
        let Some(element) = self.open.last_mut() else {
            return match text.trim_matches(SPACE).is_empty() && !escaped {
                true => Ok(()),
                false => Err("text stands outside of its root element".to_owned()),
            };
        };
        let start = element.text.len();
        element.text.push_str(text);
        if escaped {
            let first = element.kept.map_or(start, |(first, _)| first);
            element.kept = Some((first, element.text.len()));
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<u8>, String> {
        if let Some(element) = self.open.last() {
            return Err(format!("it ends inside of <{}>", short(&element.name)));
        }
        if self.root.list.is_empty() {
            return Err("it has no element".to_owned());
        }
        Ok(self.root.into_json())
    }
}

impl Element {
    fn into_json(mut self) -> (String, Vec<u8>) {
        let json = match (self.own_text(), self.members.list.is_empty()) {
            (None, true) => b"null".to_vec(),
            (Some(text), true) => string(text),
            (None, false) => self.members.into_json(),
            (Some(text), false) => {
                let text = string(text);
                self.members.add("#text", &text, false);
                self.members.into_json()
            }
        };
        (self.name, json)
    }

    /// Its text without the white space around it; none where nothing else is there.
    fn own_text(&self) -> Option<&str> {
        let leading = self.text.len() - self.text.trim_start_matches(SPACE).len();
        let trailing = self.text.trim_end_matches(SPACE).len();
        match self.kept {
            Some((first, last)) => self.text.get(leading.min(first)..trailing.max(last)),
            None => self.text.get(leading..trailing).filter(|text| !text.is_empty()),
        }
    }
}

impl Members {
    fn add(&mut self, name: &str, value: &[u8], is_list: bool) {
        let place = if self.index.is_empty() {
            self.list.iter().position(|member| member.name == name)
        } else {
            self.index.get(name).copied()
        };
        if let Some(member) = place.and_then(|place| self.list.get_mut(place)) {
            member.is_list = true;
            member.values.push(b',');
            member.values.extend_from_slice(value);
            return;
        }
        self.list.push(Member { name: name.to_owned(), values: value.to_vec(), is_list });
        if self.list.len() > UNINDEXED_MAX {
            let known = self.index.len();
            let new = self.list.iter().enumerate().skip(known);
            self.index.extend(new.map(|(place, member)| (member.name.clone(), place)));
        }
    }

    fn into_json(self) -> Vec<u8> {
        let length: usize = self.list.iter().map(|member| member.name.len() + member.values.len() + 6).sum();
        let mut json = Vec::with_capacity(length + 2);
        json.push(b'{');
        for member in self.list {
            if json.len() > 1 {
                json.push(b',');
            }
            json.extend(string(&member.name));
            json.push(b':');
            if member.is_list {
                json.push(b'[');
            }
            json.extend_from_slice(&member.values);
            if member.is_list {
                json.push(b']');
            }
        }
        json.push(b'}');
        json
    }
}

/// White space of XML (1.0, 2.3).
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// A JSON string. Writing into memory cannot fail.
fn string(text: &str) -> Vec<u8> {
    serde_json::to_vec(text).unwrap_or_default()
}

/// As much of a name as an error says.
fn short(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<String, String> {
        listing(text, &[])
    }

    fn listing(text: &str, arrays: &[&str]) -> Result<String, String> {
        let arrays: Vec<String> = arrays.iter().map(|name| (*name).to_owned()).collect();
        let json = to_json(text, &arrays).map_err(|error| error.to_string())?;
        let json = String::from_utf8(json).unwrap();
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
        Ok(json)
    }

    #[test]
    fn what_is_no_xml_is_an_error_with_its_line() {
        for (text, line, what) in [
            ("", 1, "it has no element"),
            ("<?xml version='1.0'?>\n<!-- nothing -->\n", 3, "it has no element"),
            ("no xml", 1, "text stands outside of its root element"),
            ("<a>\n<b>", 2, "it ends inside of <b>"),
            ("<a>\n<b></a>", 2, "ill-formed document: expected `</b>`, but `</a>` was found"),
            ("<a/>\n<b/>", 2, "a second root element follows, <b>"),
            ("<a/>\n&amp;", 2, "text stands outside of its root element"),
            ("<a x='1' x='2'/>", 1, "position 8: duplicated attribute, previous declaration at position 2"),
            (
                "<a>&b</a>",
                1,
                "ill-formed document: entity or character reference not closed: `;` not found before end of input",
            ),
        ] {
            assert_eq!(json(text), Err(format!("the XML does not read at line {line}: {what}")));
        }
        for text in
            ["<a", "<a><![CDATA[x", "<!DOCTYPE a [", "</a>", "<a>&#xD800;</a>", "<a b='&c;'/>", "<a b/>"]
        {
            assert!(json(text).is_err(), "{text}");
        }
    }

    #[test]
    fn entities_of_a_document_type_are_not_expanded() {
        let laughs =
            r#"<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;"><!ENTITY d SYSTEM "file:///etc/hosts">]>"#;
        for reference in ["b", "c", "d"] {
            let refused = json(&format!("{laughs}<a>&{reference};</a>")).unwrap_err();
            assert!(
                refused.ends_with(&format!("it has the entity &{reference};, which nobody knows")),
                "{refused}"
            );
            assert!(json(&format!("{laughs}<a x='&{reference};'/>")).is_err());
        }
        assert_eq!(json(&format!("{laughs}<a>ok</a>")).unwrap(), r#"{"a":"ok"}"#);
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |levels: usize| "<a>".repeat(levels) + &"</a>".repeat(levels);
        let listed = listing(&deep(DEPTH_MAX), &["a"]).unwrap();
        assert!(orchid_plan::Value::parse(listed.as_bytes()).is_ok());
        assert!(json(&deep(DEPTH_MAX + 1)).unwrap_err().ends_with("it is nested deeper than 60 elements"));
        assert!(json(&"<a>".repeat(1_000_000)).is_err());
    }

    #[test]
    fn attributes_elements_and_text_become_members() {
        for (text, expected) in [
            ("<a/>", r#"{"a":null}"#),
            ("<a></a>", r#"{"a":null}"#),
            ("<a>\n \t</a>", r#"{"a":null}"#),
            ("<a>1</a>", r#"{"a":"1"}"#),
            ("<a b='1' c='x &amp; y'/>", r#"{"a":{"@b":"1","@c":"x & y"}}"#),
            ("<a b=\"1\">t</a>", r##"{"a":{"@b":"1","#text":"t"}}"##),
            ("<a> x <b>1</b> y </a>", r##"{"a":{"b":"1","#text":"x  y"}}"##),
            ("<a><b>1</b><c/><b>2</b></a>", r#"{"a":{"b":["1","2"],"c":null}}"#),
            ("<a><b>1</b><b><c>2</c></b></a>", r#"{"a":{"b":["1",{"c":"2"}]}}"#),
        ] {
            assert_eq!(json(text).unwrap(), expected);
        }
    }

    #[test]
    fn white_space_around_text_goes_but_what_was_escaped_stays() {
        for (text, expected) in [
            ("<a>\n  two words\r\n</a>", r#"{"a":"two words"}"#),
            ("<a> <![CDATA[ x < y ]]> </a>", r#"{"a":" x < y "}"#),
            ("<a><![CDATA[]]></a>", r#"{"a":""}"#),
            ("<a> &#32;x </a>", r#"{"a":" x"}"#),
            ("<a>&lt;b&gt; &quot;&apos;&#x20AC;&#9731;</a>", "{\"a\":\"<b> \\\"'€☃\"}"),
            ("<a>1<!-- no -->2<?php no ?>3</a>", r#"{"a":"123"}"#),
            ("<a>\u{a0}</a>", "{\"a\":\"\u{a0}\"}"),
        ] {
            assert_eq!(json(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn prefixes_are_dropped() {
        let soap = r#"<?xml version="1.0" encoding="utf-8"?>
            <soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
              <soap:Body>
                <GetOrdersResponse xmlns="urn:orders">
                  <Order id="1" xsi:type="Big"><Total>10.50</Total><Note xsi:nil="true"/></Order>
                </GetOrdersResponse>
              </soap:Body>
            </soap:Envelope>"#;
        let order = r#"{"@id":"1","@type":"Big","Total":"10.50","Note":{"@nil":"true"}}"#;
        let inner = format!(r#"{{"GetOrdersResponse":{{"Order":{order}}}}}"#);
        assert_eq!(json(soap).unwrap(), format!(r#"{{"Envelope":{{"Body":{inner}}}}}"#));
        assert_eq!(json("<a x:b='1' y:b='2'/>").unwrap(), r#"{"a":{"@b":["1","2"]}}"#);
    }

    #[test]
    fn names_that_are_always_lists_are() {
        let text = "<r><x:item>1</x:item></r>";
        assert_eq!(listing(text, &["item"]).unwrap(), r#"{"r":{"item":["1"]}}"#);
        assert_eq!(listing("<r><item/></r>", &["item"]).unwrap(), r#"{"r":{"item":[null]}}"#);
        assert_eq!(listing("<r/>", &["item"]).unwrap(), r#"{"r":null}"#);
        assert_eq!(listing("<r/>", &["r"]).unwrap(), r#"{"r":[null]}"#);
    }

    #[test]
    fn many_members_are_found_again() {
        let text: String = (0..40).map(|number| format!("<b{0}>{number}</b{0}>", number % 20)).collect();
        let made = json(&format!("<a>{text}</a>")).unwrap();
        for number in 0..20 {
            assert!(made.contains(&format!("\"b{number}\":[\"{number}\",\"{}\"]", number + 20)), "{made}");
        }
    }
}
