//! Splits text at `{{` and `}}`.

use crate::expr::end_of_quoted;
use crate::{Diagnostic, DiagnosticCode};

/// A piece of a template's text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    Text(&'t str),
    Expr {
        text: &'t str,
        /// Byte offset of the expression in the template.
        start: usize,
    },
}

/// Splits a template. An expression ends at the first `}}` outside quotes, backticks and braces of its own.
pub(super) fn split<'t>(text: &'t str, pointer: &str) -> Result<Vec<Piece<'t>>, Diagnostic> {
    let mut pieces = Vec::new();
    let mut rest = 0;
    while let Some(open) = text[rest..].find("{{").map(|found| found + rest) {
        if open > rest {
            pieces.push(Piece::Text(&text[rest..open]));
        }
        let start = open + 2;
        let Some(end) = end_of_expression(text.as_bytes(), start) else {
            return Err(Diagnostic::new(DiagnosticCode::Syntax, pointer, "{{ has no }}")
                .at(open)
                .suggest("{{ '{{' }} for a literal {{"));
        };
        let inner = &text[start..end];
        let start = start + (inner.len() - inner.trim_start().len());
        pieces.push(Piece::Expr { text: inner.trim(), start });
        rest = end + 2;
    }
    if rest < text.len() {
        pieces.push(Piece::Text(&text[rest..]));
    }
    Ok(pieces)
}

fn end_of_expression(bytes: &[u8], start: usize) -> Option<usize> {
    let mut braces = 0_usize;
    let mut place = start;
    while place < bytes.len() {
        match bytes[place] {
            b'\'' | b'"' | b'`' => place = end_of_quoted(bytes, place),
            b'{' => braces += 1,
            b'}' if braces > 0 => braces -= 1,
            b'}' if bytes.get(place + 1) == Some(&b'}') => return Some(place),
            _ => {}
        }
        place += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> Vec<String> {
        let shown = |piece: Piece<'_>| match piece {
            Piece::Text(text) => format!("'{text}"),
            Piece::Expr { text, start } => format!("{start}:{text}"),
        };
        split(text, "/x").unwrap().into_iter().map(shown).collect()
    }

    #[test]
    fn expressions_end_at_the_first_close_outside_quotes_and_braces() {
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
    fn an_open_template_is_refused_at_its_beginning() {
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
                    if let Piece::Expr { text: inner, start } = piece {
                        prop_assert_eq!(&text[start..start + inner.len()], inner);
                    }
                }
            }
        }
    }
}
