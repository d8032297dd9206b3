//! Expressions: JMESPath and the function library, compiled once and evaluated on shared values.
//!
//! [`check`] parses an expression and reports every diagnostic in it; what passes is an [`Expr`].
//! [`eval`] runs its syntax tree within a budget of steps, values and text.

pub(crate) mod check;
mod error;
pub(crate) mod eval;
mod exact_reads;
mod expression;
mod literals;
mod row_paths;

#[cfg(test)]
mod exactness;
#[cfg(test)]
pub(crate) mod tests;

pub use error::EvalError;
pub use expression::Expr;

pub(crate) use check::origin::{ExprOrigin, InScope};
pub(crate) use check::parse::parse;
pub(crate) use check::scan::{end_of_brackets, end_of_quoted};
