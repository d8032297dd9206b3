//! Reads plan documents: compiles them, or reports every problem in them.
//!
//! Each file reads one object of the document. A reader reports a problem and goes on, so that one
//! wrong field hides no other. A document with a problem never yields a plan.

pub(crate) mod async_job;
mod conditional;
pub(crate) mod context;
pub(crate) mod cursor;
pub(crate) mod definition;
#[cfg(test)]
mod docs;
pub(crate) mod object;
mod outcome;
pub(crate) mod paginate;
pub(crate) mod plan;
pub(crate) mod rate_limits;
mod request;
pub(crate) mod response;
pub(crate) mod retry;
pub(crate) mod schedule;
mod sent_params;
pub(crate) mod step;
pub(crate) mod step_fields;
pub(crate) mod step_position;
mod streaming;
#[cfg(test)]
mod tests;
mod unsupported;
pub(crate) mod window;

use serde_json::Value;

use crate::{Definition, Diagnostics, Plan, ServerLimits};
use context::ReadContext;

/// Checks and compiles a whole plan document.
///
/// # Errors
/// Fails with every problem of the document, if there is any.
pub fn check(document: &Value, server: &ServerLimits) -> Result<Plan, Diagnostics> {
    let mut context = ReadContext::new(server);
    let plan = plan::read(document, &mut context);
    context.finish(plan)
}

/// Checks and compiles a definition alone. JSON pointers still start at the plan document:
/// `/definition/step/url`.
///
/// # Errors
/// Fails with every problem of the definition, if there is any.
pub fn compile(definition: &Value, server: &ServerLimits) -> Result<Definition, Diagnostics> {
    let mut context = ReadContext::new(server);
    let compiled = definition::read(definition, "/definition", &mut context);
    let outcome = context.finish(compiled);
    #[cfg(test)]
    if outcome.is_ok() {
        crate::schema::conformance::assert_accepts(definition);
    }
    outcome
}
