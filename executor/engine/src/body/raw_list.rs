//! Reads the elements of a list inside a whole JSON body one by one, each as a slice of it.
//!
//! The input is valid JSON and a plain path to the list. The text is scanned once from front to
//! back, only as far as elements are requested; nothing is decoded and only the offset is kept.

use bytes::Bytes;
use orchid_plan::{JsonScanner, PathSegment, PlainPath, ValueError};

use super::error::DecodeError;
use super::json_text::json_type_of;
use super::row_path::RowPath;

/// A list inside a JSON text. A second occurrence of a member on the path is an error once the scan
/// reaches it.
pub(crate) struct RawList {
    scanner: TextPosition,
    path: Vec<PathSegment>,
    /// Number of open lists and objects on the path, without the list itself.
    open_levels: usize,
    state: ListState,
    found: bool,
    listed: bool,
    may_be_absent: bool,
    /// The error that every later call returns.
    failure: Option<DecodeError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListState {
    /// After the opening bracket.
    BeforeFirst,
    AfterElement,
    Ended,
}

impl RawList {
    /// Follows `path` to a list. A missing member, an index out of range and null count as an empty
    /// list.
    pub(super) fn open(text: Bytes, rows: &RowPath<'_>) -> Result<Self, DecodeError> {
        let mut list = Self {
            scanner: TextPosition { text, offset: 0 },
            path: rows.path.0.clone(),
            open_levels: 0,
            state: ListState::Ended,
            found: false,
            listed: false,
            may_be_absent: rows.may_be_absent,
            failure: None,
        };
        list.scanner.skip_space();
        while let Some(step) = list.path.get(list.open_levels).cloned() {
            if !list.enter(&step)? {
                list.close()?;
                return Ok(list);
            }
        }
        list.found = true;
        match list.scanner.peek() {
            Some(b'[') => {
                list.scanner.offset += 1;
                list.state = ListState::BeforeFirst;
                list.listed = true;
            }
            // The text is valid JSON, so `n` can only begin null.
            Some(b'n') => {
                list.scanner.skip_value()?;
                list.close()?;
            }
            first => {
                let start = list.scanner.skip_value()?;
                if !rows.allows(&list.scanner.text[start..list.scanner.offset]) {
                    return Err(DecodeError::NotAList(json_type_of(first.unwrap_or_default())));
                }
                list.close()?;
            }
        }
        Ok(list)
    }

    /// Returns a reader of the same list from its first element.
    pub(super) fn restarted(&self) -> Result<Self, DecodeError> {
        let path = PlainPath(self.path.clone());
        let rows = RowPath { path: &path, may_be_absent: self.may_be_absent };
        Self::open(self.scanner.text.clone(), &rows)
    }

    /// Returns whether the path leads to a value, even null.
    pub(super) fn found(&self) -> bool {
        self.found
    }

    /// Returns whether the path leads to a list.
    pub(super) fn listed(&self) -> bool {
        self.listed
    }

    /// Returns the next element, or `None` at the end of the list. After an error it returns the
    /// same error.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, DecodeError> {
        match &self.failure {
            Some(error) => Err(error.clone()),
            None => self.next_element().inspect_err(|error| self.failure = Some(error.clone())),
        }
    }

    fn next_element(&mut self) -> Result<Option<Bytes>, DecodeError> {
        if self.state == ListState::Ended {
            return Ok(None);
        }
        // Elements are sliced, not copied: they share the body's memory.
        if !self.scanner.next_list_element(self.state == ListState::BeforeFirst)? {
            self.state = ListState::Ended;
            self.close()?;
            return Ok(None);
        }
        self.state = ListState::AfterElement;
        let start = self.scanner.skip_value()?;
        Ok(Some(self.scanner.text.slice(start..self.scanner.offset)))
    }

    /// Follows one step of the path to the start of its value. Returns false if there is none; the
    /// scanner is then behind the current value, or behind the end of the list or object.
    fn enter(&mut self, step: &PathSegment) -> Result<bool, DecodeError> {
        match (step, self.scanner.peek()) {
            (PathSegment::Member(name), Some(b'{')) => {
                self.scanner.offset += 1;
                let found = self.scanner.find_member(name, true)?;
                self.open_levels += usize::from(found);
                Ok(found)
            }
            (PathSegment::Index(index), Some(b'[')) => {
                self.scanner.offset += 1;
                let found = self.scanner.find_element(*index)?;
                self.open_levels += usize::from(found);
                Ok(found)
            }
            _ => {
                self.scanner.skip_value()?;
                Ok(false)
            }
        }
    }

    /// Scans the rest of the text, since a second occurrence of a member on the path may still
    /// come.
    fn close(&mut self) -> Result<(), DecodeError> {
        while let Some(level) = self.open_levels.checked_sub(1) {
            match self.path.get(level) {
                Some(PathSegment::Member(name)) => {
                    if self.scanner.find_member(name, false)? {
                        return Err(DecodeError::DuplicateMember(name.clone()));
                    }
                }
                Some(PathSegment::Index(_)) | None => {
                    while self.scanner.next_list_element(false)? {
                        self.scanner.skip_value()?;
                    }
                }
            }
            self.open_levels = level;
        }
        self.scanner.scan(|scanner| scanner.end())
    }
}

/// A position in a JSON text that it shares.
#[derive(Clone)]
struct TextPosition {
    text: Bytes,
    offset: usize,
}

impl TextPosition {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.offset).copied()
    }

    /// Runs a step of the scanner from this position, which moves along with it.
    fn scan<T>(
        &mut self,
        step: impl FnOnce(&mut JsonScanner<'_>) -> Result<T, ValueError>,
    ) -> Result<T, DecodeError> {
        let mut scanner = JsonScanner::at(&self.text, self.offset);
        let result = step(&mut scanner);
        self.offset = scanner.offset();
        Ok(result?)
    }

    fn skip_space(&mut self) {
        let mut scanner = JsonScanner::at(&self.text, self.offset);
        scanner.skip_space();
        self.offset = scanner.offset();
    }

    /// Skips a value; returns where it begins.
    fn skip_value(&mut self) -> Result<usize, DecodeError> {
        self.skip_space();
        let start = self.offset;
        self.scan(|scanner| scanner.skip_value().map(|_| start))
    }

    /// Moves to the start of the next element; false behind the end of the list. `first` means that
    /// the position is right after the opening bracket.
    fn next_list_element(&mut self, first: bool) -> Result<bool, DecodeError> {
        self.scan(|scanner| scanner.next_element(first))
    }

    /// Moves to the start of a member's value; false behind the end of the object. `first` means
    /// that the position is right after the opening brace, not after a value.
    fn find_member(&mut self, wanted: &str, mut first: bool) -> Result<bool, DecodeError> {
        self.scan(|scanner| {
            while let Some(name) = scanner.next_member(first)? {
                first = false;
                if name.is(wanted) {
                    scanner.skip_space();
                    return Ok(true);
                }
                scanner.skip_value()?;
            }
            Ok(false)
        })
    }

    /// Moves from the start of a list to one of its elements; false behind the end of the list.
    fn find_element(&mut self, index: i32) -> Result<bool, DecodeError> {
        let mut before = u64::from(index.unsigned_abs());
        // A negative index counts from the end, which takes a scan of the whole list to find.
        if index < 0 {
            // The clone only copies a reference to the text and an offset.
            let elements = self.clone().count_elements()?;
            match elements.checked_sub(before) {
                Some(number) => before = number,
                // An index before the start is out of range: skipping everything finds nothing.
                None => before = elements,
            }
        }
        let mut first = true;
        while self.next_list_element(first)? {
            first = false;
            if before == 0 {
                self.skip_space();
                return Ok(true);
            }
            before -= 1;
            self.skip_value()?;
        }
        Ok(false)
    }

    fn count_elements(mut self) -> Result<u64, DecodeError> {
        let mut count = 0;
        while self.next_list_element(count == 0)? {
            count += 1;
            self.skip_value()?;
        }
        Ok(count)
    }
}
