//! Finds the location of a JSON pointer in a text. Pure. Never fails: a pointer that leads nowhere
//! gives its nearest existing ancestor.

/// The location of a value in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextLocation {
    /// The byte offset of the value.
    pub offset: usize,
    /// The byte offset of the member's name, if the value is a member of an object.
    pub name: Option<usize>,
    /// Whether the whole pointer led here; otherwise this is the nearest existing ancestor.
    pub exact: bool,
}

/// A location as people count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineColumn {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
}

/// Returns the start of the value at an RFC 6901 pointer. The text must be valid JSON.
pub(crate) fn locate(text: &str, pointer: &str) -> TextLocation {
    let mut cursor = JsonCursor { bytes: text.as_bytes(), offset: 0 };
    cursor.skip_whitespace();
    let steps: Vec<String> =
        pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
    let mut name = None;
    for step in &steps {
        let found = match cursor.peek() {
            b'{' => cursor.member(step).map(|(name, value)| (Some(name), value)),
            b'[' => step.parse().ok().and_then(|index| cursor.element(index)).map(|value| (None, value)),
            _ => None,
        };
        match found {
            Some(found) => (name, cursor.offset) = found,
            None => return TextLocation { offset: cursor.offset, name, exact: false },
        }
    }
    TextLocation { offset: cursor.offset, name, exact: true }
}

/// Returns the line and column of a byte offset.
pub(crate) fn line_column(text: &str, offset: usize) -> LineColumn {
    let before = &text[..offset.min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    LineColumn { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

/// Returns the offset in the text of byte `position` of a string's decoded value; `start` is the
/// offset of the opening quote.
pub(crate) fn within_string(text: &str, start: usize, position: usize) -> usize {
    let mut decoded = 0;
    let mut offset = start + 1;
    while decoded < position && text.as_bytes().get(offset).is_some_and(|byte| *byte != b'"') {
        let (width, length) = character(&text[offset..]);
        offset += width;
        decoded += length;
    }
    offset
}

/// Returns the number of bytes of the first character in the text, and of its decoded value.
fn character(rest: &str) -> (usize, usize) {
    let unit = |from: usize| rest.get(from..from + 4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    match rest.as_bytes() {
        [b'\\', b'u', ..] => match unit(2) {
            // The second half of a surrogate pair follows.
            Some(0xd800..=0xdbff) => (12, 4),
            Some(code) => (6, char::from_u32(code).map_or(3, char::len_utf8)),
            None => (6, 1),
        },
        [b'\\', ..] => (2, 1),
        _ => rest.chars().next().map_or((1, 1), |letter| (letter.len_utf8(), letter.len_utf8())),
    }
}

/// A cursor over valid JSON.
struct JsonCursor<'t> {
    bytes: &'t [u8],
    offset: usize,
}

impl JsonCursor<'_> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.offset).copied().unwrap_or_default()
    }

    fn skip_whitespace(&mut self) {
        while self.peek().is_ascii_whitespace() {
            self.offset += 1;
        }
    }

    /// Returns the offsets of a member's name and value; the cursor is at the object's brace.
    fn member(&self, name: &str) -> Option<(usize, usize)> {
        let mut cursor = JsonCursor { bytes: self.bytes, offset: self.offset + 1 };
        loop {
            cursor.skip_whitespace();
            if cursor.peek() != b'"' {
                return None;
            }
            let start = cursor.offset;
            cursor.skip_value();
            let found: String = serde_json::from_slice(&self.bytes[start..cursor.offset]).ok()?;
            cursor.skip_whitespace();
            cursor.offset += 1;
            cursor.skip_whitespace();
            if found == name {
                return Some((start, cursor.offset));
            }
            cursor.skip_value();
            cursor.skip_comma()?;
        }
    }

    /// Returns the offset of an element; the cursor is at the list's bracket.
    fn element(&self, index: usize) -> Option<usize> {
        let mut cursor = JsonCursor { bytes: self.bytes, offset: self.offset + 1 };
        for _ in 0..index {
            cursor.skip_whitespace();
            if cursor.peek() == b']' {
                return None;
            }
            cursor.skip_value();
            cursor.skip_comma()?;
        }
        cursor.skip_whitespace();
        (cursor.peek() != b']').then_some(cursor.offset)
    }

    fn skip_comma(&mut self) -> Option<()> {
        self.skip_whitespace();
        if self.peek() != b',' {
            return None;
        }
        self.offset += 1;
        Some(())
    }

    /// Skips one value with everything in it.
    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                b'"' => self.skip_string(),
                b'{' | b'[' => {
                    depth += 1;
                    self.offset += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.offset += 1;
                }
                b',' | b':' => self.offset += 1,
                byte if byte.is_ascii_whitespace() => self.offset += 1,
                _ => self.skip_literal(),
            }
            if depth == 0 || self.offset >= self.bytes.len() {
                return;
            }
        }
    }

    fn skip_string(&mut self) {
        self.offset += 1;
        while self.offset < self.bytes.len() && self.peek() != b'"' {
            self.offset += if self.peek() == b'\\' { 2 } else { 1 };
        }
        self.offset += 1;
    }

    fn skip_literal(&mut self) {
        while self.offset < self.bytes.len()
            && !matches!(self.peek(), b',' | b']' | b'}' | b':' | b' ' | b'\n' | b'\r' | b'\t')
        {
            self.offset += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\n  \"key\": \"a,]}\\\"b\",\n  \"list\": [ 1, {\"x/y\": [], \"é\": null}, -2.5e3 ],\n  \"last\": true\n}\n";

    fn at(pointer: &str) -> (bool, &str) {
        let location = locate(TEXT, pointer);
        (location.exact, TEXT[location.offset..].lines().next().unwrap())
    }

    #[test]
    fn missing_value_gives_its_nearest_ancestor() {
        assert_eq!(at("/nothing/here"), (false, "{"));
        assert_eq!(at("/list/9"), (false, "[ 1, {\"x/y\": [], \"é\": null}, -2.5e3 ],"));
        assert_eq!(at("/list/1/x~1y/0"), (false, "[], \"é\": null}, -2.5e3 ],"));
        assert_eq!(at("/key/deeper"), (false, "\"a,]}\\\"b\","));
    }

    #[test]
    fn existing_values_are_found() {
        assert_eq!(at(""), (true, "{"));
        assert_eq!(at("/key"), (true, "\"a,]}\\\"b\","));
        assert_eq!(at("/list/0"), (true, "1, {\"x/y\": [], \"é\": null}, -2.5e3 ],"));
        assert_eq!(at("/list/1/é"), (true, "null}, -2.5e3 ],"));
        assert_eq!(at("/list/2"), (true, "-2.5e3 ],"));
        assert_eq!(at("/last"), (true, "true"));
    }

    #[test]
    fn only_object_members_have_a_name_offset() {
        let name = |pointer| locate(TEXT, pointer).name.map(|offset| TEXT[offset..].lines().next().unwrap());
        assert_eq!(name("/last"), Some("\"last\": true"));
        assert_eq!(name("/list/1"), None);
        assert_eq!(name("/list/1/x~1y"), Some("\"x/y\": [], \"é\": null}, -2.5e3 ],"));
    }

    #[test]
    fn lines_and_columns_count_from_one() {
        let offset = locate(TEXT, "/list/2").offset;
        assert_eq!(line_column(TEXT, offset), LineColumn { line: 3, column: 40 });
        assert_eq!(line_column(TEXT, 0), LineColumn { line: 1, column: 1 });
        assert_eq!(line_column(TEXT, usize::MAX).line, 6);
    }

    #[test]
    fn position_in_a_string_accounts_for_escapes() {
        let text = r#"{"e": "ä\"\u00e4\ud83d\ude00x"}"#;
        let start = locate(text, "/e").offset;
        let value: String = serde_json::from_str(&text[start..text.len() - 1]).unwrap();
        for (position, rest) in [(0, "ä\\"), (2, "\\\""), (3, "\\u00e4"), (5, "\\ud83d"), (9, "x\"")] {
            assert!(value.is_char_boundary(position));
            let offset = within_string(text, start, position);
            assert!(text[offset..].starts_with(rest), "{position}: {}", &text[offset..]);
        }
        assert_eq!(&text[within_string(text, start, 999)..], "\"}");
    }
}
