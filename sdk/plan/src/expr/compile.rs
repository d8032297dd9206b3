//! From an expression's text to a compiled one, or to its faults.

use jmespath::ast::Ast;
use jmespath::{ErrorReason, ParseResult};

use super::bounds::{MAX_HEIGHT, MAX_LENGTH, MAX_NESTING, nesting};
use super::check::{Checker, height};
use super::names::InScope;
use super::{Compiled, Expr, pitfalls};
use crate::{Diagnostic, DiagnosticCode};

/// Where an expression stands.
pub(crate) struct Site<'s> {
    /// Pointer of the field.
    pub(crate) pointer: &'s str,
    /// Byte offset of the expression in the field's text.
    pub(crate) start: usize,
    /// What it can begin with.
    pub(crate) scope: &'s InScope,
}

impl Site<'_> {
    pub(crate) fn diagnostic(
        &self,
        code: DiagnosticCode,
        offset: usize,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::new(code, self.pointer, message).at(self.start + offset)
    }
}

impl Expr {
    /// Compiles an expression; faults are all that could be found.
    pub(crate) fn compile(text: &str, site: &Site<'_>) -> Result<Self, Vec<Diagnostic>> {
        let ast = parse(text, site).map_err(|diagnostic| vec![diagnostic])?;
        Self::from_ast(text, ast, site)
    }

    /// Checks a tree that was parsed from `text`.
    pub(crate) fn from_ast(text: &str, ast: Ast, site: &Site<'_>) -> Result<Self, Vec<Diagnostic>> {
        let mut checker = Checker::new(text, site);
        checker.check(&ast);
        checker.diagnostics.extend(site.scope.kept_credentials(&checker.reads, site));
        if !checker.diagnostics.is_empty() {
            return Err(checker.diagnostics);
        }
        // Values are shallow where they were parsed or checked before. What holds all of the context is one level deeper
        // each time that it is written into the context.
        let whole_context =
            |path: &[String]| path.first().is_none_or(|name| name == "context" && path.len() == 1);
        let builds = checker.builds || checker.reads.paths().any(whole_context);
        let reads = checker.reads;
        Ok(Self(std::sync::Arc::new(Compiled { text: text.to_owned(), ast, reads, builds })))
    }
}

/// Nesting that is parsed on the caller's stack. The parser takes up to 30 KiB of it for each level in a debug build.
const SHALLOW: usize = 12;
/// The stack for everything deeper.
const PARSER_STACK_BYTES: usize = 16 * 1024 * 1024;

/// Parses on a stack of its own: how much is left of the caller's is not known. None where the system gives no thread.
fn parse_apart(text: &str) -> Option<ParseResult> {
    std::thread::scope(|scope| {
        let parser = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES);
        parser.spawn_scoped(scope, || jmespath::parse(text)).ok()?.join().ok()
    })
}

/// Parses within the bounds.
pub(crate) fn parse(text: &str, site: &Site<'_>) -> Result<Ast, Diagnostic> {
    if text.trim().is_empty() {
        return Err(site.diagnostic(DiagnosticCode::Syntax, 0, "the expression is empty"));
    }
    if text.len() > MAX_LENGTH {
        return Err(site.diagnostic(
            DiagnosticCode::TooLarge,
            MAX_LENGTH,
            format!("the expression has {} bytes, at most {MAX_LENGTH} are allowed", text.len()),
        ));
    }
    let deep = |offset| {
        site.diagnostic(
            DiagnosticCode::TooLarge,
            offset,
            format!("the expression is nested deeper than {MAX_NESTING} levels"),
        )
    };
    let parsed = match nesting(text) {
        Err(offset) => return Err(deep(offset)),
        Ok(deepest) if deepest > SHALLOW => parse_apart(text).ok_or_else(|| deep(0))?,
        Ok(_) => jmespath::parse(text),
    };
    let ast = parsed.map_err(|error| {
        let words = match &error.reason {
            ErrorReason::Parse(words) => words.clone(),
            ErrorReason::Runtime(error) => error.to_string(),
        };
        let offset = error.offset.min(text.len());
        pitfalls::habit(text, offset, site).unwrap_or_else(|| {
            site.diagnostic(DiagnosticCode::Syntax, offset, readable(&words, text, offset))
        })
    })?;
    if height(&ast) > MAX_HEIGHT {
        return Err(site.diagnostic(
            DiagnosticCode::TooLarge,
            0,
            format!("the expression chains more than {MAX_HEIGHT} operations"),
        ));
    }
    Ok(ast)
}

/// The parser's words with the text that it stumbled over in place of its own names for tokens.
fn readable(words: &str, text: &str, offset: usize) -> String {
    let reason = words.split(" -- found").next().unwrap_or(words);
    let reason = match reason {
        "Unexpected nud token" | "Unexpected led token" | "Did not parse the complete expression" => {
            "unexpected"
        }
        "Invalid function name" => "not a function's name before",
        other => return format!("{}, near {}", lower_first(other), near(text, offset)),
    };
    format!("{reason} {}", near(text, offset))
}

fn near(text: &str, offset: usize) -> String {
    match text.get(offset..) {
        Some("") | None => "the end of the expression".to_owned(),
        Some(rest) => format!("{:?}", rest.chars().take(12).collect::<String>()),
    }
}

fn lower_first(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
