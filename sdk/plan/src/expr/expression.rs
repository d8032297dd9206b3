//! A compiled expression: its text, its syntax tree, and the paths that it reads.

use std::fmt;
use std::sync::Arc;

use jmespath::ast::Ast;

use super::check::origin::ExprOrigin;
use super::check::{self, CheckedExpr};
use super::error::EvalError;
use super::eval::evaluation::{EvalData, Evaluation};
use super::eval::interpreter::interpret;
use super::exact_reads::exact_reads;
use super::literals::Literals;
use super::row_paths;
use crate::{Diagnostic, EvalEnv, PlainPath, ReadPaths, ReadSegment, Scope, Value};

/// A compiled expression. Clones share it.
#[derive(Clone)]
pub struct Expr(Arc<CompiledExpr>);

#[derive(Clone)]
struct CompiledExpr {
    text: String,
    ast: Ast,
    literals: Arc<Literals>,
    reads: ReadPaths,
    /// True if the result can be larger or deeper than the values that the expression reads.
    can_grow: bool,
    /// True if it calls `outer()`.
    reads_outer: bool,
}

impl Expr {
    /// Compiles an expression, or returns every diagnostic that could be found in it.
    pub(crate) fn compile(text: &str, origin: &ExprOrigin<'_>) -> Result<Self, Vec<Diagnostic>> {
        let ast = check::parse::parse(text, origin).map_err(|diagnostic| vec![diagnostic])?;
        Self::from_ast(text, ast, origin)
    }

    /// Checks a tree that was parsed from `text`.
    pub(crate) fn from_ast(text: &str, ast: Ast, origin: &ExprOrigin<'_>) -> Result<Self, Vec<Diagnostic>> {
        let CheckedExpr { mut reads, can_grow, reads_outer } = check::check(text, &ast, origin)?;
        // An element that `outer()` returns is not followed: whole values are read then.
        let members = |path: &[String]| path.iter().cloned().map(ReadSegment::Member).collect();
        let exact = if reads_outer { reads.paths().map(members).collect() } else { exact_reads(&ast) };
        reads.set_exact(exact);
        // A value that was parsed or checked before is shallow. An expression that reads the whole
        // context and is stored in the context makes it one level deeper each time.
        let reads_whole_context =
            |path: &[String]| path.first().is_none_or(|name| name == "context" && path.len() == 1);
        let can_grow = can_grow || reads.paths().any(reads_whole_context);
        let literals = Arc::new(Literals::of(text, &ast));
        let text = text.to_owned();
        Ok(Self(Arc::new(CompiledExpr { text, ast, literals, reads, can_grow, reads_outer })))
    }

    /// Returns the text as the author wrote it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Returns the paths of the scope that the expression reads.
    #[must_use]
    pub fn reads(&self) -> &ReadPaths {
        &self.0.reads
    }

    /// Returns the path below `response.body`, if the expression is only such a path of names and
    /// indexes. The bytes of the selected value can then be copied from the body unchanged.
    #[must_use]
    pub fn plain_body_path(&self) -> Option<PlainPath> {
        self.plain_path_below(&["response", "body"])
    }

    /// Returns the path below `names`, if the expression is only a path of names and indexes that
    /// begins with them.
    #[must_use]
    pub fn plain_path_below(&self, names: &[&str]) -> Option<PlainPath> {
        row_paths::plain_path_below(&self.0.ast, names)
    }

    /// Returns the path below `response.body` of rows, which may end in `` || `[]` ``.
    #[must_use]
    pub fn plain_row_path(&self) -> Option<PlainPath> {
        let ast = row_paths::without_empty_default(&self.0.ast).unwrap_or(&self.0.ast);
        row_paths::plain_path_below(ast, &["response", "body"])
    }

    /// Returns whether the expression says that an absent value is fine: by the default `` `[]` ``,
    /// or by a null that is its result, as in ``if(a, b, `null`)``.
    #[must_use]
    pub fn allows_absence(&self) -> bool {
        row_paths::without_empty_default(&self.0.ast).is_some() || row_paths::chooses_null(&self.0.ast)
    }

    /// Returns the expression up to its first filter, such as `a.b` of `a.b[?c].d`, or `None` if it
    /// has no filter.
    #[must_use]
    pub fn filter_input(&self) -> Option<Self> {
        let ast = row_paths::filter_input(&self.0.ast)?;
        Some(Self(Arc::new(CompiledExpr { ast, ..CompiledExpr::clone(&self.0) })))
    }

    #[cfg(test)]
    pub(super) fn literals(&self) -> &Literals {
        &self.0.literals
    }

    #[cfg(test)]
    pub(super) fn ast(&self) -> &Ast {
        &self.0.ast
    }

    /// Evaluates the expression.
    ///
    /// # Errors
    /// Fails if an argument has the wrong type for its function, if a function fails, or if a bound
    /// of steps, size or depth is exceeded.
    pub fn eval(&self, scope: &Scope, env: &EvalEnv) -> Result<Value, EvalError> {
        self.eval_in(Evaluation::new(scope, env))
    }

    pub(super) fn eval_in<'e>(&'e self, evaluation: Evaluation<'e>) -> Result<Value, EvalError> {
        let mut evaluation = evaluation.with_literals(&self.0.literals);
        if self.0.reads_outer {
            evaluation.record_elements();
        }
        let outcome = interpret(&mut evaluation, &self.0.ast, EvalData::Scope).and_then(|value| {
            // Other expressions return a part of a value that was checked before.
            if self.0.can_grow {
                evaluation.check_result(&value, 1)?;
            }
            Ok(value)
        });
        evaluation.report_work();
        outcome.map(Value::from).map_err(|failure| EvalError {
            expression: self.0.text.clone(),
            position: failure.offset,
            message: failure.message,
            over_budget: failure.over_budget,
        })
    }

    /// Evaluates the expression as a condition: null, false, `""`, `[]` and `{}` are false.
    ///
    /// # Errors
    /// Fails as [`Expr::eval`] does.
    pub fn is_true(&self, scope: &Scope, env: &EvalEnv) -> Result<bool, EvalError> {
        Ok(self.eval(scope, env)?.truthy())
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({:?})", self.0.text)
    }
}
