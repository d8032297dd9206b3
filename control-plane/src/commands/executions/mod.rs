//! Executions: the runs of plans, as their tenant sees and stops them.

mod cancel;
mod explain;
mod read;
mod report;
#[cfg(test)]
pub(crate) mod samples;
pub mod watch;
mod words;

pub use cancel::{CancelExecution, CancelOutcome};
pub use explain::{Explained, explain};
pub use read::{GetExecution, ListExecutionAttempts, ListExecutions, last_request_of};
pub use report::Report;

/// What errors call it.
const WHAT: &str = "execution";
