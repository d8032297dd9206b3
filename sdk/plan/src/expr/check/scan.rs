//! Scans the text of an expression without parsing it: quotes, brackets and paths.

/// Returns the offset of the closing quote, or of the last byte if the quote is never closed. A
/// backslash escapes in all three kinds of quotes.
pub(crate) fn end_of_quoted(bytes: &[u8], open: usize) -> usize {
    let quote = bytes[open];
    let mut offset = open + 1;
    while offset < bytes.len() {
        match bytes[offset] {
            b'\\' => offset += 1,
            byte if byte == quote => return offset,
            _ => {}
        }
        offset += 1;
    }
    bytes.len() - 1
}

/// Returns the offset of the bracket that closes the one at `open`, or `None` if it is never
/// closed.
pub(crate) fn end_of_brackets(bytes: &[u8], open: usize) -> Option<usize> {
    let mut levels = 0;
    let mut offset = open;
    while offset < bytes.len() {
        match bytes[offset] {
            b'\'' | b'"' | b'`' => offset = end_of_quoted(bytes, offset),
            b'(' | b'{' | b'[' => levels += 1,
            b')' | b'}' | b']' => levels -= 1,
            _ => {}
        }
        if levels == 0 {
            return Some(offset);
        }
        offset += 1;
    }
    None
}

/// Returns the path that begins at an offset: names, dots, quoted names, brackets and calls. A
/// literal is returned alone.
pub(super) fn path_at(text: &str, start: usize) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut offset = start;
    while offset < bytes.len() {
        match bytes[offset] {
            b'\'' | b'`' if offset == start => return text.get(start..=end_of_quoted(bytes, offset)),
            b'"' => offset = end_of_quoted(bytes, offset),
            b'(' if offset == start => break,
            b'[' | b'(' => offset = end_of_brackets(bytes, offset)?,
            b'.' | b'_' | b'@' | b'*' => {}
            byte if byte.is_ascii_alphanumeric() => {}
            _ => break,
        }
        offset += 1;
    }
    text.get(start..offset).filter(|path| !path.is_empty())
}

/// Returns the offset of a function's name. The syntax tree only knows its opening bracket.
pub(super) fn function_name_start(text: &str, name: &str, bracket: usize) -> usize {
    text.get(..bracket).and_then(|before| before.rfind(name)).unwrap_or(bracket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_brackets_skips_nested_brackets_and_quotes() {
        for (text, end) in
            [("(a[0](b))c)", Some(8)), ("[?a == ']']", Some(10)), ("(\"\\\")\" )", Some(7)), ("(a", None)]
        {
            assert_eq!(end_of_brackets(text.as_bytes(), 0), end, "{text}");
        }
    }
}
