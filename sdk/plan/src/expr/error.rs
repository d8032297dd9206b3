//! The error of an expression that failed during evaluation.

/// An evaluation error with the expression's text. It names the types of values, never the values
/// themselves, because they can be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}, at {position} of expression {expression:?}")]
pub struct EvalError {
    /// Text of the expression.
    pub expression: String,
    /// Byte offset of the part that failed.
    pub position: usize,
    /// Reason: the function and the types of its arguments, or the bound that was exceeded.
    pub message: String,
    /// True if a bound of steps, size or depth was exceeded. The error code is `EXPRESSION` either
    /// way.
    pub over_budget: bool,
}
