//! A fault as people like to read it: file, line and column, the line itself with a caret, what is wrong, what to write. Pure.

use super::locate::{LineColumn, line_column, locate, within_string};
use crate::console::{Console, Style};

/// A caret further right than this gets a line that is cut around it.
const WIDTH: usize = 110;
const LEAD: usize = 40;

const UNKNOWN_FIELD: &str = "UNKNOWN_FIELD";

/// A fault, whoever found it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'f> {
    /// What kind of fault it is.
    pub(crate) code: &'f str,
    /// RFC 6901 pointer from the document.
    pub(crate) pointer: &'f str,
    /// Byte offset in the text of the value at `pointer`.
    pub(crate) position: Option<usize>,
    /// What is wrong.
    pub(crate) message: &'f str,
    /// What to write instead.
    pub(crate) suggestion: Option<&'f str>,
    /// The names that an expression may begin with there.
    pub(crate) in_scope: &'f [String],
}

/// One fault in a document that stands in `text`.
pub(crate) fn fault(file: &str, text: &str, fault: &Shown<'_>, console: Console) -> String {
    shown(file, text, fault, Style::Red, console)
}

/// A warning about a document, in the same form.
pub(crate) fn warning(
    file: &str,
    text: &str,
    code: &str,
    pointer: &str,
    message: &str,
    console: Console,
) -> String {
    let message = format!("warning: {message}");
    let found = Shown { code, pointer, position: None, message: &message, suggestion: None, in_scope: &[] };
    shown(file, text, &found, Style::Yellow, console)
}

fn shown(file: &str, text: &str, fault: &Shown<'_>, style: Style, console: Console) -> String {
    let place = locate(text, fault.pointer);
    let in_string = place.exact && text.as_bytes().get(place.offset) == Some(&b'"');
    let offset = match (fault.position, place.name) {
        (Some(position), _) if in_string => within_string(text, place.offset, position),
        // It is the name that is wrong, not what stands behind it.
        (None, Some(name)) if place.exact && fault.code == UNKNOWN_FIELD => name,
        _ => place.offset,
    };
    let LineColumn { line, column } = line_column(text, offset);
    let source = text.lines().nth(line - 1).unwrap_or_default();
    let (excerpt, caret) = excerpt(source, column);
    let gutter = " ".repeat(line.to_string().len());
    let mut out = format!(
        "{} {}\n{gutter} │\n{line} │ {excerpt}\n{gutter} │ {}{}\n",
        console.paint(Style::Bold, format!("{file}:{line}:{column}:")),
        console.paint(style, fault.message),
        " ".repeat(caret),
        console.paint(style, "^"),
    );
    let pointer = if fault.pointer.is_empty() { "the document" } else { fault.pointer };
    out.push_str(&format!("{gutter} = {} at {pointer}\n", fault.code));
    if let Some(suggestion) = fault.suggestion {
        out.push_str(&format!("{gutter} = {} {suggestion}\n", console.paint(Style::Green, "write:")));
    }
    if !fault.in_scope.is_empty() {
        out.push_str(&format!("{gutter} = in scope: {}\n", fault.in_scope.join(", ")));
    }
    out
}

/// The part of a line around a column, and where the column is in it.
fn excerpt(source: &str, column: usize) -> (String, usize) {
    let column = column - 1;
    let cut = if column > WIDTH - LEAD { column - LEAD } else { 0 };
    let mut text: String = source
        .chars()
        .skip(cut)
        .take(WIDTH)
        .map(|letter| if letter == '\t' { ' ' } else { letter })
        .collect();
    if cut > 0 {
        text.replace_range(..text.chars().next().map_or(0, char::len_utf8), "…");
    }
    (text, column - cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "{\n  \"key\": \"orders\",\n  \"definition\": {\n    \"step\": { \"url\": \"{{ confg.base_url }}/orders\" }\n  }\n}\n";

    #[test]
    fn an_expression_is_shown_with_a_caret_at_the_place() {
        let in_scope = ["config".to_owned(), "context".to_owned()];
        let found = Shown {
            code: "UNKNOWN_NAME",
            pointer: "/definition/step/url",
            position: Some(3),
            message: "there is no name `confg` here",
            suggestion: Some("config.base_url"),
            in_scope: &in_scope,
        };
        assert_eq!(
            fault("plan.json", TEXT, &found, Console::plain()),
            "plan.json:4:26: there is no name `confg` here\n  \
             │\n\
             4 │     \"step\": { \"url\": \"{{ confg.base_url }}/orders\" }\n  \
             │                          ^\n  \
             = UNKNOWN_NAME at /definition/step/url\n  \
             = write: config.base_url\n  \
             = in scope: config, context\n"
        );
    }

    #[test]
    fn what_is_missing_is_shown_where_it_should_be() {
        let found = Shown {
            code: "REQUIRED",
            pointer: "/integration",
            position: None,
            message: "`integration` is required",
            suggestion: None,
            in_scope: &[],
        };
        let shown = fault("plan.json", TEXT, &found, Console::plain());
        assert!(shown.starts_with("plan.json:1:1: `integration` is required\n"), "{shown}");
    }

    #[test]
    fn a_warning_looks_like_a_fault_and_says_that_it_is_none() {
        let message = "what is asked here does not change";
        let found =
            warning("plan.json", TEXT, "ENDLESS_LOOP", "/definition/step/url", message, Console::plain());
        assert!(
            found.starts_with("plan.json:4:22: warning: what is asked here does not change\n"),
            "{found}"
        );
        assert!(found.ends_with("  = ENDLESS_LOOP at /definition/step/url\n"), "{found}");
    }

    #[test]
    fn of_an_unknown_field_the_name_is_shown() {
        let found = Shown {
            code: UNKNOWN_FIELD,
            pointer: "/definition/step/url",
            position: None,
            message: "there is no field url",
            suggestion: None,
            in_scope: &[],
        };
        let shown = fault("plan.json", TEXT, &found, Console::plain());
        assert!(shown.starts_with("plan.json:4:15: there is no field url\n"), "{shown}");
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let (text, caret) = excerpt(&("x".repeat(200) + "HERE"), 201);
        assert_eq!(text.chars().nth(caret), Some('H'));
        assert!(text.starts_with('…'), "{text}");
    }
}
