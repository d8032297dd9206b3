//! The JSON Schema (draft 2020-12) of plan files, for editors and as an overview of the language.
//!
//! It is built from the tables from which the readers know their fields. For each field that holds
//! expressions, `x-orchid-scope` lists the names that they may start with. The schema accepts every
//! plan that [`crate::check`] accepts, and refuses most of what that refuses; it knows neither how
//! fields depend on each other nor what is inside expressions.

pub(crate) mod build;
#[cfg(test)]
pub(crate) mod conformance;
mod parts;
mod plan;
mod step;
#[cfg(test)]
mod tests;

use serde_json::Value;

/// Returns the schema of a plan file: the plan document, with `kind` and `$schema` allowed.
#[must_use]
pub fn plan_schema() -> Value {
    plan::schema()
}
