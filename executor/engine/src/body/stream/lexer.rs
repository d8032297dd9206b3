//! An incremental JSON lexer (RFC 8259) for text that may be cut anywhere.
//!
//! It reports where values and names begin and end. It checks the whole grammar, also of values
//! that are not reported, and keeps no text: only one bit for each open list and object.

use orchid_plan::NESTING_MAX;

use crate::body::json_text::is_space;

/// A border of a value or name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonEvent {
    /// A value begins with this byte, which is the last one read.
    Value(u8),
    /// A value ends with the last byte read, or before it if the value is a number.
    ValueEnd,
    /// A name begins after the last byte read, its opening quote.
    Name,
    /// A name ends with the last byte read, its closing quote.
    NameEnd,
}

/// The reason why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LexerError {
    Unexpected(&'static str),
    TooDeep,
}

type LexerResult = Result<Option<JsonEvent>, LexerError>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LexerState {
    /// A value is expected.
    Value,
    /// After `[`: a value or the end.
    FirstElement,
    /// After `{`: a name or the end.
    FirstName,
    /// After a comma in an object.
    Name,
    /// After a name.
    Colon,
    /// After a value: a comma or an end; at the top level, nothing.
    After,
    /// Inside quotes.
    Text {
        name: bool,
        escape: EscapeState,
    },
    /// Inside `true`, `false` or `null`; the missing rest of it.
    Literal(&'static [u8]),
    Number(NumberState),
}

/// The position inside an escape sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EscapeState {
    No,
    Backslash,
    /// Number of missing hexadecimal digits.
    Hex(u8),
}

/// The part of a number that was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NumberState {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

/// A lexer with its state between two pieces.
pub(super) struct JsonLexer {
    state: LexerState,
    /// One entry per open list or object: whether it is an object.
    open: Vec<bool>,
    /// Deepest level whose events are reported; deeper values are only checked.
    pub(super) watch_depth: usize,
    /// Largest number of open lists and objects.
    depth_max: usize,
}

impl JsonLexer {
    pub(super) fn new() -> Self {
        Self { state: LexerState::Value, open: Vec::new(), watch_depth: 0, depth_max: NESTING_MAX }
    }

    /// Creates a lexer of a value that will become part of a list.
    pub(super) fn of_element() -> Self {
        Self { depth_max: NESTING_MAX - 1, ..Self::new() }
    }

    /// Reads up to the next reported event. Returns `None` at the end of the text.
    ///
    /// # Errors
    /// If the text is not JSON.
    pub(super) fn next(&mut self, text: &[u8], offset: &mut usize) -> LexerResult {
        while let Some(&byte) = text.get(*offset) {
            let step = match self.state {
                // Strings are most of a body: they are searched, not stepped through byte by byte.
                LexerState::Text { name, escape: EscapeState::No } => self.skip_text(text, offset, name)?,
                LexerState::Number(number) => match advance_number(number, byte) {
                    // A number has no closing byte: this byte belongs to whatever follows it.
                    Ok(None) => self.end_value(),
                    next => {
                        *offset += 1;
                        self.state = next?.map_or(LexerState::After, LexerState::Number);
                        None
                    }
                },
                _ => {
                    *offset += 1;
                    self.handle_byte(byte)?
                }
            };
            if step.is_some() {
                return Ok(step);
            }
        }
        Ok(None)
    }

    /// Signals the end of the document, which can only end a number at the top level.
    ///
    /// # Errors
    /// If the document is incomplete.
    pub(super) fn finish(&mut self) -> LexerResult {
        match self.state {
            LexerState::After if self.open.is_empty() => Ok(None),
            LexerState::Number(
                NumberState::Zero | NumberState::Integer | NumberState::Fraction | NumberState::Exponent,
            ) if self.open.is_empty() => Ok(self.end_value()),
            _ => Err(LexerError::Unexpected("unexpected end")),
        }
    }

    /// Handles one byte of anything except numbers and plain text.
    fn handle_byte(&mut self, byte: u8) -> LexerResult {
        // Every state between tokens allows white space; inside a token it is a normal byte.
        let space = is_space(byte);
        match self.state {
            LexerState::Value
            | LexerState::FirstElement
            | LexerState::FirstName
            | LexerState::Name
            | LexerState::Colon
            | LexerState::After
                if space => {}
            LexerState::FirstElement if byte == b']' => return Ok(self.close()),
            LexerState::Value | LexerState::FirstElement => return self.begin_value(byte),
            LexerState::FirstName if byte == b'}' => return Ok(self.close()),
            LexerState::FirstName | LexerState::Name if byte == b'"' => {
                self.state = LexerState::Text { name: true, escape: EscapeState::No };
                return Ok(self.report(self.open.len(), JsonEvent::Name));
            }
            LexerState::FirstName | LexerState::Name => {
                return Err(LexerError::Unexpected("expected a quoted name"));
            }
            LexerState::Colon if byte == b':' => self.state = LexerState::Value,
            LexerState::Colon => return Err(LexerError::Unexpected("expected a colon")),
            LexerState::After => return self.after_value(byte),
            LexerState::Text { name, escape } => {
                self.state = LexerState::Text { name, escape: escape.advance(byte)? }
            }
            LexerState::Literal(rest) => match rest.split_first() {
                Some((first, [])) if *first == byte => return Ok(self.end_value()),
                Some((first, rest)) if *first == byte => self.state = LexerState::Literal(rest),
                _ => return Err(LexerError::Unexpected("misspelled true, false or null")),
            },
            LexerState::Number(_) => return Err(LexerError::Unexpected("incomplete number")),
        }
        Ok(None)
    }

    fn begin_value(&mut self, byte: u8) -> LexerResult {
        let depth = self.open.len();
        self.state = match byte {
            b'{' | b'[' if depth >= self.depth_max => return Err(LexerError::TooDeep),
            b'{' => LexerState::FirstName,
            b'[' => LexerState::FirstElement,
            b'"' => LexerState::Text { name: false, escape: EscapeState::No },
            b't' => LexerState::Literal(b"rue"),
            b'f' => LexerState::Literal(b"alse"),
            b'n' => LexerState::Literal(b"ull"),
            b'-' => LexerState::Number(NumberState::Minus),
            b'0' => LexerState::Number(NumberState::Zero),
            b'1'..=b'9' => LexerState::Number(NumberState::Integer),
            _ => return Err(LexerError::Unexpected("expected a value")),
        };
        // `depth` is the depth outside of the new list or object, at which its end is reported too.
        if matches!(byte, b'{' | b'[') {
            self.open.push(byte == b'{');
        }
        Ok(self.report(depth, JsonEvent::Value(byte)))
    }

    fn after_value(&mut self, byte: u8) -> LexerResult {
        match (self.open.last(), byte) {
            (Some(false), b']') | (Some(true), b'}') => Ok(self.close()),
            (Some(false), b',') => {
                self.state = LexerState::Value;
                Ok(None)
            }
            (Some(true), b',') => {
                self.state = LexerState::Name;
                Ok(None)
            }
            (Some(_), _) => Err(LexerError::Unexpected("expected a comma or the end")),
            (None, _) => Err(LexerError::Unexpected("unexpected text after the end")),
        }
    }

    fn close(&mut self) -> Option<JsonEvent> {
        self.open.pop();
        self.end_value()
    }

    fn end_value(&mut self) -> Option<JsonEvent> {
        self.state = LexerState::After;
        self.report(self.open.len(), JsonEvent::ValueEnd)
    }

    /// Skips text up to its end, an escape, or the end of the piece.
    fn skip_text(&mut self, text: &[u8], offset: &mut usize, name: bool) -> LexerResult {
        // A piece may end inside a string: the state stays, and the next piece continues here.
        let Some(length) = text[*offset..].iter().position(|byte| SPECIAL[usize::from(*byte)]) else {
            *offset = text.len();
            return Ok(None);
        };
        *offset += length + 1;
        match text[*offset - 1] {
            b'"' if name => {
                self.state = LexerState::Colon;
                Ok(self.report(self.open.len(), JsonEvent::NameEnd))
            }
            b'"' => Ok(self.end_value()),
            b'\\' => {
                self.state = LexerState::Text { name, escape: EscapeState::Backslash };
                Ok(None)
            }
            _ => Err(LexerError::Unexpected("control character in a string")),
        }
    }

    fn report(&self, depth: usize, event: JsonEvent) -> Option<JsonEvent> {
        (depth <= self.watch_depth).then_some(event)
    }
}

/// The bytes that do not represent themselves inside a string: quotes, backslashes and control
/// characters. A table, since this loop sees every byte of a body's strings.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = true;
        byte += 1;
    }
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special
};

impl EscapeState {
    fn advance(self, byte: u8) -> Result<Self, LexerError> {
        match (self, byte) {
            (Self::Backslash, b'u') => Ok(Self::Hex(4)),
            (Self::Backslash, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(Self::No),
            (Self::Hex(1), _) if byte.is_ascii_hexdigit() => Ok(Self::No),
            (Self::Hex(left), _) if byte.is_ascii_hexdigit() => Ok(Self::Hex(left - 1)),
            _ => Err(LexerError::Unexpected("invalid escape")),
        }
    }
}

/// Advances a number by one byte. Returns `None` if the number ended before it.
fn advance_number(number: NumberState, byte: u8) -> Result<Option<NumberState>, LexerError> {
    use NumberState::{E, Exponent, Fraction, Integer, Minus, Point, Sign, Zero};
    Ok(match (number, byte) {
        (Minus, b'0') => Some(Zero),
        (Minus, b'1'..=b'9') | (Integer, b'0'..=b'9') => Some(Integer),
        // RFC 8259 forbids leading zeros; other parsers would read octal.
        (Zero, b'0'..=b'9') => return Err(LexerError::Unexpected("number with a leading zero")),
        (Zero | Integer, b'.') => Some(Point),
        (Point | Fraction, b'0'..=b'9') => Some(Fraction),
        (Zero | Integer | Fraction, b'e' | b'E') => Some(E),
        (E, b'+' | b'-') => Some(Sign),
        (E | Sign | Exponent, b'0'..=b'9') => Some(Exponent),
        (Zero | Integer | Fraction | Exponent, _) => None,
        (Minus | Point | E | Sign, _) => return Err(LexerError::Unexpected("expected a digit")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(json: &str, watch: usize, size: usize) -> Result<Vec<(usize, JsonEvent)>, LexerError> {
        let mut lexer = JsonLexer { watch_depth: watch, ..JsonLexer::new() };
        let mut events = Vec::new();
        for (index, piece) in json.as_bytes().chunks(size).enumerate() {
            let mut at = 0;
            while let Some(event) = lexer.next(piece, &mut at)? {
                events.push((index * size + at, event));
            }
        }
        events.extend(lexer.finish()?.map(|event| (json.len(), event)));
        Ok(events)
    }

    #[test]
    fn events_mark_begin_and_end_of_values_and_names() {
        let json = " {\"a\\n\" : [1, {}] ,\"b\":null} ";
        let at = |watch| events(json, watch, json.len()).unwrap();
        let top = [(2, JsonEvent::Value(b'{')), (28, JsonEvent::ValueEnd)];
        assert_eq!(at(0), top);
        let members = [
            (2, JsonEvent::Value(b'{')),
            (3, JsonEvent::Name),
            (7, JsonEvent::NameEnd),
            (11, JsonEvent::Value(b'[')),
            (17, JsonEvent::ValueEnd),
            (20, JsonEvent::Name),
            (22, JsonEvent::NameEnd),
            (24, JsonEvent::Value(b'n')),
            (27, JsonEvent::ValueEnd),
            (28, JsonEvent::ValueEnd),
        ];
        assert_eq!(at(1), members);
        assert_eq!(at(9).len(), 14);
        for size in 1..json.len() {
            assert_eq!(events(json, 1, size).unwrap(), members, "{size}");
        }
    }

    #[test]
    fn top_level_number_ends_with_the_text() {
        assert_eq!(events("12", 0, 1).unwrap(), [(1, JsonEvent::Value(b'1')), (2, JsonEvent::ValueEnd)]);
        assert_eq!(events("12 ", 0, 1).unwrap(), [(1, JsonEvent::Value(b'1')), (2, JsonEvent::ValueEnd)]);
        assert!(events("1.", 0, 1).is_err());
    }

    #[test]
    fn nesting_is_limited() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(events(&deep(NESTING_MAX), 0, 7).is_ok());
        assert_eq!(events(&deep(NESTING_MAX + 1), 0, 7), Err(LexerError::TooDeep));
    }
}
