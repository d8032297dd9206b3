//! The function library: one table of names, parameters, docs, examples and bodies.
//!
//! The checker compares calls with it, evaluation runs it, the documentation prints it, and a test
//! runs every example.

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

use orchid_common::suggest::closest;

pub(crate) use call::{CallArg, LibraryFunction, ParamType};
pub(crate) use regexes::linear_regex;

/// One function of the library, for documentation.
#[derive(Clone, Copy, Debug)]
pub struct FunctionDoc {
    /// Name of the function.
    pub name: &'static str,
    /// Arguments and result type, as `name(argument: type) → type`.
    pub signature: &'static str,
    /// Description of the result, as a phrase without a full stop.
    pub doc: &'static str,
    /// Expression that calls the function.
    pub example: &'static str,
    /// Result of the example as JSON, in the scope of the documentation's examples.
    pub expected: &'static str,
    /// True if JMESPath itself defines the function.
    pub standard: bool,
}

static BY_NAME: LazyLock<HashMap<&'static str, &'static LibraryFunction>> =
    LazyLock::new(|| table::all().map(|function| (function.name, function)).collect());

/// Returns the function of this name.
pub(crate) fn find(name: &str) -> Option<&'static LibraryFunction> {
    BY_NAME.get(name).copied()
}

/// Returns all names.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    table::all().map(|function| function.name)
}

/// Names under which other languages, or JMESPath's community, know a function of the library.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("items", "entries"),
    ("to_entries", "entries"),
    ("pairs", "entries"),
    ("from_items", "from_entries"),
    ("from_pairs", "from_entries"),
    ("zip", "zip_rows"),
    ("zip_object", "zip_rows"),
    ("parent", "outer"),
    ("size", "length"),
    ("count", "length"),
    ("concat", "join"),
    ("lowercase", "lower"),
    ("to_lower", "lower"),
    ("uppercase", "upper"),
    ("to_upper", "upper"),
    ("coalesce", "not_null"),
    ("distinct", "unique"),
    ("to_json", "json_stringify"),
    ("from_json", "json_parse"),
];

/// Returns the function that the author of an unknown name most likely means.
pub(crate) fn suggest(unknown: &str) -> Option<&'static str> {
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == unknown).map(|(_, ours)| *ours);
    other.or_else(|| closest(unknown, table::all().map(|function| function.name)))
}

/// Returns all functions in the order of the documentation: Orchid's own first.
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
