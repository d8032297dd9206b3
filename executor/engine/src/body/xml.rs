//! Converts XML to JSON.
//!
//! The result is an object whose only member is the root element. Attributes become members named
//! `@name`; child elements become members of their names, as a list if a name repeats. An element
//! with only text is that text, one without content is null, and text beside attributes or child
//! elements is the member `#text`. Namespace declarations are dropped, and prefixes unless the plan
//! keeps them.
//!
//! Document types are not read: entities are the five predefined ones and character references, and
//! nothing is fetched or expanded (no XXE, no "billion laughs").

use std::collections::{HashMap, HashSet};

use orchid_plan::{XmlPrefixes, XmlRules};
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::QName;
use quick_xml::{Reader, XmlVersion, escape};

use super::error::DecodeError;
use crate::message::json::string as json_string;

/// Largest nesting of elements. As JSON, with a list around each element, this stays within the 127
/// levels that the JSON parser accepts.
const DEPTH_MAX: usize = 60;

/// Largest number of members for which a linear search is faster than an index.
const UNINDEXED_MAX: usize = 8;

/// Converts a document to JSON.
///
/// # Errors
/// If the document is malformed, too deep, or uses an entity that is not predefined.
pub(super) fn to_json(text: &str, rules: &XmlRules) -> Result<Vec<u8>, DecodeError> {
    let mut reader = Reader::from_str(text);
    let mut builder = JsonBuilder::new(rules);
    loop {
        // Offsets only become lines when an error needs one: counting lines is not free.
        let (offset, result) = match reader.read_event() {
            Ok(Event::Eof) => break,
            Ok(event) => (reader.buffer_position(), builder.handle(&event)),
            Err(error) => (reader.error_position(), Err(error.to_string())),
        };
        result.map_err(|what| error_at(text, usize::try_from(offset).unwrap_or(text.len()), what))?;
    }
    builder.finish().map_err(|what| error_at(text, text.len(), what))
}

fn error_at(text: &str, offset: usize, what: String) -> DecodeError {
    // An unclosed element is only noticed at the end of the text, hence the bound.
    let before = &text.as_bytes()[..offset.min(text.len())];
    DecodeError::Xml { line: 1 + before.iter().filter(|byte| **byte == b'\n').count(), what }
}

/// Builds the JSON of a document from the events of the XML reader.
struct JsonBuilder<'a> {
    /// Names of elements that are lists even if they occur once.
    arrays: HashSet<&'a str>,
    prefixes: XmlPrefixes,
    /// Elements that are not closed yet, outermost first.
    open: Vec<OpenElement>,
    root: MemberList,
}

/// An element whose end tag has not been read.
struct OpenElement {
    name: String,
    members: MemberList,
    text: String,
    /// The range of `text` that was escaped or CDATA; its white space is content and must not be
    /// trimmed.
    escaped: Option<(usize, usize)>,
}

/// The members of an object in document order.
#[derive(Default)]
struct MemberList {
    list: Vec<NamedValues>,
    /// Indexes into `list` by name; empty while a linear search is faster.
    index: HashMap<String, usize>,
}

struct NamedValues {
    name: String,
    /// JSON values separated by commas.
    values: Vec<u8>,
    is_list: bool,
}

impl<'a> JsonBuilder<'a> {
    fn new(rules: &'a XmlRules) -> Self {
        let arrays = rules.arrays.iter().map(String::as_str).collect();
        Self { arrays, prefixes: rules.prefixes, open: Vec::new(), root: MemberList::default() }
    }

    /// Returns the name of an element or attribute as a member has it.
    fn member_name<'n>(&self, name: QName<'n>) -> &'n str {
        match self.prefixes {
            XmlPrefixes::Drop => name.local_name().into_inner(),
            XmlPrefixes::Keep => name.into_inner(),
        }
    }

    fn handle(&mut self, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(start) => self.start_element(start),
            Event::Empty(start) => {
                self.start_element(start)?;
                self.end_element();
                Ok(())
            }
            Event::End(_) => {
                self.end_element();
                Ok(())
            }
            Event::Text(text) => self.push_text(&text.xml10_content(), false),
            Event::CData(text) => self.push_text(&text.xml10_content(), true),
            // Character references first; of named entities only the five of XML 1.0 exist here.
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(character)) => self.push_text(character.encode_utf8(&mut [0; 4]), true),
                Ok(None) => match escape::resolve_xml_entity(reference) {
                    Some(text) => self.push_text(text, true),
                    None => Err(format!("it has the entity &{};, which nobody knows", truncated(reference))),
                },
                Err(error) => Err(error.to_string()),
            },
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Eof => Ok(()),
        }
    }

    fn start_element(&mut self, start: &BytesStart<'_>) -> Result<(), String> {
        let name = self.member_name(start.name()).to_owned();
        // Checked when an element opens, so that hostile nesting never builds up.
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("elements are nested more than {DEPTH_MAX} levels deep"));
        }
        if self.open.is_empty() && !self.root.list.is_empty() {
            return Err(format!("unexpected second root element <{}>", truncated(&name)));
        }
        let mut members = MemberList::default();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| error.to_string())?;
            // xmlns declarations only explain prefixes.
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let value =
                attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
            members.add(&format!("@{}", self.member_name(attribute.key)), &json_string(&value), false);
        }
        self.open.push(OpenElement { name, members, text: String::new(), escaped: None });
        Ok(())
    }

    fn end_element(&mut self) {
        // The reader has already refused end tags without a start tag.
        let Some(element) = self.open.pop() else { return };
        let is_list = self.arrays.contains(element.name.as_str());
        let (name, json) = element.into_json();
        let parent = self.open.last_mut().map_or(&mut self.root, |parent| &mut parent.members);
        parent.add(&name, &json, is_list);
    }

    fn push_text(&mut self, text: &str, escaped: bool) -> Result<(), String> {
        let Some(element) = self.open.last_mut() else {
            // Line breaks around the root element are normal; anything else there is an error.
            return match text.trim_matches(SPACE).is_empty() && !escaped {
                true => Ok(()),
                false => Err("unexpected text outside of the root element".to_owned()),
            };
        };
        let start = element.text.len();
        element.text.push_str(text);
        // Several escaped parts count as one range: white space between them is content as well.
        if escaped {
            let first = element.escaped.map_or(start, |(first, _)| first);
            element.escaped = Some((first, element.text.len()));
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<u8>, String> {
        if let Some(element) = self.open.last() {
            return Err(format!("unexpected end inside of <{}>", truncated(&element.name)));
        }
        if self.root.list.is_empty() {
            return Err("no root element".to_owned());
        }
        Ok(self.root.into_json())
    }
}

impl OpenElement {
    fn into_json(mut self) -> (String, Vec<u8>) {
        let json = match (self.own_text(), self.members.list.is_empty()) {
            // An empty element carries no information about its type, so it is null, not "".
            (None, true) => b"null".to_vec(),
            (Some(text), true) => json_string(text),
            (None, false) => self.members.into_json(),
            (Some(text), false) => {
                let text = json_string(text);
                self.members.add("#text", &text, false);
                self.members.into_json()
            }
        };
        (self.name, json)
    }

    /// Returns the text without surrounding white space, unless that was escaped; `None` if nothing
    /// is left.
    fn own_text(&self) -> Option<&str> {
        let leading = self.text.len() - self.text.trim_start_matches(SPACE).len();
        let trailing = self.text.trim_end_matches(SPACE).len();
        match self.escaped {
            Some((first, last)) => self.text.get(leading.min(first)..trailing.max(last)),
            None => self.text.get(leading..trailing).filter(|text| !text.is_empty()),
        }
    }
}

impl MemberList {
    fn add(&mut self, name: &str, value: &[u8], is_list: bool) {
        let index = if self.index.is_empty() {
            self.list.iter().position(|member| member.name == name)
        } else {
            self.index.get(name).copied()
        };
        if let Some(member) = index.and_then(|index| self.list.get_mut(index)) {
            // A repeated name makes the member a list; its values are separated as they arrive.
            member.is_list = true;
            member.values.push(b',');
            member.values.extend_from_slice(value);
            return;
        }
        self.list.push(NamedValues { name: name.to_owned(), values: value.to_vec(), is_list });
        // The first overflow indexes all members so far, later ones add one entry each.
        if self.list.len() > UNINDEXED_MAX {
            let known = self.index.len();
            let new = self.list.iter().enumerate().skip(known);
            self.index.extend(new.map(|(index, member)| (member.name.clone(), index)));
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
            json.extend(json_string(&member.name));
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

/// White space of XML 1.0 (2.3). Other Unicode spaces are content.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Shortens a name for an error message.
fn truncated(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<String, String> {
        listing(text, &[])
    }

    fn listing(text: &str, arrays: &[&str]) -> Result<String, String> {
        converted(text, arrays, XmlPrefixes::Drop)
    }

    fn converted(text: &str, arrays: &[&str], prefixes: XmlPrefixes) -> Result<String, String> {
        let arrays = arrays.iter().map(|name| (*name).to_owned()).collect();
        let json = to_json(text, &XmlRules { arrays, prefixes }).map_err(|error| error.to_string())?;
        let json = String::from_utf8(json).unwrap();
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
        Ok(json)
    }

    #[test]
    fn malformed_xml_is_an_error_with_its_line() {
        for (text, line, what) in [
            ("", 1, "no root element"),
            ("<?xml version='1.0'?>\n<!-- nothing -->\n", 3, "no root element"),
            ("no xml", 1, "unexpected text outside of the root element"),
            ("<a>\n<b>", 2, "unexpected end inside of <b>"),
            ("<a>\n<b></a>", 2, "ill-formed document: expected `</b>`, but `</a>` was found"),
            ("<a/>\n<b/>", 2, "unexpected second root element <b>"),
            ("<a/>\n&amp;", 2, "unexpected text outside of the root element"),
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
    fn entities_of_a_document_type_are_refused() {
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
    fn nesting_is_limited() {
        let deep = |levels: usize| "<a>".repeat(levels) + &"</a>".repeat(levels);
        let listed = listing(&deep(DEPTH_MAX), &["a"]).unwrap();
        assert!(orchid_plan::Value::parse(listed.as_bytes()).is_ok());
        assert!(
            json(&deep(DEPTH_MAX + 1)).unwrap_err().ends_with("elements are nested more than 60 levels deep")
        );
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
    fn white_space_is_trimmed_unless_it_was_escaped() {
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
    fn prefixes_can_be_kept() {
        let feed = r#"<rss xmlns="urn:r" xmlns:media="urn:m" xmlns:atom="urn:a"><atom:link href="h1"/><link>h2</link>
            <item xmlns:x="urn:x" id="1" x:id="2"><title>T1</title><media:title>M1</media:title></item></rss>"#;
        let item = r#"{"@id":"1","@x:id":"2","title":"T1","media:title":"M1"}"#;
        let expected = format!(r#"{{"rss":{{"atom:link":{{"@href":"h1"}},"link":"h2","item":{item}}}}}"#);
        assert_eq!(converted(feed, &[], XmlPrefixes::Keep).unwrap(), expected);
        let listed = converted("<r><m:a/><a/></r>", &["m:a"], XmlPrefixes::Keep).unwrap();
        assert_eq!(listed, r#"{"r":{"m:a":[null],"a":null}}"#);
    }

    #[test]
    fn names_in_arrays_are_always_lists() {
        let text = "<r><x:item>1</x:item></r>";
        assert_eq!(listing(text, &["item"]).unwrap(), r#"{"r":{"item":["1"]}}"#);
        assert_eq!(listing("<r><item/></r>", &["item"]).unwrap(), r#"{"r":{"item":[null]}}"#);
        assert_eq!(listing("<r/>", &["item"]).unwrap(), r#"{"r":null}"#);
        assert_eq!(listing("<r/>", &["r"]).unwrap(), r#"{"r":[null]}"#);
    }

    #[test]
    fn repeated_names_are_found_among_many_members() {
        let text: String = (0..40).map(|number| format!("<b{0}>{number}</b{0}>", number % 20)).collect();
        let made = json(&format!("<a>{text}</a>")).unwrap();
        for number in 0..20 {
            assert!(made.contains(&format!("\"b{number}\":[\"{number}\",\"{}\"]", number + 20)), "{made}");
        }
    }
}
