//! Evaluation of a syntax tree within a budget.

pub(crate) mod equality;
pub(crate) mod evaluation;
pub(super) mod interpreter;
