//! Names that need double quotes, written without them: `my-list`, `first name`, `größe`, `@type`.
//!
//! The parser only reports the character at which the bare name ends. The diagnostic gives the name
//! in double quotes, with the path in front of it.

use super::origin::ExprOrigin;
use crate::{Diagnostic, DiagnosticCode, ScopeName};

/// Characters that end a name: the syntax of JMESPath, and operators that authors expect.
const ENDS: &[char] = &[
    '.', '[', ']', '(', ')', '{', '}', '|', '&', '=', '<', '>', '!', ',', '\'', '"', '`', '*', '+', '/', '%',
    '?',
];
/// Beginning of OData's annotations, whose names contain a dot.
const ODATA: &str = "@odata.";

/// Reports a name that goes on, at the offset where the parser failed, with a character that a bare
/// name cannot contain.
pub(super) fn unquoted_name(text: &str, offset: usize, origin: &ExprOrigin<'_>) -> Option<Diagnostic> {
    let before = text.get(..offset)?;
    if before.ends_with('.') && text[offset..].starts_with('\'') {
        return single_quoted(text, offset, origin);
    }
    let (start, name) = name_around(text, offset)?;
    let follows_dot = text[..start].ends_with('.');
    if !needs_quotes(name) || is_difference(name, &text[start + name.len()..], follows_dot) {
        return None;
    }
    let hint = if name.contains('-') { "; a difference is sub(a, b)" } else { "" };
    let message = format!(
        "the name {name:?} needs double quotes: a bare name has only ASCII letters, digits and _{hint}"
    );
    Some(origin.diagnostic(DiagnosticCode::Trap, start, message).suggest(with_path(text, start, name)))
}

/// Reports `a.'b.c'`: single quotes make a text, not a name.
fn single_quoted(text: &str, offset: usize, origin: &ExprOrigin<'_>) -> Option<Diagnostic> {
    let rest = text.get(offset + 1..)?;
    let name = &rest[..rest.find('\'')?];
    let message = "a name after a dot needs double quotes; single quotes make a text";
    Some(origin.diagnostic(DiagnosticCode::Trap, offset, message).suggest(with_path(text, offset, name)))
}

/// Returns the offset and the text of the name that contains the offset, or that ends before blanks
/// in front of it.
fn name_around(text: &str, offset: usize) -> Option<(usize, &str)> {
    let before = text.get(..offset)?;
    let mut start = before.trim_end_matches(is_bare).len();
    // `@type` fails behind the `@`, which is a complete expression.
    if start == offset && before.ends_with('@') {
        start -= 1;
    }
    let words = before.trim_end();
    if words.len() < offset {
        start = words.trim_end_matches(is_bare).len();
        let begins_word = text[offset..].starts_with(|char: char| char.is_alphabetic() || char == '_');
        if start == words.len() || !text[..start].ends_with('.') || !begins_word {
            return None;
        }
    }
    let rest = &text[start..];
    let from = if rest.starts_with(ODATA) { ODATA.len() } else { 0 };
    let spaced = words.len() < offset;
    let ends = |char: char| ENDS.contains(&char) || (char.is_whitespace() && !spaced);
    let end = rest[from..].find(ends).map_or(rest.len(), |end| from + end);
    Some((start, rest[..end].trim_end())).filter(|(_, name)| !name.is_empty())
}

/// Returns whether a name cannot stand bare. Digits alone are an index, or a number.
fn needs_quotes(name: &str) -> bool {
    let is_number = name.trim_start_matches('-').chars().all(|char| char.is_ascii_digit());
    !is_number && (!name.chars().all(is_bare) || name.starts_with(|char: char| char.is_ascii_digit()))
}

/// Returns whether dashes in a name rather are subtractions: of a name of the scope, or, unless it
/// follows a dot, of anything that does not look like one name.
fn is_difference(name: &str, rest: &str, follows_dot: bool) -> bool {
    let Some((left, right)) = name.split_once('-') else { return false };
    if ScopeName::parse(right).is_some() && rest.starts_with('.') {
        return true;
    }
    let is_word = right.starts_with(|char: char| char.is_alphabetic());
    !follows_dot && (ScopeName::parse(left).is_some() || left.is_empty() || !is_word)
}

fn is_bare(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

/// Returns the name in double quotes, after the path that leads to it.
fn with_path(text: &str, start: usize, name: &str) -> String {
    let quoted = serde_json::Value::from(name).to_string();
    let path = if text[..start].ends_with('.') { &text[path_start(text, start)..start] } else { "" };
    format!("{path}{quoted}")
}

/// Returns the offset at which the path begins that ends before `end`: names, dots, quoted names,
/// brackets and calls.
fn path_start(text: &str, end: usize) -> usize {
    let bytes = text.as_bytes();
    let (mut start, mut levels) = (end, 0_usize);
    while start > 0 {
        let byte = bytes[start - 1];
        match byte {
            b'"' | b'\'' | b'`' if levels > 0 || byte == b'"' => {
                // The opening quote; an unmatched one ends the path.
                let Some(open) = text[..start - 1].rfind(char::from(byte)) else { break };
                start = open;
                continue;
            }
            b']' | b')' => levels += 1,
            b'[' | b'(' if levels == 0 => break,
            b'[' | b'(' => levels -= 1,
            b'.' | b'@' | b'*' => {}
            _ if levels > 0 || is_bare(char::from(byte)) => {}
            _ => break,
        }
        start -= 1;
    }
    start
}
