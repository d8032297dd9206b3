//! A scanner of JSON text (RFC 8259), the only grammar by which whole bodies, rows and values are
//! read.
//!
//! It finds where values begin and end without decoding them. Nothing recurses: the open lists and
//! objects are one bit each, and their number is bounded.

use std::borrow::Cow;

use super::skip::{self, NESTING_MAX, OpenLevels};

/// The reason why a text is not read as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The text breaks the grammar.
    #[error("not valid json: {what} at byte {position}")]
    Syntax {
        /// Description of the fault.
        what: &'static str,
        /// Position of the first wrong byte, from 1; the length of the text if it ends too early.
        position: usize,
    },
    /// Lists and objects are nested more than [`NESTING_MAX`] levels deep.
    #[error("nested more than {NESTING_MAX} levels deep")]
    TooDeep,
    /// The values take more memory than the reader allows.
    #[error("its values take more than {max_bytes} bytes of memory")]
    TooLarge {
        /// The most that was allowed.
        max_bytes: usize,
    },
}

/// The beginning of a value: a scalar, or an opening bracket.
pub(super) enum Token<'t> {
    Null,
    Bool(bool),
    Number(&'t [u8]),
    Text(RawText<'t>),
    List,
    Object,
}

/// The content of a JSON string, as it is between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawText<'t> {
    raw: &'t [u8],
    escaped: bool,
}

impl<'t> RawText<'t> {
    /// Takes the bytes between the quotes of a valid string.
    #[must_use]
    pub fn new(raw: &'t [u8]) -> Self {
        Self { raw, escaped: raw.contains(&b'\\') }
    }

    /// Returns the bytes between the quotes.
    #[must_use]
    pub fn raw(&self) -> &'t [u8] {
        self.raw
    }

    /// Decodes the string. A surrogate without its other half becomes U+FFFD, as RFC 8259 (8.2)
    /// leaves open. Returns `None` if the bytes are not UTF-8.
    #[must_use]
    pub fn decode(&self) -> Option<Cow<'t, str>> {
        let text = std::str::from_utf8(self.raw).ok()?;
        Some(if self.escaped { Cow::Owned(unescape(text)) } else { Cow::Borrowed(text) })
    }

    /// Returns whether the string is this text.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        // Names rarely contain escapes: without one, the raw bytes are the text.
        if self.escaped {
            self.decode().is_some_and(|decoded| decoded == text)
        } else {
            self.raw == text.as_bytes()
        }
    }
}

/// Replaces the escapes of a valid string.
fn unescape(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        decoded.push_str(plain);
        let mut chars = escape.chars();
        match chars.next() {
            Some('u') => {
                let (unit, after) = code_unit(chars.as_str());
                let (character, after) = join_surrogates(unit, after);
                decoded.push(character);
                rest = after;
                continue;
            }
            Some('b') => decoded.push('\u{8}'),
            Some('f') => decoded.push('\u{c}'),
            Some('n') => decoded.push('\n'),
            Some('r') => decoded.push('\r'),
            Some('t') => decoded.push('\t'),
            Some(character) => decoded.push(character),
            None => {}
        }
        rest = chars.as_str();
    }
    decoded.push_str(rest);
    decoded
}

/// Reads the four digits of `\u`; returns the rest too.
fn code_unit(text: &str) -> (u32, &str) {
    let digits = text.get(..4).unwrap_or_default();
    (u32::from_str_radix(digits, 16).unwrap_or(0xFFFD), text.get(4..).unwrap_or_default())
}

/// Joins the two halves of a character outside the basic plane. Half of one is U+FFFD.
fn join_surrogates(unit: u32, after: &str) -> (char, &str) {
    if (0xD800..0xDC00).contains(&unit)
        && let Some(escape) = after.strip_prefix("\\u")
    {
        let (low, rest) = code_unit(escape);
        if (0xDC00..0xE000).contains(&low) {
            let joined = char::from_u32(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
            return (joined.unwrap_or(char::REPLACEMENT_CHARACTER), rest);
        }
    }
    (char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), after)
}

/// A position in a JSON text.
#[derive(Clone, Copy)]
pub struct JsonScanner<'t> {
    text: &'t [u8],
    offset: usize,
    /// Number of lists and objects around the text, which count towards the limit.
    around: usize,
}

impl<'t> JsonScanner<'t> {
    /// Creates a scanner at an offset of a text.
    #[must_use]
    pub fn at(text: &'t [u8], offset: usize) -> Self {
        Self { text, offset, around: 0 }
    }

    /// Creates a scanner of a text that will become part of a list.
    #[must_use]
    pub fn of_element(text: &'t [u8]) -> Self {
        Self { text, offset: 0, around: 1 }
    }

    /// Returns the offset in the text.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Returns the next byte.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.offset).copied()
    }

    /// Skips the next byte if it is this one.
    pub fn skip_byte(&mut self, byte: u8) -> bool {
        let skipped = self.peek() == Some(byte);
        self.offset += usize::from(skipped);
        skipped
    }

    /// Skips white space.
    pub fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.offset += 1;
        }
    }

    /// Checks that only white space follows.
    ///
    /// # Errors
    /// If there is other text.
    pub fn end(&mut self) -> Result<(), ValueError> {
        self.skip_space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fault("unexpected text after the end")),
        }
    }

    /// Skips a value that has `levels` lists and objects around it.
    pub(super) fn skip_value_below(&mut self, levels: usize) -> Result<&'t [u8], ValueError> {
        self.around = levels;
        self.skip_value()
    }

    /// Skips a value, with white space before it. Returns its text.
    ///
    /// # Errors
    /// If the text is no JSON, or is nested too deep.
    pub fn skip_value(&mut self) -> Result<&'t [u8], ValueError> {
        self.skip_space();
        let start = self.offset;
        match skip::value(self.text, start, self.around) {
            Some(end) => self.offset = end,
            None => self.skip_faulty_value()?,
        }
        Ok(&self.text[start..self.offset])
    }

    /// Skips a value step by step, to find the fault in it.
    #[cold]
    fn skip_faulty_value(&mut self) -> Result<(), ValueError> {
        let mut open = OpenLevels::new(self.around);
        loop {
            let ended = match self.token()? {
                Token::List => {
                    open.push(false).then_some(()).ok_or(ValueError::TooDeep)?;
                    self.closes(b']')
                }
                Token::Object => {
                    open.push(true).then_some(()).ok_or(ValueError::TooDeep)?;
                    let empty = self.closes(b'}');
                    if !empty {
                        self.name()?;
                    }
                    empty
                }
                Token::Null | Token::Bool(_) | Token::Number(_) | Token::Text(_) => match open.innermost() {
                    None => return Ok(()),
                    Some(object) if self.goes_on(object)? => continue,
                    Some(_) => true,
                },
            };
            if !ended {
                continue;
            }
            // The innermost list or object has ended; those around it may end right behind it.
            loop {
                open.pop();
                match open.innermost() {
                    None => return Ok(()),
                    Some(object) if self.goes_on(object)? => break,
                    Some(_) => {}
                }
            }
        }
    }

    /// Moves to the next element of a list; false behind its end. `first` means that the scanner is
    /// right behind the opening bracket.
    ///
    /// # Errors
    /// If there is neither an element nor the end.
    pub fn next_element(&mut self, first: bool) -> Result<bool, ValueError> {
        if first { Ok(!self.closes(b']')) } else { self.goes_on(false) }
    }

    /// Moves to the value of the next member of an object, and returns its name; `None` behind the
    /// end. `first` means that the scanner is right behind the opening brace.
    ///
    /// # Errors
    /// If there is neither a member nor the end.
    pub fn next_member(&mut self, first: bool) -> Result<Option<RawText<'t>>, ValueError> {
        let ended = if first { self.closes(b'}') } else { !self.comma(b'}')? };
        if ended { Ok(None) } else { self.name().map(Some) }
    }

    /// Returns true behind the end of a list or object that has nothing in it.
    fn closes(&mut self, end: u8) -> bool {
        self.skip_space();
        self.skip_byte(end)
    }

    /// Moves from the end of a value to the next value; false behind the end of the list or object.
    fn goes_on(&mut self, object: bool) -> Result<bool, ValueError> {
        if !self.comma(if object { b'}' } else { b']' })? {
            return Ok(false);
        }
        if object {
            self.name()?;
        }
        Ok(true)
    }

    /// Skips a comma, or the end of the list or object; returns false for the end.
    pub(super) fn comma(&mut self, end: u8) -> Result<bool, ValueError> {
        self.skip_space();
        if self.skip_byte(b',') {
            return Ok(true);
        }
        if self.skip_byte(end) { Ok(false) } else { Err(self.fault("expected a comma or the end")) }
    }

    /// Reads a member's name and its colon.
    pub(super) fn name(&mut self) -> Result<RawText<'t>, ValueError> {
        self.skip_space();
        if !self.skip_byte(b'"') {
            return Err(self.fault("expected a quoted name"));
        }
        let name = self.text()?;
        self.skip_space();
        if self.skip_byte(b':') { Ok(name) } else { Err(self.fault("expected a colon")) }
    }

    /// Reads a scalar, or an opening bracket.
    pub(super) fn token(&mut self) -> Result<Token<'t>, ValueError> {
        self.skip_space();
        let Some(first) = self.peek() else { return Err(self.fault("expected a value")) };
        match first {
            b'"' => {
                self.offset += 1;
                self.text().map(Token::Text)
            }
            b'{' => {
                self.offset += 1;
                Ok(Token::Object)
            }
            b'[' => {
                self.offset += 1;
                Ok(Token::List)
            }
            b't' => self.literal(b"true").map(|()| Token::Bool(true)),
            b'f' => self.literal(b"false").map(|()| Token::Bool(false)),
            b'n' => self.literal(b"null").map(|()| Token::Null),
            b'-' | b'0'..=b'9' => self.number().map(Token::Number),
            _ => Err(self.fault("expected a value")),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), ValueError> {
        for byte in word {
            if !self.skip_byte(*byte) {
                return Err(self.fault("misspelled true, false or null"));
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Result<&'t [u8], ValueError> {
        let start = self.offset;
        self.skip_byte(b'-');
        if self.skip_byte(b'0') {
            // RFC 8259 forbids leading zeros; other parsers would read octal.
            if self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                return Err(self.fault("number with a leading zero"));
            }
        } else {
            self.digits()?;
        }
        if self.skip_byte(b'.') {
            self.digits()?;
        }
        if self.skip_byte(b'e') || self.skip_byte(b'E') {
            let _sign = self.skip_byte(b'+') || self.skip_byte(b'-');
            self.digits()?;
        }
        Ok(&self.text[start..self.offset])
    }

    fn digits(&mut self) -> Result<(), ValueError> {
        let rest = &self.text[self.offset..];
        let count = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.offset += count;
        if count > 0 { Ok(()) } else { Err(self.fault("expected a digit")) }
    }

    /// Reads the rest of a string, behind its opening quote.
    fn text(&mut self) -> Result<RawText<'t>, ValueError> {
        let start = self.offset;
        let mut escaped = false;
        loop {
            self.offset += skip::plain_length(&self.text[self.offset..]);
            match self.peek() {
                Some(b'"') => {
                    let raw = &self.text[start..self.offset];
                    self.offset += 1;
                    return Ok(RawText { raw, escaped });
                }
                Some(b'\\') => {
                    self.offset += 1;
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.fault("control character in a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), ValueError> {
        match self.peek() {
            Some(b'u') => {
                self.offset += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.fault("invalid escape"));
                    }
                    self.offset += 1;
                }
                Ok(())
            }
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.offset += 1;
                Ok(())
            }
            _ => Err(self.fault("invalid escape")),
        }
    }

    /// Creates an error at the next byte, or at the end of the text.
    pub(super) fn fault(&self, what: &'static str) -> ValueError {
        match self.peek() {
            Some(_) => ValueError::Syntax { what, position: self.offset + 1 },
            None => ValueError::Syntax { what: "unexpected end", position: self.text.len() },
        }
    }
}

/// Returns true if the text is a JSON number and nothing else.
pub(super) fn is_number(text: &[u8]) -> bool {
    let mut scanner = JsonScanner::at(text, 0);
    text.first().is_some_and(|first| matches!(first, b'-' | b'0'..=b'9'))
        && scanner.number().is_ok_and(|number| number.len() == text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn check(json: &str) -> Result<(), String> {
        let mut scanner = JsonScanner::at(json.as_bytes(), 0);
        scanner.skip_value().and_then(|_| scanner.end()).map_err(|error| error.to_string())
    }

    #[test]
    fn fault_names_the_first_wrong_byte() {
        for (json, words) in [
            ("", "unexpected end at byte 0"),
            ("  ", "unexpected end at byte 2"),
            ("[1,]", "expected a value at byte 4"),
            ("[1 2]", "expected a comma or the end at byte 4"),
            ("{\"a\":[1],}", "expected a quoted name at byte 10"),
            ("{\"a\" 1}", "expected a colon at byte 6"),
            ("{\"a\":[1]} x", "unexpected text after the end at byte 11"),
            ("{\"a\":[1", "unexpected end at byte 7"),
            ("\"\\q\"", "invalid escape at byte 3"),
            ("\"\\u12g4\"", "invalid escape at byte 6"),
            ("\"a\nb\"", "control character in a string at byte 3"),
            ("[-]", "expected a digit at byte 3"),
            ("[1.e5]", "expected a digit at byte 4"),
            ("01", "number with a leading zero at byte 2"),
            ("nul]", "misspelled true, false or null at byte 4"),
        ] {
            assert_eq!(check(json), Err(format!("not valid json: {words}")), "{json}");
        }
    }

    #[test]
    fn nesting_is_bounded_in_every_value() {
        let deep = |open: &str, close: &str, levels: usize| {
            format!("{}1{}", open.repeat(levels), close.repeat(levels))
        };
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            assert_eq!(check(&deep(open, close, NESTING_MAX)), Ok(()));
            let refused = check(&deep(open, close, NESTING_MAX + 1));
            assert_eq!(refused, Err("nested more than 1000 levels deep".to_owned()));
        }
        let element = deep("[", "]", NESTING_MAX);
        assert_eq!(JsonScanner::of_element(element.as_bytes()).skip_value(), Err(ValueError::TooDeep));
    }

    #[test]
    fn half_a_surrogate_pair_is_a_replacement_character() {
        for (raw, text) in [
            (r"cut \ud83d", "cut \u{fffd}"),
            (r"\ude00\ud83d!", "\u{fffd}\u{fffd}!"),
            (r"\ud83d\ude00", "😀"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
            (r"\ud83dA\u00e9\/\\\n", "\u{fffd}Aé/\\\n"),
        ] {
            assert_eq!(RawText::new(raw.as_bytes()).decode().as_deref(), Some(text), "{raw}");
        }
        assert_eq!(RawText::new(b"\xFF").decode(), None);
    }

    proptest! {
        #[test]
        fn grammar_equals_that_of_another_parser(
            json in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\\", "\\u", "00e9", "\\ud83d", "true", "tru", "null", "1", "-",
                    "0", ".", "e", "+", " ", "\n", "\u{1}", "plain text of many bytes", "ü",
                ]),
                0..30,
            ).prop_map(|words| words.concat()),
        ) {
            let other = serde_json::from_str::<IgnoredAny>(&json);
            prop_assert_eq!(check(&json).is_ok(), other.is_ok(), "{:?} {:?}", json, other);
        }

        #[test]
        fn plain_length_equals_a_search(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1F);
            prop_assert_eq!(skip::plain_length(&bytes), bytes.iter().position(special).unwrap_or(bytes.len()));
        }
    }
}
