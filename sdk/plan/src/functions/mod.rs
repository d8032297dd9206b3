//! The function library: one table of names, parameters, words, examples and bodies. Compiling checks calls against
//! it, evaluation runs them, the documentation prints it, and a test runs every example.

mod call;
mod codes;
mod collections;
mod crypto;
mod json;
mod jwt;
mod numbers;
mod order;
mod regexes;
mod standard;
mod standard_by;
mod table;
mod text;
mod time;

use std::collections::HashMap;
use std::sync::LazyLock;

pub(crate) use call::{Arg, Function, Param};
pub(crate) use regexes::linear_regex;

/// One function of the library, for documentation.
#[derive(Clone, Copy, Debug)]
pub struct FunctionDoc {
    /// Its name.
    pub name: &'static str,
    /// Its arguments and result.
    pub signature: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// An expression that uses it.
    pub example: &'static str,
    /// What the example evaluates to, as JSON, in the scope of the documentation's examples.
    pub expected: &'static str,
    /// Whether it comes with JMESPath itself.
    pub standard: bool,
}

static BY_NAME: LazyLock<HashMap<&'static str, &'static Function>> =
    LazyLock::new(|| table::all().map(|function| (function.name, function)).collect());

/// The function of this name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    BY_NAME.get(name).copied()
}

/// All names, for suggestions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    table::all().map(|function| function.name)
}

/// All functions, Orchid's own first, in the order of the documentation.
pub fn function_docs() -> impl Iterator<Item = FunctionDoc> {
    table::all().map(|function| FunctionDoc {
        name: function.name,
        signature: function.signature,
        doc: function.doc,
        example: function.example,
        expected: function.expected,
        standard: function.standard,
    })
}
