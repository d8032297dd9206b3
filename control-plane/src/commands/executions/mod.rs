//! Reads, watches, explains and cancels executions.

mod cancel;
mod explain;
mod explanation;
pub mod progress;
mod read;
mod report;
#[cfg(test)]
pub(crate) mod samples;
pub mod transition;
pub mod watch;

pub use cancel::{CancelExecution, CancelOutcome};
pub use explain::{ExecutionExplanation, explain};
pub use read::{GetExecution, ListExecutionAttempts, ListExecutions, last_request_of};
pub use report::ExecutionReport;

/// Name of the resource in errors.
const WHAT: &str = "execution";
