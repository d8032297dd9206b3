//! Splits the text of a template at `{{` and `}}`.

use crate::expr::end_of_quoted;
use crate::{Diagnostic, DiagnosticCode};

/// A piece of a template's text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TextPiece<'t> {
    Text(&'t str),
    Expr {
        text: &'t str,
        /// Byte offset of the expression in the template.
        start: usize,
    },
}

/// Splits a template. An expression ends at the first `}}` outside its own quotes, backticks and
/// braces.
pub(super) fn split<'t>(text: &'t str, pointer: &str) -> Result<Vec<TextPiece<'t>>, Diagnostic> {
    let mut pieces = Vec::new();
    let mut rest = 0;
    while let Some(open) = text[rest..].find("{{").map(|found| found + rest) {
        if open > rest {
            pieces.push(TextPiece::Text(&text[rest..open]));
        }
        let start = open + 2;
        let Some(end) = end_of_expression(text.as_bytes(), start) else {
            return Err(Diagnostic::new(DiagnosticCode::Syntax, pointer, "{{ has no matching }}")
                .at(open)
                .suggest("{{ '{{' }} for a literal {{"));
        };
        let inner = &text[start..end];
        // Diagnostics count from the first character of the expression, not from the braces.
        let start = start + (inner.len() - inner.trim_start().len());
        pieces.push(TextPiece::Expr { text: inner.trim(), start });
        rest = end + 2;
    }
    if rest < text.len() {
        pieces.push(TextPiece::Text(&text[rest..]));
    }
    Ok(pieces)
}

fn end_of_expression(bytes: &[u8], start: usize) -> Option<usize> {
    let mut braces = 0_usize;
    let mut offset = start;
    while offset < bytes.len() {
        match bytes[offset] {
            b'\'' | b'"' | b'`' => offset = end_of_quoted(bytes, offset),
            b'{' => braces += 1,
            // Braces of a multi-select hash close before the template does.
            b'}' if braces > 0 => braces -= 1,
            b'}' if bytes.get(offset + 1) == Some(&b'}') => return Some(offset),
            _ => {}
        }
        offset += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> Vec<String> {
        let format = |piece: TextPiece<'_>| match piece {
            TextPiece::Text(text) => format!("'{text}"),
            TextPiece::Expr { text, start } => format!("{start}:{text}"),
        };
        split(text, "/x").unwrap().into_iter().map(format).collect()
    }

    #[test]
    fn expression_ends_at_braces_outside_quotes() {
        for (text, expected) in [
            ("", vec![]),
            ("plain }} text", vec!["'plain }} text"]),
            ("{{ a }}", vec!["3:a"]),
            ("{{a}}/{{  b.c  }}!", vec!["2:a", "'/", "10:b.c", "'!"]),
            ("{{ {x: {y: a}} }}", vec!["3:{x: {y: a}}"]),
            ("{{{x: a}}}", vec!["2:{x: a}"]),
            ("{{ '}}' }}-", vec!["3:'}}'", "'-"]),
            (r"{{ '\'}}' }}", vec![r"3:'\'}}'"]),
            ("{{ `\"}}\"` }}", vec!["3:`\"}}\"`"]),
            ("{{ \"}}\" }}", vec!["3:\"}}\""]),
            ("{{ '{{' }}", vec!["3:'{{'"]),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn unclosed_template_is_refused_at_its_start() {
        for (text, position) in [("a {{ b", 2), ("{{ a }} {{ '}}", 8), ("ü{{ {a }}", 2)] {
            let diagnostic = split(text, "/x").unwrap_err();
            assert_eq!(
                (diagnostic.code, diagnostic.position),
                (DiagnosticCode::Syntax, Some(position)),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_splits_or_is_refused(text in "([a{}'\"`\\\\ü]|\\{\\{|\\}\\}){0,30}") {
            if let Ok(pieces) = split(&text, "/x") {
                for piece in pieces {
                    if let TextPiece::Expr { text: inner, start } = piece {
                        prop_assert_eq!(&text[start..start + inner.len()], inner);
                    }
                }
            }
        }
    }
}
