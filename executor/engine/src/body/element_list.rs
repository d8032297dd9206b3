//! A JSON list that is built up element by element, up to a limit.

use bytes::Bytes;

use super::error::DecodeError;

/// A list of the elements so far.
pub(super) struct ElementList {
    json: Vec<u8>,
    max_bytes: usize,
}

impl ElementList {
    /// Creates an empty list of at most `max_bytes`, with room for `expected` bytes.
    pub(super) fn new(max_bytes: usize, expected: usize) -> Self {
        let mut json = Vec::with_capacity(expected);
        json.push(b'[');
        Self { json, max_bytes }
    }

    /// Returns the end of the list: an element that is written there needs no copy. It is followed
    /// by [`ElementList::end_element`].
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.json
    }

    /// Ends the element that was written at the end.
    ///
    /// # Errors
    /// If the list is larger than permitted.
    pub(super) fn end_element(&mut self) -> Result<(), DecodeError> {
        // Checked after each element: the list itself must not outgrow the memory.
        if self.json.len() > self.max_bytes {
            return Err(DecodeError::TooLarge(self.max_bytes));
        }
        self.json.push(b',');
        Ok(())
    }

    /// Adds an element.
    ///
    /// # Errors
    /// If the list is larger than permitted.
    pub(super) fn push(&mut self, element: &[u8]) -> Result<(), DecodeError> {
        self.json.extend_from_slice(element);
        self.end_element()
    }

    /// Returns the list as JSON.
    pub(super) fn finish(mut self) -> Bytes {
        // The last element left a comma behind it.
        if self.json.len() > 1 {
            self.json.pop();
        }
        self.json.push(b']');
        self.json.into()
    }
}
