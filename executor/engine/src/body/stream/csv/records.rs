//! Splits CSV into records and fields.
//!
//! The syntax is RFC 4180 with the plan's delimiter, quote, escape and comment characters. Lines
//! end with LF, CRLF or CR. Unlike most readers, this one refuses text between a closing quote and
//! the next delimiter: such a body uses another dialect, and its fields would be wrong.

use orchid_plan::CsvRules;

/// Largest number of fields in a record.
pub(super) const FIELDS_MAX: usize = 65_536;

/// A record that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RecordError {
    /// The record violates the syntax or a limit, which the text describes.
    Invalid(String),
    /// The record is larger than the limit.
    TooLarge,
}

/// A reader of records, from text that may be cut anywhere.
pub(super) struct RecordReader {
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    comment: Option<u8>,
    /// Marks the bytes at which an unquoted field may end.
    special: Box<[bool; 256]>,
    state: RecordState,
    /// The concatenated fields of the current record.
    record: Vec<u8>,
    /// The end of each complete field in `record`.
    ends: Vec<usize>,
    /// Number of line breaks before the next byte.
    line_breaks: u64,
    /// True if the last byte was a CR: an LF then belongs to it.
    after_cr: bool,
    max_bytes: usize,
}

/// The place in a record of the next byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecordState {
    /// At the beginning of a line, where empty lines and comments are skipped.
    LineStart,
    Comment,
    FieldStart,
    Unquoted,
    /// Behind an escape character in an unquoted field.
    UnquotedEscape,
    Quoted,
    /// Behind an escape character in a quoted field.
    QuotedEscape,
    /// Behind a quote in a quoted field: it closes the field unless another one follows.
    QuoteInQuoted,
}

/// A complete record.
pub(super) struct Record<'r> {
    text: &'r [u8],
    ends: &'r [usize],
}

impl<'r> Record<'r> {
    pub(super) fn field_count(&self) -> usize {
        self.ends.len()
    }

    /// Returns the fields, or `None` if they are not UTF-8: a delimiter that is not ASCII has cut a
    /// character in half.
    pub(super) fn fields(&self) -> Option<impl Iterator<Item = &'r str> + use<'r>> {
        let text = std::str::from_utf8(self.text).ok()?;
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        if !self.ends.iter().all(|end| text.is_char_boundary(*end)) {
            return None;
        }
        Some(starts.zip(self.ends).map(|(start, end)| text.get(start..*end).unwrap_or_default()))
    }
}

impl RecordReader {
    pub(super) fn new(rules: &CsvRules, max_bytes: usize) -> Self {
        let mut reader = Self {
            delimiter: rules.delimiter,
            quote: rules.quote,
            escape: rules.escape,
            comment: rules.comment,
            special: Box::new([false; 256]),
            state: RecordState::LineStart,
            record: Vec::new(),
            ends: Vec::new(),
            line_breaks: 0,
            after_cr: false,
            max_bytes,
        };
        reader.mark_special();
        reader
    }

    /// Replaces the delimiter.
    pub(super) fn set_delimiter(&mut self, delimiter: u8) {
        self.delimiter = delimiter;
        self.mark_special();
    }

    fn mark_special(&mut self) {
        *self.special = [false; 256];
        for byte in [Some(self.delimiter), self.escape, Some(b'\n'), Some(b'\r')].into_iter().flatten() {
            self.special[usize::from(byte)] = true;
        }
    }

    /// Counts a line that was read elsewhere and ended with this byte.
    pub(super) fn count_line(&mut self, line_break: u8) {
        self.line_break(line_break);
    }

    /// Returns the number of the line that the last byte belongs to.
    pub(super) fn line(&self) -> u64 {
        // Behind a record, its line break has been counted already.
        self.line_breaks + u64::from(self.state != RecordState::LineStart)
    }

    /// Reads up to the end of a record, and moves `offset` behind it. Returns false if the text
    /// ends before.
    ///
    /// # Errors
    /// If the record is invalid or too large.
    pub(super) fn read(&mut self, text: &[u8], offset: &mut usize) -> Result<bool, RecordError> {
        while let Some(&byte) = text.get(*offset) {
            // The LF of a CRLF, which its CR has counted. In a field, it is content.
            if std::mem::take(&mut self.after_cr) && byte == b'\n' {
                *offset += 1;
                if self.state != RecordState::LineStart {
                    self.record.push(byte);
                }
                continue;
            }
            let ended = match self.state {
                RecordState::Unquoted | RecordState::Quoted => self.read_run(text, offset)?,
                _ => {
                    *offset += 1;
                    self.read_byte(byte)?
                }
            };
            if self.record.len() > self.max_bytes {
                return Err(RecordError::TooLarge);
            }
            if ended {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends the text: a last record needs no line break. Returns whether there is one.
    ///
    /// # Errors
    /// If a quote is not closed.
    pub(super) fn finish(&mut self) -> Result<bool, RecordError> {
        match self.state {
            RecordState::LineStart | RecordState::Comment => Ok(false),
            RecordState::Quoted | RecordState::QuotedEscape => {
                Err(RecordError::Invalid("has an unclosed quote".to_owned()))
            }
            RecordState::UnquotedEscape => {
                self.record.extend(self.escape);
                self.end_field()?;
                Ok(true)
            }
            RecordState::FieldStart | RecordState::Unquoted | RecordState::QuoteInQuoted => {
                self.end_field()?;
                Ok(true)
            }
        }
    }

    /// Returns the complete record.
    pub(super) fn record(&self) -> Record<'_> {
        Record { text: &self.record, ends: &self.ends }
    }

    /// Drops the record.
    pub(super) fn clear(&mut self) {
        self.record.clear();
        self.ends.clear();
        self.state = RecordState::LineStart;
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.record.capacity() + self.ends.capacity()
    }

    /// Copies the bytes of a field up to the next one with a meaning, and reads that.
    fn read_run(&mut self, text: &[u8], offset: &mut usize) -> Result<bool, RecordError> {
        let rest = &text[*offset..];
        let end = if self.state == RecordState::Quoted {
            let (quote, escape) = (self.quote, self.escape);
            rest.iter().position(|byte| {
                Some(*byte) == quote || Some(*byte) == escape || matches!(*byte, b'\n' | b'\r')
            })
        } else {
            rest.iter().position(|byte| self.special[usize::from(*byte)])
        };
        let length = end.unwrap_or(rest.len());
        self.record.extend_from_slice(&rest[..length]);
        *offset += length;
        match rest.get(length) {
            Some(&byte) => {
                *offset += 1;
                self.read_byte(byte)
            }
            None => Ok(false),
        }
    }

    /// Reads one byte with a meaning. Returns whether it ends the record.
    fn read_byte(&mut self, byte: u8) -> Result<bool, RecordError> {
        use RecordState as State;
        match self.state {
            State::LineStart => match byte {
                b'\n' | b'\r' => self.line_break(byte),
                _ if self.comment == Some(byte) => self.state = State::Comment,
                _ => return self.start_field(byte),
            },
            State::Comment => {
                if matches!(byte, b'\n' | b'\r') {
                    self.line_break(byte);
                    self.state = State::LineStart;
                }
            }
            State::FieldStart => return self.start_field(byte),
            State::Unquoted => return self.in_unquoted(byte),
            State::UnquotedEscape => {
                self.state = State::Unquoted;
                self.after_escape(byte);
            }
            State::Quoted => self.in_quoted(byte),
            State::QuotedEscape => {
                self.state = State::Quoted;
                self.after_escape(byte);
            }
            State::QuoteInQuoted => return self.after_quote(byte),
        }
        Ok(false)
    }

    fn start_field(&mut self, byte: u8) -> Result<bool, RecordError> {
        self.state = RecordState::Unquoted;
        if self.quote == Some(byte) {
            self.state = RecordState::Quoted;
            return Ok(false);
        }
        self.in_unquoted(byte)
    }

    fn in_unquoted(&mut self, byte: u8) -> Result<bool, RecordError> {
        if byte == self.delimiter {
            self.end_field()?;
            self.state = RecordState::FieldStart;
        } else if matches!(byte, b'\n' | b'\r') {
            return self.end_record(byte);
        } else if self.escape == Some(byte) {
            self.state = RecordState::UnquotedEscape;
        } else {
            self.record.push(byte);
        }
        Ok(false)
    }

    fn in_quoted(&mut self, byte: u8) {
        if self.quote == Some(byte) {
            self.state = RecordState::QuoteInQuoted;
        } else if self.escape == Some(byte) {
            self.state = RecordState::QuotedEscape;
        } else {
            if matches!(byte, b'\n' | b'\r') {
                self.line_break(byte);
            }
            self.record.push(byte);
        }
    }

    /// Adds an escaped byte. The escape character only means something before a byte with a
    /// meaning: elsewhere it is text, so that nothing is lost.
    fn after_escape(&mut self, byte: u8) {
        let has_meaning = byte == self.delimiter
            || [self.quote, self.escape].contains(&Some(byte))
            || matches!(byte, b'\n' | b'\r');
        if !has_meaning {
            self.record.extend(self.escape);
        }
        if matches!(byte, b'\n' | b'\r') {
            self.line_break(byte);
        }
        self.record.push(byte);
    }

    fn after_quote(&mut self, byte: u8) -> Result<bool, RecordError> {
        if self.quote == Some(byte) {
            self.record.push(byte);
            self.state = RecordState::Quoted;
        } else if byte == self.delimiter {
            self.end_field()?;
            self.state = RecordState::FieldStart;
        } else if matches!(byte, b'\n' | b'\r') {
            return self.end_record(byte);
        } else {
            return Err(RecordError::Invalid(
                "has text behind a closing quote: set response.csv.escape if a character such as \\ escapes \
                 quotes, or response.csv.quote to \"\" if quotes have no meaning"
                    .to_owned(),
            ));
        }
        Ok(false)
    }

    fn end_field(&mut self) -> Result<(), RecordError> {
        if self.ends.len() >= FIELDS_MAX {
            return Err(RecordError::Invalid(format!("has more than {FIELDS_MAX} fields")));
        }
        self.ends.push(self.record.len());
        Ok(())
    }

    fn end_record(&mut self, byte: u8) -> Result<bool, RecordError> {
        self.end_field()?;
        self.line_break(byte);
        self.state = RecordState::LineStart;
        Ok(true)
    }

    fn line_break(&mut self, byte: u8) {
        self.after_cr = byte == b'\r';
        self.line_breaks += 1;
    }
}
