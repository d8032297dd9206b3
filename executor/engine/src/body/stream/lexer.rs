//! JSON token by token (RFC 8259), from text that may be cut anywhere.
//!
//! In: pieces of text. Out: where values and names begin and end. The whole grammar is checked, also of what nobody asked
//! for; nothing of the text is held, but one entry for each list and object that is open.

/// Lists and objects inside each other at most.
pub(super) const DEPTH_MAX: usize = 1000;

/// What was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A value begins with this byte, the last one read.
    Value(u8),
    /// A value has ended with the last byte read.
    ValueEnd,
    /// A name begins after the last byte read, its quote.
    Name,
    /// A name has ended with the last byte read, its quote.
    NameEnd,
}

/// Why a text is no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Unexpected(&'static str),
    TooDeep,
}

type Step = Result<Option<Event>, Fault>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value has to begin.
    Value,
    /// After `[`: a value, or the end.
    FirstElement,
    /// After `{`: a name, or the end.
    FirstName,
    /// After a comma in an object.
    Name,
    /// After a name.
    Colon,
    /// After a value: a comma, an end, or nothing at the top.
    After,
    /// Inside quotes.
    Text {
        name: bool,
        escape: Escape,
    },
    /// Inside `true`, `false` or `null`, with what is still missing of it.
    Literal(&'static [u8]),
    Number(Number),
}

/// Inside an escape, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    No,
    Backslash,
    /// Hexadecimal digits that are still missing.
    Hex(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

/// Reads JSON. See the module.
pub(super) struct Lexer {
    state: State,
    /// Whether each open list or object is an object.
    open: Vec<bool>,
    /// Events inside more than this many lists and objects are passed over.
    pub(super) watch: usize,
}

impl Lexer {
    pub(super) fn new() -> Lexer {
        Lexer { state: State::Value, open: Vec::new(), watch: 0 }
    }

    /// Reads on to the next event that is watched; none where the text ends before.
    pub(super) fn next(&mut self, text: &[u8], at: &mut usize) -> Step {
        while let Some(&byte) = text.get(*at) {
            let step = match self.state {
                State::Text { name, escape: Escape::No } => self.plain_text(text, at, name)?,
                State::Number(number) => match advance(number, byte) {
                    Ok(None) => self.value_ended(),
                    next => {
                        *at += 1;
                        self.state = next?.map_or(State::After, State::Number);
                        None
                    }
                },
                _ => {
                    *at += 1;
                    self.byte(byte)?
                }
            };
            if step.is_some() {
                return Ok(step);
            }
        }
        Ok(None)
    }

    /// Nothing comes any more: only a number at the top can end by that.
    pub(super) fn finish(&mut self) -> Step {
        match self.state {
            State::After if self.open.is_empty() => Ok(None),
            State::Number(Number::Zero | Number::Integer | Number::Fraction | Number::Exponent)
                if self.open.is_empty() =>
            {
                Ok(self.value_ended())
            }
            _ => Err(Fault::Unexpected("it ends too early")),
        }
    }

    /// Any byte but those of numbers and of text outside of escapes.
    fn byte(&mut self, byte: u8) -> Step {
        let space = super::is_space(byte);
        match self.state {
            State::Value
            | State::FirstElement
            | State::FirstName
            | State::Name
            | State::Colon
            | State::After
                if space => {}
            State::FirstElement if byte == b']' => return Ok(self.close()),
            State::Value | State::FirstElement => return self.value(byte),
            State::FirstName if byte == b'}' => return Ok(self.close()),
            State::FirstName | State::Name if byte == b'"' => {
                self.state = State::Text { name: true, escape: Escape::No };
                return Ok(self.event(self.open.len(), Event::Name));
            }
            State::FirstName | State::Name => return Err(Fault::Unexpected("a name in quotes is expected")),
            State::Colon if byte == b':' => self.state = State::Value,
            State::Colon => return Err(Fault::Unexpected("a colon is expected")),
            State::After => return self.after(byte),
            State::Text { name, escape } => self.state = State::Text { name, escape: escape.advance(byte)? },
            State::Literal(rest) => match rest.split_first() {
                Some((first, [])) if *first == byte => return Ok(self.value_ended()),
                Some((first, rest)) if *first == byte => self.state = State::Literal(rest),
                _ => return Err(Fault::Unexpected("true, false or null is misspelt")),
            },
            State::Number(_) => return Err(Fault::Unexpected("a number is cut")),
        }
        Ok(None)
    }

    /// A value begins.
    fn value(&mut self, byte: u8) -> Step {
        let around = self.open.len();
        self.state = match byte {
            b'{' | b'[' if around >= DEPTH_MAX => return Err(Fault::TooDeep),
            b'{' => State::FirstName,
            b'[' => State::FirstElement,
            b'"' => State::Text { name: false, escape: Escape::No },
            b't' => State::Literal(b"rue"),
            b'f' => State::Literal(b"alse"),
            b'n' => State::Literal(b"ull"),
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Integer),
            _ => return Err(Fault::Unexpected("a value is expected")),
        };
        if matches!(byte, b'{' | b'[') {
            self.open.push(byte == b'{');
        }
        Ok(self.event(around, Event::Value(byte)))
    }

    fn after(&mut self, byte: u8) -> Step {
        match (self.open.last(), byte) {
            (Some(false), b']') | (Some(true), b'}') => Ok(self.close()),
            (Some(false), b',') => {
                self.state = State::Value;
                Ok(None)
            }
            (Some(true), b',') => {
                self.state = State::Name;
                Ok(None)
            }
            (Some(_), _) => Err(Fault::Unexpected("a comma or an end is expected")),
            (None, _) => Err(Fault::Unexpected("something follows after its end")),
        }
    }

    fn close(&mut self) -> Option<Event> {
        self.open.pop();
        self.value_ended()
    }

    fn value_ended(&mut self) -> Option<Event> {
        self.state = State::After;
        self.event(self.open.len(), Event::ValueEnd)
    }

    /// Text up to its end, an escape, or the end of the piece.
    fn plain_text(&mut self, text: &[u8], at: &mut usize, name: bool) -> Step {
        let Some(length) = text[*at..].iter().position(|byte| SPECIAL[usize::from(*byte)]) else {
            *at = text.len();
            return Ok(None);
        };
        *at += length + 1;
        match text[*at - 1] {
            b'"' if name => {
                self.state = State::Colon;
                Ok(self.event(self.open.len(), Event::NameEnd))
            }
            b'"' => Ok(self.value_ended()),
            b'\\' => {
                self.state = State::Text { name, escape: Escape::Backslash };
                Ok(None)
            }
            _ => Err(Fault::Unexpected("a control character stands in a text")),
        }
    }

    fn event(&self, around: usize, event: Event) -> Option<Event> {
        (around <= self.watch).then_some(event)
    }
}

/// What does not stand for itself in a text: quotes, backslashes and control characters.
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

impl Escape {
    fn advance(self, byte: u8) -> Result<Escape, Fault> {
        match (self, byte) {
            (Escape::Backslash, b'u') => Ok(Escape::Hex(4)),
            (Escape::Backslash, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(Escape::No),
            (Escape::Hex(1), _) if byte.is_ascii_hexdigit() => Ok(Escape::No),
            (Escape::Hex(left), _) if byte.is_ascii_hexdigit() => Ok(Escape::Hex(left - 1)),
            _ => Err(Fault::Unexpected("an escape is none")),
        }
    }
}

/// Where a number is after this byte; none where it ended before.
fn advance(number: Number, byte: u8) -> Result<Option<Number>, Fault> {
    use Number::{E, Exponent, Fraction, Integer, Minus, Point, Sign, Zero};
    Ok(match (number, byte) {
        (Minus, b'0') => Some(Zero),
        (Minus, b'1'..=b'9') | (Integer, b'0'..=b'9') => Some(Integer),
        (Zero, b'0'..=b'9') => return Err(Fault::Unexpected("a number begins with 0")),
        (Zero | Integer, b'.') => Some(Point),
        (Point | Fraction, b'0'..=b'9') => Some(Fraction),
        (Zero | Integer | Fraction, b'e' | b'E') => Some(E),
        (E, b'+' | b'-') => Some(Sign),
        (E | Sign | Exponent, b'0'..=b'9') => Some(Exponent),
        (Zero | Integer | Fraction | Exponent, _) => None,
        (Minus | Point | E | Sign, _) => return Err(Fault::Unexpected("a digit is expected")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(json: &str, watch: usize, size: usize) -> Result<Vec<(usize, Event)>, Fault> {
        let mut lexer = Lexer { watch, ..Lexer::new() };
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
    fn events_say_where_things_begin_and_end() {
        let json = " {\"a\\n\" : [1, {}] ,\"b\":null} ";
        let at = |watch| events(json, watch, json.len()).unwrap();
        let top = [(2, Event::Value(b'{')), (28, Event::ValueEnd)];
        assert_eq!(at(0), top);
        let members = [
            (2, Event::Value(b'{')),
            (3, Event::Name),
            (7, Event::NameEnd),
            (11, Event::Value(b'[')),
            (17, Event::ValueEnd),
            (20, Event::Name),
            (22, Event::NameEnd),
            (24, Event::Value(b'n')),
            (27, Event::ValueEnd),
            (28, Event::ValueEnd),
        ];
        assert_eq!(at(1), members);
        assert_eq!(at(9).len(), 14);
        for size in 1..json.len() {
            assert_eq!(events(json, 1, size).unwrap(), members, "{size}");
        }
    }

    #[test]
    fn a_number_at_the_top_ends_with_the_text() {
        assert_eq!(events("12", 0, 1).unwrap(), [(1, Event::Value(b'1')), (2, Event::ValueEnd)]);
        assert_eq!(events("12 ", 0, 1).unwrap(), [(1, Event::Value(b'1')), (2, Event::ValueEnd)]);
        assert!(events("1.", 0, 1).is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(events(&deep(DEPTH_MAX), 0, 7).is_ok());
        assert_eq!(events(&deep(DEPTH_MAX + 1), 0, 7), Err(Fault::TooDeep));
    }
}
