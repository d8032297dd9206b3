//! The JSON Schema of a plan's file (draft 2020-12), for editors and for people who want to see the whole language at once.
//!
//! It is put together from the tables by which the readers know their fields, and says with each field that holds
//! expressions which names they may begin with (`x-orchid-scope`). It takes every plan that [`crate::check`] takes, and
//! refuses most of what that refuses: what two fields mean together, and what stands inside expressions, it does not know.

pub(crate) mod build;
mod parts;
mod plan;
mod step;
#[cfg(test)]
pub(crate) mod tests;

use serde_json::Value;

/// The schema of a plan's file: the plan document, beside it `kind` and `$schema`.
#[must_use]
pub fn plan_schema() -> Value {
    plan::schema()
}
