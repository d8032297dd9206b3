//! Renders a diagnostic: location, source line with a caret, message and fix. Pure.

use super::locate::{LineColumn, line_column, locate, within_string};
use crate::console::{Console, TextStyle};

/// The widest excerpt of a line, in characters. A longer line is cut around the caret.
const EXCERPT_WIDTH: usize = 110;
/// The characters before the caret in a line that is cut.
const LEADING_WIDTH: usize = 40;

const UNKNOWN_FIELD: &str = "UNKNOWN_FIELD";

/// A diagnostic or warning, found here or by the control plane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiagnosticView<'f> {
    /// The code, such as `UNKNOWN_FIELD`.
    pub(crate) code: &'f str,
    /// The RFC 6901 pointer to the value in the document.
    pub(crate) pointer: &'f str,
    /// The byte offset within the string at `pointer`.
    pub(crate) position: Option<usize>,
    /// The problem.
    pub(crate) message: &'f str,
    /// The text to write instead.
    pub(crate) suggestion: Option<&'f str>,
    /// The names that are in scope for an expression there.
    pub(crate) in_scope: &'f [String],
}

/// Renders a diagnostic of the document `text`.
pub(crate) fn diagnostic(
    file: &str,
    text: &str,
    diagnostic: &DiagnosticView<'_>,
    console: Console,
) -> String {
    render(file, text, diagnostic, TextStyle::Red, console)
}

/// Renders a warning about the document `text`.
pub(crate) fn warning(
    file: &str,
    text: &str,
    code: &str,
    pointer: &str,
    message: &str,
    console: Console,
) -> String {
    let message = format!("warning: {message}");
    let view =
        DiagnosticView { code, pointer, position: None, message: &message, suggestion: None, in_scope: &[] };
    render(file, text, &view, TextStyle::Yellow, console)
}

fn render(file: &str, text: &str, view: &DiagnosticView<'_>, style: TextStyle, console: Console) -> String {
    let location = locate(text, view.pointer);
    let in_string = location.exact && text.as_bytes().get(location.offset) == Some(&b'"');
    let offset = match (view.position, location.name) {
        (Some(position), _) if in_string => within_string(text, location.offset, position),
        // An unknown field is wrong in its name, not in its value.
        (None, Some(name)) if location.exact && view.code == UNKNOWN_FIELD => name,
        _ => location.offset,
    };
    let LineColumn { line, column } = line_column(text, offset);
    let source = text.lines().nth(line - 1).unwrap_or_default();
    let (excerpt, caret) = excerpt(source, column);
    let gutter = " ".repeat(line.to_string().len());
    let mut out = format!(
        "{} {}\n{gutter} │\n{line} │ {excerpt}\n{gutter} │ {}{}\n",
        console.paint(TextStyle::Bold, format!("{file}:{line}:{column}:")),
        console.paint(style, view.message),
        " ".repeat(caret),
        console.paint(style, "^"),
    );
    let pointer = if view.pointer.is_empty() { "the document" } else { view.pointer };
    out.push_str(&format!("{gutter} = {} at {pointer}\n", view.code));
    if let Some(suggestion) = view.suggestion {
        out.push_str(&format!("{gutter} = {} {suggestion}\n", console.paint(TextStyle::Green, "write:")));
    }
    if !view.in_scope.is_empty() {
        out.push_str(&format!("{gutter} = in scope: {}\n", view.in_scope.join(", ")));
    }
    out
}

/// Returns the part of a line around a column, and the column's position in it.
fn excerpt(source: &str, column: usize) -> (String, usize) {
    let column = column - 1;
    let cut = if column > EXCERPT_WIDTH - LEADING_WIDTH { column - LEADING_WIDTH } else { 0 };
    let mut text: String = source
        .chars()
        .skip(cut)
        .take(EXCERPT_WIDTH)
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
    fn expression_is_shown_with_a_caret() {
        let in_scope = ["config".to_owned(), "context".to_owned()];
        let found = DiagnosticView {
            code: "UNKNOWN_NAME",
            pointer: "/definition/step/url",
            position: Some(3),
            message: "there is no name `confg` here",
            suggestion: Some("config.base_url"),
            in_scope: &in_scope,
        };
        assert_eq!(
            diagnostic("plan.json", TEXT, &found, Console::plain()),
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
    fn missing_field_is_shown_at_its_object() {
        let found = DiagnosticView {
            code: "REQUIRED",
            pointer: "/integration",
            position: None,
            message: "`integration` is required",
            suggestion: None,
            in_scope: &[],
        };
        let shown = diagnostic("plan.json", TEXT, &found, Console::plain());
        assert!(shown.starts_with("plan.json:1:1: `integration` is required\n"), "{shown}");
    }

    #[test]
    fn warning_is_marked_as_a_warning() {
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
    fn unknown_field_is_shown_at_its_name() {
        let found = DiagnosticView {
            code: UNKNOWN_FIELD,
            pointer: "/definition/step/url",
            position: None,
            message: "there is no field url",
            suggestion: None,
            in_scope: &[],
        };
        let shown = diagnostic("plan.json", TEXT, &found, Console::plain());
        assert!(shown.starts_with("plan.json:4:15: there is no field url\n"), "{shown}");
    }

    #[test]
    fn long_line_is_cut_around_the_caret() {
        let (text, caret) = excerpt(&("x".repeat(200) + "HERE"), 201);
        assert_eq!(text.chars().nth(caret), Some('H'));
        assert!(text.starts_with('…'), "{text}");
    }
}
