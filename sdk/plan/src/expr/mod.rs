//! Expressions: JMESPath and the function library, compiled once, evaluated on shared values within bounds.

mod bounds;
mod check;
mod compare;
mod compile;
pub(crate) mod equal;
mod error;
mod eval;
mod names;
mod pitfalls;
mod shape;

use std::sync::Arc;

use jmespath::ast::Ast;

pub(crate) use bounds::{end_of_brackets, end_of_quoted};
pub(crate) use compile::{Site, parse};
pub use error::EvalError;
pub(crate) use eval::{Data, Failure, Outcome, Run, boolean, list, null};
pub(crate) use names::InScope;

use crate::{EvalEnv, ReadPaths, Scope, Value};

/// A compiled expression. Clones share it.
#[derive(Clone)]
pub struct Expr(Arc<Compiled>);

struct Compiled {
    text: String,
    ast: Ast,
    reads: ReadPaths,
    /// Whether it can make something larger or deeper than what it reads.
    builds: bool,
}

impl Expr {
    /// The text as the author wrote it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What it reads from the scope.
    #[must_use]
    pub fn reads(&self) -> &ReadPaths {
        &self.0.reads
    }

    /// Evaluates it.
    ///
    /// # Errors
    /// A function's type error, or a bound of steps, size or depth that was reached.
    pub fn eval(&self, scope: &Scope, env: &EvalEnv) -> Result<Value, EvalError> {
        self.eval_in(Run::new(scope, env))
    }

    fn eval_in(&self, mut run: Run<'_>) -> Result<Value, EvalError> {
        let outcome = run.eval(&self.0.ast, Data::Scope).and_then(|value| {
            if self.0.builds {
                run.check_result(&value, 1)?;
            }
            Ok(value)
        });
        outcome.map(Value::from).map_err(|failure| EvalError {
            expression: self.0.text.clone(),
            position: failure.offset,
            message: failure.message,
            over_budget: failure.over_budget,
        })
    }

    /// Evaluates it as a condition, by JMESPath's truth.
    ///
    /// # Errors
    /// As [`Expr::eval`].
    pub fn is_true(&self, scope: &Scope, env: &EvalEnv) -> Result<bool, EvalError> {
        Ok(self.eval(scope, env)?.truthy())
    }
}

impl std::fmt::Debug for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Expr({:?})", self.0.text)
    }
}

#[cfg(test)]
mod exactness;
#[cfg(test)]
pub(crate) mod tests;
