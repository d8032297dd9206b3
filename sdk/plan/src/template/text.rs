//! One text with expressions in it.

use jmespath::ast::Ast;

use super::error::RenderError;
use super::split::{TextPiece, split};
use super::url_text::{UrlText, UrlValue};
use crate::diagnostic::MAX_DIAGNOSTICS;
use crate::expr::{ExprOrigin, InScope, end_of_brackets, parse};
use crate::{Diagnostic, EvalEnv, Expr, Scope, Value, links};

/// Text with expressions in it, compiled once.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<TemplatePart>,
    /// JSON pointer of the field in the plan document.
    pointer: String,
}

#[derive(Clone, Debug)]
enum TemplatePart {
    Text(String),
    Expr {
        expr: Expr,
        /// True if the expression is wrapped in `raw(…)`.
        raw: bool,
    },
}

/// The encoding of a value that is inserted into text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueEncoding {
    None,
    Percent,
}

impl Template {
    /// Splits a text and compiles its expressions. Only urls can use `raw(…)`.
    pub(crate) fn compile(
        text: &str,
        pointer: &str,
        scope: &InScope,
        url: bool,
    ) -> Result<Self, Vec<Diagnostic>> {
        let pieces = split(text, pointer).map_err(|diagnostic| vec![diagnostic])?;
        let mut diagnostics = Vec::new();
        let mut parts = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                TextPiece::Text(text) => parts.push(TemplatePart::Text(text.to_owned())),
                TextPiece::Expr { text, start } => {
                    match compile_part(text, &ExprOrigin { pointer, start, scope }, url) {
                        Ok(part) => parts.push(part),
                        Err(found) => diagnostics.extend(found),
                    }
                }
            }
            if diagnostics.len() >= MAX_DIAGNOSTICS {
                break;
            }
        }
        if diagnostics.is_empty() {
            Ok(Self { parts, pointer: pointer.to_owned() })
        } else {
            Err(diagnostics)
        }
    }

    /// Returns the expression, if the template is a single expression and nothing else.
    pub(crate) fn single(&self) -> Option<&Expr> {
        match self.parts.as_slice() {
            [TemplatePart::Expr { expr, raw: false }] => Some(expr),
            _ => None,
        }
    }

    /// Returns the text, if it has no expression in it.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [TemplatePart::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Returns the text before the first expression, or `None` if the template begins with one.
    pub(crate) fn literal_start(&self) -> Option<&str> {
        match self.parts.first() {
            None => Some(""),
            Some(TemplatePart::Text(text)) => Some(text),
            Some(TemplatePart::Expr { .. }) => None,
        }
    }

    /// Returns the text with a NUL in place of each expression.
    pub(crate) fn literal_text(&self) -> String {
        let text = |part: &TemplatePart| match part {
            TemplatePart::Text(text) => text.clone(),
            TemplatePart::Expr { .. } => "\0".to_owned(),
        };
        self.parts.iter().map(text).collect()
    }

    /// Returns the JSON pointer of the field in the plan document.
    pub(crate) fn pointer(&self) -> &str {
        &self.pointer
    }

    /// Returns the expressions in the order of the text.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Expr { expr, .. } => Some(expr),
            TemplatePart::Text(_) => None,
        })
    }

    /// Evaluates a template that is a single expression; the value keeps its type. Returns `None`
    /// for any other template.
    pub(super) fn value(&self, scope: &Scope, env: &EvalEnv) -> Option<Result<Value, RenderError>> {
        let expr = self.single()?;
        Some(expr.eval(scope, env).map_err(|error| RenderError::expression(&self.pointer, &error)))
    }

    /// Joins the text and the values of its expressions. Fails for null, lists and objects, which
    /// have no text.
    pub(super) fn text(
        &self,
        scope: &Scope,
        env: &EvalEnv,
        encoding: ValueEncoding,
    ) -> Result<String, RenderError> {
        self.render(scope, env, encoding, |_| {})
    }

    /// Renders a url, and notes the places of the values in it.
    pub(super) fn url_text(&self, scope: &Scope, env: &EvalEnv) -> Result<UrlText<'_>, RenderError> {
        let mut values = Vec::new();
        let text = self.render(scope, env, ValueEncoding::Percent, |value| values.push(value))?;
        Ok(UrlText { text, values })
    }

    /// Renders scheme, host and port of a url, and what else is part of their expressions.
    pub(super) fn url_start(&self, scope: &Scope, env: &EvalEnv) -> Result<String, RenderError> {
        let start = Self { parts: self.host_parts().cloned().collect(), pointer: self.pointer.clone() };
        start.text(scope, env, ValueEncoding::Percent)
    }

    /// Returns the expressions of a url that may decide about scheme, host and port.
    pub(super) fn host_exprs(&self) -> impl Iterator<Item = &Expr> {
        self.host_parts().filter_map(|part| match part {
            TemplatePart::Expr { expr, .. } => Some(expr),
            TemplatePart::Text(_) => None,
        })
    }

    /// Returns the parts of a url up to the first one that begins its path.
    fn host_parts(&self) -> impl Iterator<Item = &TemplatePart> {
        let mut has_scheme = matches!(self.parts.first(), Some(TemplatePart::Expr { .. }));
        let mut ended = false;
        self.parts.iter().take_while(move |part| {
            if ended {
                return false;
            }
            if let TemplatePart::Text(text) = part {
                let rest = if has_scheme {
                    text.as_str()
                } else {
                    text.split_once("://").map_or("", |(_, rest)| rest)
                };
                (has_scheme, ended) = (true, rest.contains(['/', '\\', '?', '#']));
            }
            true
        })
    }

    fn render<'t>(
        &'t self,
        scope: &Scope,
        env: &EvalEnv,
        encoding: ValueEncoding,
        mut note: impl FnMut(UrlValue<'t>),
    ) -> Result<String, RenderError> {
        let mut rendered = String::new();
        for (index, part) in self.parts.iter().enumerate() {
            match part {
                TemplatePart::Text(text) => rendered.push_str(text),
                TemplatePart::Expr { expr, raw } => {
                    let start = rendered.len();
                    let value = expr
                        .eval(scope, env)
                        .map_err(|error| RenderError::expression(&self.pointer, &error))?;
                    let text = value.to_text().ok_or_else(|| {
                        let corrected = with_empty_default(expr.text(), *raw);
                        RenderError::no_text(&value, &self.pointer, expr.text(), &corrected)
                    })?;
                    // An expression at the start of a url is its base and must stay a url.
                    if encoding == ValueEncoding::Percent && index > 0 && !raw {
                        rendered.push_str(&links::percent_encode(&text));
                    } else {
                        rendered.push_str(&text);
                    }
                    note(UrlValue { expr, range: start..rendered.len(), is_base: index == 0 });
                }
            }
        }
        Ok(rendered)
    }
}

fn compile_part(text: &str, origin: &ExprOrigin<'_>, url: bool) -> Result<TemplatePart, Vec<Diagnostic>> {
    let ast = parse(text, origin).map_err(|diagnostic| vec![diagnostic])?;
    match ast {
        Ast::Function { name, mut args, .. } if url && name == "raw" && args.len() == 1 => {
            Ok(TemplatePart::Expr { expr: Expr::from_ast(text, args.remove(0), origin)?, raw: true })
        }
        ast => Ok(TemplatePart::Expr { expr: Expr::from_ast(text, ast, origin)?, raw: false }),
    }
}

/// Returns an expression that is empty text where the given one is null. `raw(…)` must stay the
/// outermost call, so the default goes inside it.
fn with_empty_default(text: &str, raw: bool) -> String {
    match raw.then(|| argument_of_raw(text)).flatten() {
        Some(argument) => format!("raw({argument} || '')"),
        None => format!("{text} || ''"),
    }
}

/// Returns the text between the brackets of `raw(…)`.
fn argument_of_raw(text: &str) -> Option<&str> {
    let call = text.get(text.find("raw")?..)?;
    let open = call.find('(')?;
    Some(call.get(open + 1..end_of_brackets(call.as_bytes(), open)?)?.trim())
}
