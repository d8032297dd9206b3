//! Expressions: JMESPath and the function library, compiled once, evaluated on shared values within bounds.

mod error;

pub use error::EvalError;

use crate::{EvalEnv, Reads, Scope, Value};

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Expr {
    text: String,
    reads: Reads,
}

impl Expr {
    /// The text as the author wrote it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it reads from the scope.
    #[must_use]
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Evaluates it.
    ///
    /// # Errors
    /// A function's type error, or a bound of steps, size or depth that was reached.
    pub fn eval(&self, _scope: &Scope, _env: &EvalEnv) -> Result<Value, EvalError> {
        Ok(Value::null())
    }

    /// Evaluates it as a condition, by JMESPath's truth.
    ///
    /// # Errors
    /// As [`Expr::eval`].
    pub fn is_true(&self, scope: &Scope, env: &EvalEnv) -> Result<bool, EvalError> {
        Ok(self.eval(scope, env)?.truthy())
    }
}
