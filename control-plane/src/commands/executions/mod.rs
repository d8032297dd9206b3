//! Executions, as users see them.

mod explain;
mod read;
pub mod watch;

pub use explain::{ExplainExecution, Explained, summary};
pub use read::{GetExecution, ListExecutionAttempts, ListExecutions};

/// What errors call it.
const WHAT: &str = "execution";
