//! From a document to a compiled plan, or to all of its faults.

use serde_json::Value;

use crate::{Definition, Fault, FaultCode, Faults, Plan, ServerLimits};

/// Checks and compiles a whole plan document.
///
/// # Errors
/// Every fault of the document at once.
pub fn check(_document: &Value, _server: &ServerLimits) -> Result<Plan, Faults> {
    Err(Faults(vec![Fault::new(FaultCode::Unsupported, "", "plans are not compiled yet")]))
}

/// Checks and compiles a definition alone. Pointers begin at the plan document all the same: `/definition/step/url`.
///
/// # Errors
/// Every fault of the definition at once.
pub fn compile(_definition: &Value, _server: &ServerLimits) -> Result<Definition, Faults> {
    Err(Faults(vec![Fault::new(FaultCode::Unsupported, "", "definitions are not compiled yet")]))
}
