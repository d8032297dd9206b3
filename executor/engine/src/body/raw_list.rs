//! The elements of a list inside a whole JSON body, one by one, each a slice of it.
//!
//! In: a text that is known to be JSON, and a plain path. Out: the elements of the list found there. The text is read once,
//! from front to back, as far as it is asked for: nothing is decoded, nothing is remembered but where it is.

use bytes::Bytes;
use orchid_plan::{JsonType, PathSegment, PlainPath};
use serde::de::IgnoredAny;

use super::DecodeError;
use super::stream::is_space;

/// A list in a text. A member on the way that stands there twice is an error, once it is met.
pub(crate) struct RawList {
    cursor: Cursor,
    path: Vec<PathSegment>,
    /// Lists and objects on the way that are open, without the list itself.
    open: usize,
    state: State,
    found: bool,
    /// What was wrong, once and for all.
    failed: Option<DecodeError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    First,
    Between,
    Over,
}

impl RawList {
    /// Follows `path` to a list. A missing member, an index out of range and null are none.
    pub(super) fn open(text: Bytes, path: &PlainPath) -> Result<RawList, DecodeError> {
        let cursor = Cursor { text, at: 0 };
        let path = path.0.clone();
        let mut list = RawList { cursor, path, open: 0, state: State::Over, found: false, failed: None };
        list.cursor.skip_space();
        while let Some(step) = list.path.get(list.open).cloned() {
            if !list.enter(&step)? {
                list.close()?;
                return Ok(list);
            }
        }
        list.found = true;
        match list.cursor.peek() {
            Some(b'[') => {
                list.cursor.at += 1;
                list.state = State::First;
            }
            Some(b'n') => {
                list.cursor.skip_value()?;
                list.close()?;
            }
            first => return Err(DecodeError::NotAList(kind_of(first.unwrap_or_default()))),
        }
        Ok(list)
    }

    /// Whether something, be it null, stands at the path.
    pub(super) fn found(&self) -> bool {
        self.found
    }

    /// The next element; none at the list's end. After an error comes the same error.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, DecodeError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.element().inspect_err(|error| self.failed = Some(error.clone())),
        }
    }

    fn element(&mut self) -> Result<Option<Bytes>, DecodeError> {
        if self.state == State::Over {
            return Ok(None);
        }
        if !self.cursor.next_element(self.state == State::First)? {
            self.state = State::Over;
            self.close()?;
            return Ok(None);
        }
        self.state = State::Between;
        let start = self.cursor.at;
        self.cursor.skip_value()?;
        Ok(Some(self.cursor.text.slice(start..self.cursor.at)))
    }

    /// Goes one step down the path, to the beginning of the value there. False where nothing stands there; the value that
    /// was entered is read then, or still open.
    fn enter(&mut self, step: &PathSegment) -> Result<bool, DecodeError> {
        match (step, self.cursor.peek()) {
            (PathSegment::Member(name), Some(b'{')) => {
                self.cursor.at += 1;
                let found = self.cursor.find_member(name, true)?;
                self.open += usize::from(found);
                Ok(found)
            }
            (PathSegment::Index(index), Some(b'[')) => {
                self.cursor.at += 1;
                let found = self.cursor.find_element(*index)?;
                self.open += usize::from(found);
                Ok(found)
            }
            _ => {
                self.cursor.skip_value()?;
                Ok(false)
            }
        }
    }

    /// Reads what follows to the end of the text.
    fn close(&mut self) -> Result<(), DecodeError> {
        while let Some(level) = self.open.checked_sub(1) {
            match self.path.get(level) {
                Some(PathSegment::Member(name)) => {
                    if self.cursor.find_member(name, false)? {
                        return Err(DecodeError::Repeated(name.clone()));
                    }
                }
                Some(PathSegment::Index(_)) | None => {
                    while self.cursor.next_element(false)? {
                        self.cursor.skip_value()?;
                    }
                }
            }
            self.open = level;
        }
        self.cursor.skip_space();
        match self.cursor.peek() {
            None => Ok(()),
            Some(_) => Err(self.cursor.unexpected("something follows after its end")),
        }
    }
}

/// A place in a text.
#[derive(Clone)]
struct Cursor {
    text: Bytes,
    at: usize,
}

impl Cursor {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|byte| !is_space(*byte)).unwrap_or(rest.len());
    }

    fn skip_value(&mut self) -> Result<(), DecodeError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(_)) => {
                self.at += values.byte_offset();
                Ok(())
            }
            Some(Err(error)) => Err(DecodeError::json(&error)),
            None => Err(self.unexpected("a value is expected")),
        }
    }

    /// Goes to the beginning of the next element; false past the end of the list. `first`: right after its bracket.
    fn next_element(&mut self, first: bool) -> Result<bool, DecodeError> {
        self.next_of(b']', first)
    }

    fn next_of(&mut self, end: u8, first: bool) -> Result<bool, DecodeError> {
        self.skip_space();
        match self.peek() {
            Some(byte) if byte == end => {
                self.at += 1;
                return Ok(false);
            }
            Some(b',') if !first => self.at += 1,
            Some(_) if first => {}
            _ => return Err(self.unexpected("a comma or an end is expected")),
        }
        self.skip_space();
        Ok(true)
    }

    /// Goes to the beginning of the value of this member; false past the end of the object. `first`: right after its
    /// bracket, and not after a value.
    fn find_member(&mut self, wanted: &str, mut first: bool) -> Result<bool, DecodeError> {
        while self.next_of(b'}', first)? {
            first = false;
            let start = self.at + 1;
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a name in quotes is expected"));
            }
            self.skip_value()?;
            let matches = is_name(self.text.get(start..self.at - 1).unwrap_or_default(), wanted);
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("a colon is expected"));
            }
            self.at += 1;
            self.skip_space();
            if matches {
                return Ok(true);
            }
            self.skip_value()?;
        }
        Ok(false)
    }

    /// Goes to the beginning of an element, from the beginning of its list; false past the end of the list.
    fn find_element(&mut self, index: i32) -> Result<bool, DecodeError> {
        let mut before = u64::from(index.unsigned_abs());
        if index < 0 {
            let elements = self.clone().count_elements()?;
            match elements.checked_sub(before) {
                Some(number) => before = number,
                None => before = elements,
            }
        }
        let mut first = true;
        while self.next_element(first)? {
            first = false;
            if before == 0 {
                return Ok(true);
            }
            before -= 1;
            self.skip_value()?;
        }
        Ok(false)
    }

    fn count_elements(mut self) -> Result<u64, DecodeError> {
        let mut count = 0;
        while self.next_element(count == 0)? {
            count += 1;
            self.skip_value()?;
        }
        Ok(count)
    }

    fn unexpected(&self, what: &str) -> DecodeError {
        DecodeError::Json(format!("{what}, at byte {}", self.at + 1))
    }
}

/// Whether a name, as it stands between its quotes, is this one.
pub(super) fn is_name(raw: &[u8], name: &str) -> bool {
    if !raw.contains(&b'\\') {
        return raw == name.as_bytes();
    }
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::from_slice::<String>(&quoted).is_ok_and(|decoded| decoded == name)
}

/// The type of a JSON value, by its first byte.
pub(super) fn kind_of(first: u8) -> JsonType {
    match first {
        b'[' => JsonType::List,
        b'{' => JsonType::Object,
        b'"' => JsonType::Text,
        b't' | b'f' => JsonType::Bool,
        b'n' => JsonType::Null,
        _ => JsonType::Number,
    }
}
