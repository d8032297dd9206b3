//! Expressions that parse, or nearly parse, but do not mean what their author thinks.
//!
//! Each is refused with a suggestion of what to write instead.

use jmespath::ast::Ast;

use super::bare_names::unquoted_name;
use super::origin::ExprOrigin;
use super::scan::path_at;
use crate::timestamp::Timestamp;
use crate::{Diagnostic, DiagnosticCode};

/// Reports `true`, `false` or `null` without backticks: JMESPath reads a member of that name, which
/// hardly ever exists.
pub(super) fn bare_keyword(
    text: &str,
    name: &str,
    offset: usize,
    origin: &ExprOrigin<'_>,
) -> Option<Diagnostic> {
    if !matches!(name, "true" | "false" | "null") || text.as_bytes().get(offset) == Some(&b'"') {
        return None;
    }
    let message = format!("{name} without backticks reads a member of that name");
    Some(origin.diagnostic(DiagnosticCode::Trap, offset, message).suggest(format!("`{name}`")))
}

/// Reports the syntax of other languages at the offset where the parser failed.
pub(super) fn foreign_syntax(text: &str, offset: usize, origin: &ExprOrigin<'_>) -> Option<Diagnostic> {
    word_operator(text, offset, origin)
        .or_else(|| bare_time(text, offset, origin))
        .or_else(|| unquoted_name(text, offset, origin))
        .or_else(|| arithmetic(text, offset, origin))
        .or_else(|| bare_number(text, offset, origin))
}

/// Reports `a and b`.
fn word_operator(text: &str, offset: usize, origin: &ExprOrigin<'_>) -> Option<Diagnostic> {
    let word = text.get(offset..)?.split(|char: char| !char.is_ascii_alphabetic()).next()?;
    let operator = match word {
        "and" | "AND" => "&&",
        "or" | "OR" => "||",
        _ => return None,
    };
    let message = format!("{word} is not an operator");
    Some(origin.diagnostic(DiagnosticCode::Trap, offset, message).suggest(operator))
}

/// Reports `2026-01-15`, which looks like a subtraction.
fn bare_time(text: &str, offset: usize, origin: &ExprOrigin<'_>) -> Option<Diagnostic> {
    let part_of_time = |char: char| char.is_ascii_digit() || matches!(char, '-' | ':' | '.' | 'T' | 'Z');
    let start = text.get(..offset)?.trim_end_matches(part_of_time).len();
    let rest = text.get(start..)?;
    let time = &rest[..rest.find(|char| !part_of_time(char)).unwrap_or(rest.len())];
    Timestamp::parse(time)?;
    let message = format!("the time {time} needs quotes");
    Some(origin.diagnostic(DiagnosticCode::Trap, start, message).suggest(format!("'{time}'")))
}

/// Reports `a + b` and `a - 1`.
fn arithmetic(text: &str, offset: usize, origin: &ExprOrigin<'_>) -> Option<Diagnostic> {
    let before = text.get(..offset)?.trim_end().chars().next_back()?;
    let follows_value =
        before.is_ascii_alphanumeric() || matches!(before, '_' | ')' | ']' | '`' | '\'' | '"');
    let (operator, function) = match text.get(offset..)?.chars().next()? {
        '+' => ("+", "add"),
        '-' => ("-", "sub"),
        '/' => ("/", "div"),
        '%' => ("%", "mod"),
        _ => return None,
    };
    let message = format!("there is no operator {operator}");
    follows_value.then(|| {
        origin.diagnostic(DiagnosticCode::Trap, offset, message).suggest(format!("{function}(a, b)"))
    })
}

/// Reports a number without backticks.
fn bare_number(text: &str, offset: usize, origin: &ExprOrigin<'_>) -> Option<Diagnostic> {
    let number: String = text
        .get(offset..)?
        .chars()
        .enumerate()
        .take_while(|(index, char)| char.is_ascii_digit() || *char == '.' || (*index == 0 && *char == '-'))
        .map(|(_, char)| char)
        .collect();
    let number = number.trim_end_matches('.');
    if !number.contains(|char: char| char.is_ascii_digit()) {
        return None;
    }
    if text.get(..offset)?.ends_with('.') {
        let message = format!("[{number}] selects an element of a list, .{number} does not");
        return Some(origin.diagnostic(DiagnosticCode::Trap, offset, message).suggest(format!("[{number}]")));
    }
    let message = format!("the number {number} needs backticks");
    Some(origin.diagnostic(DiagnosticCode::Trap, offset, message).suggest(format!("`{number}`")))
}

/// Reports `outer()` outside of two nested projections or expression references: there is no
/// element around the current one.
pub(super) fn outer_at_the_top(depth: usize, offset: usize, origin: &ExprOrigin<'_>) -> Option<Diagnostic> {
    if depth > 1 {
        return None;
    }
    let message = "outer() has no element around it here: it needs a projection inside another, and [] joins \
                   lists to one, where [*] keeps them nested";
    let suggestion = "a[*].b[*].{a: outer().id, b: id}[]";
    Some(origin.diagnostic(DiagnosticCode::Trap, offset, message).suggest(suggestion))
}

/// Reports `!a.b`, which binds as `(!a).b` and is always null.
pub(super) fn negated_path(text: &str, dot: usize, lhs: &Ast, origin: &ExprOrigin<'_>) -> Option<Diagnostic> {
    let Ast::Not { offset, .. } = lhs else { return None };
    if text.as_bytes().get(dot) != Some(&b'.') {
        return None;
    }
    let path = path_at(text, offset + 1)?;
    let first = path.split('.').next().unwrap_or(path);
    let message = format!("!{path} binds as (!{first}){}, which is always null", &path[first.len()..]);
    Some(origin.diagnostic(DiagnosticCode::Trap, *offset, message).suggest(format!("!({path})")))
}
