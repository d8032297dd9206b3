//! Skips valid JSON values fast: most of a body is only skipped.
//!
//! Every function returns the offset behind what it skips, or `None` for a fault. The scanner then
//! reads the value again, with a name and a position for the fault; both accept the same texts.

/// Deepest nesting of lists and objects, wherever JSON is read.
pub const NESTING_MAX: usize = 1000;

/// The open lists and objects around a position: one bit each, set for an object.
pub(super) struct OpenLevels {
    bits: [u64; NESTING_MAX.div_ceil(64)],
    depth: usize,
    /// Number of lists and objects around the text, which count towards the limit.
    around: usize,
}

impl OpenLevels {
    pub(super) fn new(around: usize) -> Self {
        Self { bits: [0; NESTING_MAX.div_ceil(64)], depth: 0, around }
    }

    /// Opens a list or object. Returns false if that is a level too many.
    #[inline]
    pub(super) fn push(&mut self, object: bool) -> bool {
        if self.around + self.depth >= NESTING_MAX {
            return false;
        }
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.bits[word] = self.bits[word] & !(1 << bit) | u64::from(object) << bit;
        self.depth += 1;
        true
    }

    /// Closes the innermost level.
    #[inline]
    pub(super) fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Returns whether the innermost level is an object; `None` outside of all levels.
    #[inline]
    pub(super) fn innermost(&self) -> Option<bool> {
        let level = self.depth.checked_sub(1)?;
        Some(self.bits[level / 64] >> (level % 64) & 1 == 1)
    }
}

/// Skips a value, with white space before it, that has `around` lists and objects around it.
pub(super) fn value(text: &[u8], mut at: usize, around: usize) -> Option<usize> {
    let mut open = OpenLevels::new(around);
    loop {
        at = space(text, at);
        match *text.get(at)? {
            b'"' => at = string(text, at + 1)?,
            b'-' | b'0'..=b'9' => at = number(text, at)?,
            b'{' => {
                open.push(true).then_some(())?;
                at = space(text, at + 1);
                // An empty object ends below, like any other.
                if text.get(at) != Some(&b'}') {
                    at = name(text, at)?;
                    continue;
                }
            }
            b'[' => {
                open.push(false).then_some(())?;
                at = space(text, at + 1);
                if text.get(at) != Some(&b']') {
                    continue;
                }
            }
            b't' => at = word(text, at, b"true")?,
            b'f' => at = word(text, at, b"false")?,
            b'n' => at = word(text, at, b"null")?,
            _ => return None,
        }
        // Moves to the next value, out of all lists and objects that end here.
        loop {
            let Some(object) = open.innermost() else { return Some(at) };
            at = space(text, at);
            match *text.get(at)? {
                b',' if object => {
                    at = name(text, space(text, at + 1))?;
                    break;
                }
                b',' => {
                    at += 1;
                    break;
                }
                b'}' if object => {}
                b']' if !object => {}
                _ => return None,
            }
            at += 1;
            open.pop();
        }
    }
}

#[inline]
fn space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}

/// Skips a member's name and its colon.
#[inline]
fn name(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let at = space(text, string(text, at + 1)?);
    (text.get(at) == Some(&b':')).then_some(at + 1)
}

/// Skips the rest of a string, behind its opening quote.
#[inline]
fn string(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += plain_length(text.get(at..)?);
        match *text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = escape(text, at + 1)?,
            _ => return None,
        }
    }
}

/// Returns the number of bytes before the next quote, backslash or control character.
///
/// Strings are most of a body, so eight bytes are looked at together.
#[inline]
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut length = 0;
    while let Some(word) = bytes.get(length..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        let (quote, backslash) = (word ^ (ONES * 0x22), word ^ (ONES * 0x5C));
        // A byte is zero here if its high bit gets set by the subtraction. Borrows can only reach
        // bytes behind the first hit.
        let special = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        if special & HIGH != 0 {
            return length + (special & HIGH).trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    let is_plain = |byte: &&u8| !matches!(byte, b'"' | b'\\' | 0..=0x1F);
    length + bytes[length..].iter().take_while(is_plain).count()
}

#[cold]
fn escape(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'u' => {
            let digits = text.get(at + 1..at + 5)?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 5)
        }
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        _ => None,
    }
}

#[inline]
fn number(text: &[u8], mut at: usize) -> Option<usize> {
    at += usize::from(text.get(at) == Some(&b'-'));
    at = match text.get(at) {
        // RFC 8259 forbids leading zeros; other parsers would read octal.
        Some(b'0') if text.get(at + 1).is_some_and(u8::is_ascii_digit) => return None,
        Some(b'0') => at + 1,
        _ => digits(text, at)?,
    };
    if text.get(at) == Some(&b'.') {
        at = digits(text, at + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        at += usize::from(matches!(text.get(at), Some(b'+' | b'-')));
        at = digits(text, at)?;
    }
    Some(at)
}

#[inline]
fn digits(text: &[u8], mut at: usize) -> Option<usize> {
    let start = at;
    while text.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    (at > start).then_some(at)
}

fn word(text: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    text.get(at..)?.starts_with(word).then_some(at + word.len())
}
