//! An expression that failed while it ran.

/// Why an expression failed, with its text. The text of values is never part of it, their types are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}, at {position} of expression {expression:?}")]
pub struct EvalError {
    /// The expression's text.
    pub expression: String,
    /// Byte offset of what failed.
    pub position: usize,
    /// What failed: the function and the types of its arguments, or the bound that was reached.
    pub message: String,
    /// Whether a bound of steps, size or depth was reached (code `EXPRESSION` all the same).
    pub over_budget: bool,
}
