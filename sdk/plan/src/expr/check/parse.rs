//! Parses the text of an expression within its bounds, and explains what does not parse.

use jmespath::ast::Ast;
use jmespath::{ErrorReason, ParseResult};

use super::nesting::{MAX_HEIGHT, MAX_LENGTH, MAX_NESTING, height, nesting};
use super::origin::ExprOrigin;
use super::pitfalls;
use crate::{Diagnostic, DiagnosticCode};

/// Deepest nesting that is parsed on the caller's stack. The parser takes up to 30 KiB of stack for
/// each level in a debug build.
const SHALLOW_NESTING: usize = 12;
/// Stack size of the parser's thread, for everything deeper.
const PARSER_STACK_BYTES: usize = 16 * 1024 * 1024;

/// Parses the text of an expression within its bounds.
pub(crate) fn parse(text: &str, origin: &ExprOrigin<'_>) -> Result<Ast, Diagnostic> {
    if text.trim().is_empty() {
        return Err(origin.diagnostic(DiagnosticCode::Syntax, 0, "the expression is empty"));
    }
    if text.len() > MAX_LENGTH {
        return Err(origin.diagnostic(
            DiagnosticCode::TooLarge,
            MAX_LENGTH,
            format!("the expression has {} bytes, at most {MAX_LENGTH} are allowed", text.len()),
        ));
    }
    let too_deep = |offset| {
        origin.diagnostic(
            DiagnosticCode::TooLarge,
            offset,
            format!("the expression is nested deeper than {MAX_NESTING} levels"),
        )
    };
    // Counts nesting before parsing: the parser would overflow its stack on hostile text.
    let parsed = match nesting(text) {
        Err(offset) => return Err(too_deep(offset)),
        Ok(deepest) if deepest > SHALLOW_NESTING => parse_on_thread(text).ok_or_else(|| too_deep(0))?,
        Ok(_) => jmespath::parse(text),
    };
    let ast = parsed.map_err(|error| {
        let reason = match &error.reason {
            ErrorReason::Parse(reason) => reason.clone(),
            ErrorReason::Runtime(error) => error.to_string(),
        };
        // The parser can report an offset past the end of the text.
        let offset = error.offset.min(text.len());
        pitfalls::foreign_syntax(text, offset, origin).unwrap_or_else(|| {
            origin.diagnostic(DiagnosticCode::Syntax, offset, explain(&reason, text, offset))
        })
    })?;
    if height(&ast) > MAX_HEIGHT {
        return Err(origin.diagnostic(
            DiagnosticCode::TooLarge,
            0,
            format!("the expression chains more than {MAX_HEIGHT} operations"),
        ));
    }
    Ok(ast)
}

/// Parses on a thread with a large stack, because the caller's remaining stack is unknown. Returns
/// `None` if the system provides no thread.
fn parse_on_thread(text: &str) -> Option<ParseResult> {
    std::thread::scope(|scope| {
        let parser = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES);
        parser.spawn_scoped(scope, || jmespath::parse(text)).ok()?.join().ok()
    })
}

/// Rewrites a parser error: shows the offending text instead of the parser's token names.
fn explain(error: &str, text: &str, offset: usize) -> String {
    let reason = error.split(" -- found").next().unwrap_or(error);
    let found = excerpt(text, offset);
    match reason {
        "Unexpected nud token" | "Unexpected led token" | "Did not parse the complete expression" => {
            format!("unexpected {found}")
        }
        "Invalid function name" => format!("no function name before {found}"),
        other => format!("{}, near {found}", lower_first(other)),
    }
}

fn excerpt(text: &str, offset: usize) -> String {
    match text.get(offset..) {
        Some("") | None => "the end of the expression".to_owned(),
        Some(rest) => format!("{:?}", rest.chars().take(12).collect::<String>()),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
