//! Lines that are no records: those above the header, and those below the rows.

/// Longest line that names the delimiter: `"sep=;"`.
const SEPARATOR_MAX: usize = 7;

/// Reads the lines above the header: one that names the delimiter, and those that the plan skips.
pub(super) struct Preamble {
    /// The beginning of the first line, as long as it may name the delimiter; `None` behind it.
    first_line: Option<Vec<u8>>,
    /// Number of lines that are still to be skipped.
    skipped: u64,
    /// True if the last byte was a CR: an LF then belongs to it.
    after_cr: bool,
}

/// The result of reading a preamble.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PreambleStep {
    /// The text ends within the preamble.
    NeedMore,
    /// A line has ended with this byte; if it named the delimiter, that one is set.
    Line { delimiter: Option<u8>, line_break: u8 },
    /// The preamble has ended. These bytes were read, but belong to the records.
    End(Vec<u8>),
}

impl Preamble {
    pub(super) fn new(skipped: u64) -> Self {
        Self { first_line: Some(Vec::new()), skipped, after_cr: false }
    }

    /// Reads up to the end of a line or of the preamble, and moves `offset` behind it. `last` means
    /// that no text follows.
    pub(super) fn read(&mut self, text: &[u8], offset: &mut usize, last: bool) -> PreambleStep {
        if let Some(line) = &mut self.first_line {
            let delimiter = loop {
                match text.get(*offset) {
                    Some(&byte @ (b'\n' | b'\r')) => break named_delimiter(line).map(|named| (named, byte)),
                    Some(&byte) if may_name_delimiter(line, byte) => line.push(byte),
                    Some(_) => break None,
                    None if last => break named_delimiter(line).map(|named| (named, b'\n')),
                    None => return PreambleStep::NeedMore,
                }
                *offset += 1;
            };
            let line = self.first_line.take().unwrap_or_default();
            if let Some((delimiter, line_break)) = delimiter {
                *offset = text.len().min(*offset + 1);
                self.skipped = self.skipped.saturating_sub(1);
                self.after_cr = line_break == b'\r';
                return PreambleStep::Line { delimiter: Some(delimiter), line_break };
            }
            // The first line is either skipped, or the first record.
            if self.skipped == 0 {
                return PreambleStep::End(line);
            }
        }
        self.skip_line(text, offset)
    }

    fn skip_line(&mut self, text: &[u8], offset: &mut usize) -> PreambleStep {
        if self.skipped == 0 {
            return PreambleStep::End(Vec::new());
        }
        if self.after_cr
            && let Some(byte) = text.get(*offset)
        {
            *offset += usize::from(*byte == b'\n');
            self.after_cr = false;
        }
        let rest = &text[*offset..];
        match rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            Some(length) => {
                *offset += length + 1;
                self.skipped -= 1;
                self.after_cr = rest[length] == b'\r';
                PreambleStep::Line { delimiter: None, line_break: rest[length] }
            }
            None => {
                *offset = text.len();
                PreambleStep::NeedMore
            }
        }
    }
}

/// Returns whether a line that begins with these bytes and this one may name the delimiter.
fn may_name_delimiter(line: &[u8], byte: u8) -> bool {
    let unquoted = line.strip_prefix(b"\"").unwrap_or(line);
    let quoted = usize::from(unquoted.len() < line.len());
    line.len() < SEPARATOR_MAX
        && match unquoted.len() {
            0 if line.is_empty() && byte == b'"' => true,
            index @ 0..4 => byte.to_ascii_lowercase() == b"sep="[index],
            4 => true,
            5 => quoted == 1 && byte == b'"',
            _ => false,
        }
}

/// Returns the delimiter that a line such as `sep=;` names. Spreadsheets write it above the header.
fn named_delimiter(line: &[u8]) -> Option<u8> {
    let line = line.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(line);
    match line {
        [s, e, p, b'=', delimiter] if [*s, *e, *p].eq_ignore_ascii_case(b"sep") => {
            Some(*delimiter).filter(|byte| byte.is_ascii() && *byte != b'"')
        }
        _ => None,
    }
}

/// Holds back the last lines of a text, which are no rows.
pub(super) struct Footer {
    lines: usize,
    held: Vec<u8>,
}

impl Footer {
    pub(super) fn new(lines: usize) -> Self {
        Self { lines, held: Vec::new() }
    }

    /// Takes text, and moves everything that is followed by enough lines into `released`.
    pub(super) fn push(&mut self, text: &[u8], released: &mut Vec<u8>) {
        self.held.extend_from_slice(text);
        let end = last_lines(&self.held, self.lines);
        released.extend(self.held.drain(..end));
    }

    /// Returns the number of bytes held back.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }
}

/// Returns the offset at which the last lines of a text begin. A line break at the end of the text
/// begins no further line.
fn last_lines(text: &[u8], lines: usize) -> usize {
    let mut left = lines;
    let mut end = text.len();
    while left > 0 && end > 0 {
        // The line break that ends this line, if it has one.
        let content = match &text[..end] {
            [.., b'\r', b'\n'] => end - 2,
            [.., b'\n' | b'\r'] => end - 1,
            _ => end,
        };
        let before = text[..content].iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
        end = before.map_or(0, |at| at + 1);
        left -= 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_begin_behind_a_line_break() {
        for (text, lines, rest) in [
            ("a\nb\nc\n", 1, "a\nb\n"),
            ("a\nb\nc", 1, "a\nb\n"),
            ("a\r\nb\r\nc\r\n", 2, "a\r\n"),
            ("a\rb\rc", 2, "a\r"),
            ("a\n\nc\n\n", 2, "a\n\n"),
            ("a\nb", 5, ""),
            ("", 1, ""),
        ] {
            let end = last_lines(text.as_bytes(), lines);
            assert_eq!(&text[..end], rest, "{text:?} {lines}");
        }
    }

    #[test]
    fn footer_in_pieces_is_the_footer_of_the_whole() {
        let text = b"a\r\nb\nc\rd\n\ne";
        for lines in 1..8 {
            for size in 1..=text.len() {
                let (mut footer, mut released) = (Footer::new(lines), Vec::new());
                text.chunks(size).for_each(|piece| footer.push(piece, &mut released));
                assert_eq!(released, text[..last_lines(text, lines)], "{lines} {size}");
            }
        }
    }

    #[test]
    fn line_that_names_the_delimiter_is_recognized() {
        for (line, delimiter) in [
            ("sep=;", Some(b';')),
            ("SEP=,", Some(b',')),
            ("\"sep=;\"", Some(b';')),
            ("sep=\t", Some(b'\t')),
            ("sep=", None),
            ("sep=;;", None),
            ("separator", None),
            ("\"sep=;", None),
        ] {
            assert_eq!(named_delimiter(line.as_bytes()), delimiter, "{line}");
            let mut seen = Vec::new();
            for byte in line.bytes().take_while(|_| delimiter.is_some()) {
                assert!(may_name_delimiter(&seen, byte), "{line}");
                seen.push(byte);
            }
        }
    }
}
