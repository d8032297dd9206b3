//! Templates, and the request that they make together.
//!
//! Text with `{{ expression }}` in it is split when a plan is compiled; rendering only evaluates and joins.

mod body;
mod error;
mod json;
mod params;
mod request;
mod split;
#[cfg(test)]
pub(crate) mod tests;

pub use error::{RenderError, RenderErrorCode};
pub use request::{Method, PaginationOverrides, RenderedRequest, RequestTemplate};

pub(crate) use body::BodyTemplate;
pub(crate) use json::JsonTemplate;
pub(crate) use params::ParamTemplate;
pub(crate) use request::HeaderTemplate;

use jmespath::ast::Ast;

use crate::expr::{InScope, Site, end_of_brackets, parse};
use crate::{Diagnostic, EvalEnv, Expr, Scope, Value};
use split::Piece;

/// Text with expressions in it, split once.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
    /// The field in the plan document.
    pointer: String,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Expr {
        expr: Expr,
        /// Wrapped in `raw(…)`.
        raw: bool,
    },
}

/// What is done to a value that is inserted into text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    Nothing,
    Percent,
}

impl Template {
    /// Splits and compiles; `raw(…)` is known in urls only.
    pub(crate) fn compile(
        text: &str,
        pointer: &str,
        scope: &InScope,
        url: bool,
    ) -> Result<Self, Vec<Diagnostic>> {
        let pieces = split::split(text, pointer).map_err(|diagnostic| vec![diagnostic])?;
        let mut diagnostics = Vec::new();
        let mut parts = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                Piece::Text(text) => parts.push(Part::Text(text.to_owned())),
                Piece::Expr { text, start } => match part(text, &Site { pointer, start, scope }, url) {
                    Ok(part) => parts.push(part),
                    Err(more) => diagnostics.extend(more),
                },
            }
        }
        if diagnostics.is_empty() {
            Ok(Self { parts, pointer: pointer.to_owned() })
        } else {
            Err(diagnostics)
        }
    }

    /// The only expression, where the template is nothing else.
    pub(crate) fn single(&self) -> Option<&Expr> {
        match self.parts.as_slice() {
            [Part::Expr { expr, raw: false }] => Some(expr),
            _ => None,
        }
    }

    /// The text, where there is no expression in it.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text that it begins with.
    pub(crate) fn literal_start(&self) -> Option<&str> {
        match self.parts.first() {
            None => Some(""),
            Some(Part::Text(text)) => Some(text),
            Some(Part::Expr { .. }) => None,
        }
    }

    /// The text with nothing in place of its expressions but a NUL each.
    pub(crate) fn literal_text(&self) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Expr { .. } => "\0".to_owned(),
        };
        self.parts.iter().map(text).collect()
    }

    /// The field in the plan document.
    pub(crate) fn pointer(&self) -> &str {
        &self.pointer
    }

    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expr { expr, .. } => Some(expr),
            Part::Text(_) => None,
        })
    }

    /// Evaluates a template that is one expression; the value keeps its type. `None` for any other template.
    fn value(&self, scope: &Scope, env: &EvalEnv) -> Option<Result<Value, RenderError>> {
        let expr = self.single()?;
        Some(expr.eval(scope, env).map_err(|error| RenderError::expression(&self.pointer, &error)))
    }

    /// Joins text and values. Null, lists and objects have no text.
    fn text(&self, scope: &Scope, env: &EvalEnv, escape: Escape) -> Result<String, RenderError> {
        let mut rendered = String::new();
        for (place, part) in self.parts.iter().enumerate() {
            match part {
                Part::Text(text) => rendered.push_str(text),
                Part::Expr { expr, raw } => {
                    let value = expr
                        .eval(scope, env)
                        .map_err(|error| RenderError::expression(&self.pointer, &error))?;
                    let text = value.to_text().ok_or_else(|| {
                        let instead = or_nothing(expr.text(), *raw);
                        RenderError::no_text(&value, &self.pointer, expr.text(), &instead)
                    })?;
                    // What a url begins with is a base: inserted as it is.
                    if escape == Escape::Percent && place > 0 && !raw {
                        rendered.push_str(&crate::links::percent_encode(&text));
                    } else {
                        rendered.push_str(&text);
                    }
                }
            }
        }
        Ok(rendered)
    }
}

fn part(text: &str, site: &Site<'_>, url: bool) -> Result<Part, Vec<Diagnostic>> {
    let ast = parse(text, site).map_err(|diagnostic| vec![diagnostic])?;
    match ast {
        Ast::Function { name, mut args, .. } if url && name == "raw" && args.len() == 1 => {
            Ok(Part::Expr { expr: Expr::from_ast(text, args.remove(0), site)?, raw: true })
        }
        ast => Ok(Part::Expr { expr: Expr::from_ast(text, ast, site)?, raw: false }),
    }
}

/// The expression that is empty text where this one is null. `raw(…)` stands alone, so it goes inside.
fn or_nothing(text: &str, raw: bool) -> String {
    match raw.then(|| argument(text)).flatten() {
        Some(argument) => format!("raw({argument} || '')"),
        None => format!("{text} || ''"),
    }
}

/// What stands between the brackets of `raw(…)`.
fn argument(text: &str) -> Option<&str> {
    let call = text.get(text.find("raw")?..)?;
    let open = call.find('(')?;
    Some(call.get(open + 1..end_of_brackets(call.as_bytes(), open)?)?.trim())
}
