//! Compile-time checks of an expression: syntax, names in scope, function calls and pitfalls.
//!
//! In go the text and its [`origin::ExprOrigin`]; out comes a syntax tree that evaluation can
//! trust, or every diagnostic that could be found.

mod bare_names;
mod checker;
mod comparison;
mod names;
mod nesting;
pub(super) mod origin;
pub(super) mod parse;
mod pitfalls;
pub(super) mod scan;

pub(super) use checker::{CheckedExpr, check};
