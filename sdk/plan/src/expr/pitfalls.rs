//! Expressions that parse, or nearly do, and mean something else than their author thinks. Each is refused with what to
//! write instead.

use jmespath::ast::Ast;

use super::bounds::{end_of_brackets, end_of_quoted};
use super::compile::Site;
use crate::timestamp::Timestamp;
use crate::{Diagnostic, DiagnosticCode};

/// `true`, `false` or `null` without backticks: a member of that name, which is hardly ever there.
pub(super) fn bare_word(text: &str, name: &str, offset: usize, site: &Site<'_>) -> Option<Diagnostic> {
    if !matches!(name, "true" | "false" | "null") || text.as_bytes().get(offset) == Some(&b'"') {
        return None;
    }
    let words = format!("{name} without backticks is a field of that name");
    Some(site.diagnostic(DiagnosticCode::Trap, offset, words).suggest(format!("`{name}`")))
}

/// What people write out of habit from other languages where the parser stumbles.
pub(super) fn habit(text: &str, offset: usize, site: &Site<'_>) -> Option<Diagnostic> {
    word_operator(text, offset, site)
        .or_else(|| bare_time(text, offset, site))
        .or_else(|| arithmetic(text, offset, site))
        .or_else(|| bare_number(text, offset, site))
}

/// `a and b`.
fn word_operator(text: &str, offset: usize, site: &Site<'_>) -> Option<Diagnostic> {
    let word = text.get(offset..)?.split(|char: char| !char.is_ascii_alphabetic()).next()?;
    let sign = match word {
        "and" | "AND" => "&&",
        "or" | "OR" => "||",
        _ => return None,
    };
    Some(site.diagnostic(DiagnosticCode::Trap, offset, format!("{word} is no operator")).suggest(sign))
}

/// `2026-01-15`, which would be a subtraction if there were any.
fn bare_time(text: &str, offset: usize, site: &Site<'_>) -> Option<Diagnostic> {
    let part = |char: char| char.is_ascii_digit() || matches!(char, '-' | ':' | '.' | 'T' | 'Z');
    let start = text.get(..offset)?.trim_end_matches(part).len();
    let rest = text.get(start..)?;
    let time = &rest[..rest.find(|char| !part(char)).unwrap_or(rest.len())];
    Timestamp::parse(time)?;
    let words = format!("the time {time} needs quotes");
    Some(site.diagnostic(DiagnosticCode::Trap, start, words).suggest(format!("'{time}'")))
}

/// `a + b`, `a - 1`.
fn arithmetic(text: &str, offset: usize, site: &Site<'_>) -> Option<Diagnostic> {
    let before = text.get(..offset)?.trim_end().chars().next_back()?;
    let after_value = before.is_ascii_alphanumeric() || matches!(before, '_' | ')' | ']' | '`' | '\'' | '"');
    let (sign, function) = match text.get(offset..)?.chars().next()? {
        '+' => ("+", "add"),
        '-' => ("-", "sub"),
        '/' => ("/", "div"),
        '%' => ("%", "mod"),
        _ => return None,
    };
    let words = format!("there is no operator {sign}");
    after_value
        .then(|| site.diagnostic(DiagnosticCode::Trap, offset, words).suggest(format!("{function}(a, b)")))
}

/// A number without backticks, which the parser refuses in words of its own.
fn bare_number(text: &str, offset: usize, site: &Site<'_>) -> Option<Diagnostic> {
    let number: String = text
        .get(offset..)?
        .chars()
        .enumerate()
        .take_while(|(place, char)| char.is_ascii_digit() || *char == '.' || (*place == 0 && *char == '-'))
        .map(|(_, char)| char)
        .collect();
    let number = number.trim_end_matches('.');
    if !number.contains(|char: char| char.is_ascii_digit()) {
        return None;
    }
    if text.get(..offset)?.ends_with('.') {
        let words = format!("an element of a list is chosen by [{number}]");
        return Some(site.diagnostic(DiagnosticCode::Trap, offset, words).suggest(format!("[{number}]")));
    }
    let words = format!("the number {number} needs backticks");
    Some(site.diagnostic(DiagnosticCode::Trap, offset, words).suggest(format!("`{number}`")))
}

/// `!a.b`, which binds as `(!a).b` and is always null.
pub(super) fn negation(text: &str, dot: usize, lhs: &Ast, site: &Site<'_>) -> Option<Diagnostic> {
    let Ast::Not { offset, .. } = lhs else { return None };
    if text.as_bytes().get(dot) != Some(&b'.') {
        return None;
    }
    let path = path_at(text, offset + 1)?;
    let words = format!(
        "!{path} binds as (!{}){}, which is always null",
        first_of(path),
        &path[first_of(path).len()..]
    );
    Some(site.diagnostic(DiagnosticCode::Trap, *offset, words).suggest(format!("!({path})")))
}

/// The path that begins at a place of the text: names, dots, quoted names, brackets, and calls. A literal stands alone.
pub(super) fn path_at(text: &str, start: usize) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut place = start;
    while place < bytes.len() {
        match bytes[place] {
            b'\'' | b'`' if place == start => return text.get(start..=end_of_quoted(bytes, place)),
            b'"' => place = end_of_quoted(bytes, place),
            b'(' if place == start => break,
            b'[' | b'(' => place = end_of_brackets(bytes, place)?,
            b'.' | b'_' | b'@' | b'*' => {}
            byte if byte.is_ascii_alphanumeric() => {}
            _ => break,
        }
        place += 1;
    }
    text.get(start..place).filter(|path| !path.is_empty())
}

fn first_of(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}
