//! From a document to a compiled plan, or to all of its faults.
//!
//! In comes JSON, out goes a [`Plan`] or every [`crate::Diagnostic`] in it. Each file reads one object of the document. Readers
//! note faults and go on, so one wrong field hides no other; nothing that had a fault is ever handed out.

pub(crate) mod async_job;
mod conditional;
pub(crate) mod context;
pub(crate) mod cursor;
pub(crate) mod definition;
#[cfg(test)]
mod docs;
pub(crate) mod level;
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
mod streaming;
#[cfg(test)]
mod tests;
mod unsupported;
pub(crate) mod window;

use serde_json::Value;

use crate::{Definition, Diagnostics, Plan, ServerLimits};
use context::Context;

/// Checks and compiles a whole plan document.
///
/// # Errors
/// Every fault of the document at once.
pub fn check(document: &Value, server: &ServerLimits) -> Result<Plan, Diagnostics> {
    let mut context = Context::new(server);
    let plan = plan::read(document, &mut context);
    context.finish(plan)
}

/// Checks and compiles a definition alone. Pointers begin at the plan document all the same: `/definition/step/url`.
///
/// # Errors
/// Every fault of the definition at once.
pub fn compile(definition: &Value, server: &ServerLimits) -> Result<Definition, Diagnostics> {
    let mut context = Context::new(server);
    let compiled = definition::read(definition, "/definition", &mut context);
    let outcome = context.finish(compiled);
    #[cfg(test)]
    if outcome.is_ok() {
        crate::schema::tests::takes(definition);
    }
    outcome
}
