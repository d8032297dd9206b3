//! Finds the members of a JSON object that lie near the beginning or the end of its text, outside
//! of all lists.
//!
//! APIs write what they say about further pages before or after the rows. Reading only the edges of
//! the text finds it at a cost that does not grow with the rows between them.

use orchid_plan::{JsonScanner, ValueError};

/// Bytes that are read at each end of a text. What is between them may be missing.
pub(crate) const EDGE_BYTES: usize = 2048;
/// Deepest object whose members are found.
const DEPTH_MAX: usize = 8;
/// Most members that are found; a response about pages has few.
const MEMBERS_MAX: usize = 64;

/// The members found near the edges of a JSON text.
#[derive(Debug, Default)]
pub(crate) struct EdgeMembers<'a> {
    members: Vec<(Member<'a>, &'a str)>,
    /// The objects that are open or were read; the first is the text itself.
    objects: Vec<ObjectName<'a>>,
    /// Lists whose name is `link` or `links`, as JSON.
    pub(crate) link_lists: Vec<&'a str>,
    /// True if the text has a list with at least one element.
    pub(crate) has_list: bool,
}

/// A member by the object that it belongs to, and its name.
#[derive(Debug)]
struct Member<'a> {
    object: usize,
    name: &'a str,
}

/// The name of an object, and the object around it.
#[derive(Debug, Clone, Copy)]
struct ObjectName<'a> {
    /// `None` if it lies outside of the part that was read.
    name: Option<&'a str>,
    around: usize,
}

impl<'a> EdgeMembers<'a> {
    /// Reads the edges of a valid JSON text. Of another text it finds nothing, or only a part.
    pub(crate) fn read(json: &'a [u8]) -> Self {
        let mut found = Self::default();
        let head = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json).trim_ascii();
        match head.first() {
            Some(b'{') => {}
            Some(b'[') => {
                found.has_list = !head[1..].trim_ascii_start().starts_with(b"]");
                return found;
            }
            Some(_) | None => return found,
        }
        found.objects.push(ObjectName { name: None, around: 0 });
        let edge = &head[..head.len().min(EDGE_BYTES)];
        let mut scanner = JsonScanner::at(edge, 1);
        if found.forward(&mut scanner, edge.len()).is_err() {
            let start = scanner.offset().max(head.len().saturating_sub(EDGE_BYTES));
            let mut backward = Backward { text: head, at: head.len() - 1, start };
            // The names of objects follow after their members, since the text is read backwards.
            let _cut = found.backward(&mut backward);
        }
        found
    }

    /// Creates the members of a text that is not there; `has_list` tells if it had a list.
    pub(crate) fn unknown(has_list: bool) -> Self {
        Self { has_list, ..Self::default() }
    }

    /// Iterates over the members with their paths, outermost name first, and their JSON.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Vec<&'a str>, &'a str)> {
        self.members.iter().filter_map(|(member, value)| {
            let mut path = vec![member.name];
            let mut object = member.object;
            while object != 0 {
                let ObjectName { name, around } = self.objects[object];
                path.push(name?);
                object = around;
            }
            path.reverse();
            Some((path, *value))
        })
    }

    /// Reads members up to the end of the text.
    ///
    /// # Errors
    /// If a value leads out of the part that is read, which has `length` bytes.
    fn forward(&mut self, scanner: &mut JsonScanner<'a>, length: usize) -> Result<(), ValueError> {
        let mut open = vec![0];
        let mut first = true;
        while let Some(&object) = open.last() {
            let Some(name) = scanner.next_member(std::mem::take(&mut first))? else {
                open.pop();
                continue;
            };
            let name = text_of(name.raw());
            scanner.skip_space();
            match scanner.peek() {
                Some(b'{') if open.len() < DEPTH_MAX => {
                    scanner.skip_byte(b'{');
                    first = true;
                    open.push(self.objects.len());
                    self.objects.push(ObjectName { name: Some(name), around: object });
                }
                Some(b'[') => {
                    let list = scanner.skip_value();
                    // The rows are noted although they lead out of the part.
                    self.note_list(name, list.as_ref().ok().map(|list| text_of(list)));
                    list?;
                }
                begins => {
                    let value = scanner.skip_value()?;
                    // A number at the end of the part may go on behind it.
                    if begins != Some(b'{') && scanner.offset() < length {
                        self.note(object, name, text_of(value));
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads members from the end of the text to its beginning, a list or text that leads out of
    /// the part that is read.
    fn backward(&mut self, text: &mut Backward<'a>) -> Option<()> {
        let mut open = vec![0];
        while let Some(&object) = open.last() {
            match text.next()? {
                b',' => {}
                b'{' => {
                    open.pop();
                    if object != 0 {
                        self.objects[object].name = Some(text.name()?);
                    }
                }
                b'}' if open.len() < DEPTH_MAX => {
                    open.push(self.objects.len());
                    self.objects.push(ObjectName { name: None, around: object });
                }
                b']' | b'}' => {
                    let (end, list) = (text.at + 1, text.text[text.at] == b']');
                    let closed = text.skip_nested();
                    let value = closed.map(|()| text.slice(text.at, end));
                    let name = closed.and_then(|()| text.name());
                    if list {
                        self.note_list(name.unwrap_or_default(), value);
                    }
                    name?;
                }
                b'"' => {
                    let end = text.at + 1;
                    text.string()?;
                    let value = text.slice(text.at, end);
                    let name = text.name()?;
                    self.note(object, name, value);
                }
                _ => {
                    let end = text.at + 1;
                    text.skip_scalar()?;
                    let value = text.slice(text.at, end);
                    let name = text.name()?;
                    self.note(object, name, value);
                }
            }
        }
        Some(())
    }

    fn note(&mut self, object: usize, name: &'a str, value: &'a str) {
        if self.members.len() < MEMBERS_MAX {
            self.members.push((Member { object, name }, value));
        }
    }

    /// Notes a list; `value` is `None` if it leads out of the part that is read.
    fn note_list(&mut self, name: &str, value: Option<&'a str>) {
        self.has_list |=
            value.is_none_or(|list| list.len() > 2 && !list[1..list.len() - 1].trim().is_empty());
        if name.eq_ignore_ascii_case("link") || name.eq_ignore_ascii_case("links") {
            self.link_lists.extend(value);
        }
    }
}

/// Returns a part of a JSON text. It is cut between tokens, so it is UTF-8.
fn text_of(part: &[u8]) -> &str {
    std::str::from_utf8(part).unwrap_or_default()
}

/// The end of a text, read backwards. `at` is the byte that was read last.
struct Backward<'a> {
    text: &'a [u8],
    at: usize,
    start: usize,
}

impl<'a> Backward<'a> {
    /// Reads the next byte, towards the beginning, that is no white space.
    fn next(&mut self) -> Option<u8> {
        while self.at > self.start {
            self.at -= 1;
            let byte = self.text[self.at];
            if !byte.is_ascii_whitespace() {
                return Some(byte);
            }
        }
        None
    }

    /// Reads a string back to its opening quote, from its closing one.
    fn string(&mut self) -> Option<&'a str> {
        let end = self.at;
        while self.at > self.start {
            self.at -= 1;
            // A quote behind an odd number of backslashes belongs to the text.
            if self.text[self.at] == b'"' {
                let before = &self.text[self.start..self.at];
                let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
                if backslashes.is_multiple_of(2) {
                    return std::str::from_utf8(&self.text[self.at + 1..end]).ok();
                }
            }
        }
        None
    }

    /// Reads the name of the value that was read last.
    fn name(&mut self) -> Option<&'a str> {
        if self.next()? != b':' || self.next()? != b'"' {
            return None;
        }
        self.string()
    }

    /// Skips a number, `true`, `false` or `null` back to its first byte.
    fn skip_scalar(&mut self) -> Option<()> {
        while self.at > self.start {
            let before = self.text[self.at - 1];
            if matches!(before, b':' | b',' | b'[') || before.is_ascii_whitespace() {
                return Some(());
            }
            self.at -= 1;
        }
        None
    }

    /// Skips a list or object back to its opening bracket, from its closing one.
    fn skip_nested(&mut self) -> Option<()> {
        let mut depth = 1;
        while depth > 0 {
            match self.next()? {
                b']' | b'}' => depth += 1,
                b'[' | b'{' => depth -= 1,
                b'"' => {
                    self.string()?;
                }
                _ => {}
            }
        }
        Some(())
    }

    fn slice(&self, from: usize, to: usize) -> &'a str {
        text_of(&self.text[from..to])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(json: &str) -> Vec<(String, String)> {
        let found = EdgeMembers::read(json.as_bytes());
        let mut members: Vec<_> =
            found.iter().map(|(path, value)| (path.join("."), value.to_owned())).collect();
        members.sort();
        members
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect()
    }

    /// A list of rows that is longer than both edges, with members that must not be found.
    fn rows() -> String {
        let row = r#"{"next":"in a row","brackets":"]}{[","quote":"a\\\"b"}"#;
        format!("[{}]", vec![row; 200].join(","))
    }

    #[test]
    fn members_on_both_sides_of_the_rows_are_found() {
        let json = format!(
            r#" {{"has_more": true, "meta": {{"page": {{"number": 1}}}}, "items": {}, "paging": {{"next": {{"after": "x\"\\"}}}}, "total": 7 }} "#,
            rows()
        );
        assert_eq!(
            members(&json),
            pairs(&[
                ("has_more", "true"),
                ("meta.page.number", "1"),
                ("paging.next.after", r#""x\"\\""#),
                ("total", "7"),
            ])
        );
        assert!(EdgeMembers::read(json.as_bytes()).has_list);
    }

    #[test]
    fn short_text_is_read_whole_and_only_once() {
        assert_eq!(
            members(r#"{"a":1,"list":[{"b":2}],"c":{"d":null,"e":{}},"f":"g"}"#),
            pairs(&[("a", "1"), ("c.d", "null"), ("f", "\"g\"")])
        );
    }

    #[test]
    fn members_of_an_object_whose_name_is_out_of_reach_are_left_out() {
        let json = format!(r#"{{"items":{},"big":{{"text":"{}","next":"x"}}}}"#, rows(), "y".repeat(3000));
        assert_eq!(members(&json), pairs(&[]));
    }

    #[test]
    fn lists_of_links_are_kept() {
        let json = format!(r#"{{"link":[{{"rel":"next"}}],"items":{},"Links":[1]}}"#, rows());
        assert_eq!(EdgeMembers::read(json.as_bytes()).link_lists, [r#"[{"rel":"next"}]"#, "[1]"]);
    }

    #[test]
    fn other_texts_have_no_members() {
        for json in
            ["", "[]", "[1]", "7", "\"a\"", "{}", "{", "}", "{\"a", "{\"a\":", "{\"a\":[", "{]}", "<a>"]
        {
            assert_eq!(members(json), pairs(&[]), "{json}");
        }
        assert!(!EdgeMembers::read(b"[]").has_list);
        assert!(EdgeMembers::read(b"[1]").has_list);
        assert!(!EdgeMembers::read(br#"{"a":[ ]}"#).has_list);
    }

    #[test]
    fn text_cut_anywhere_is_no_danger() {
        let json = format!(r#"{{"a":"\"","b":{{"c":[{{}}]}},"items":{},"d":{{"e":"\\"}}}}"#, rows());
        for cut in (0..json.len()).step_by(7) {
            members(&json[..cut]);
            members(&json[cut..]);
        }
    }
}
