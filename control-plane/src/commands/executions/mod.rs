//! Executions: the runs of plans, as their tenant sees and stops them.

mod explain;
mod read;
#[cfg(test)]
pub(crate) mod samples;
mod watch;
mod words;

pub use explain::{Explained, explain};
pub use read::{GetExecution, ListAttempts, ListExecutions, last_request_of};
pub use watch::{Watch, WatchEnd, Watches};

/// What errors call it.
const WHAT: &str = "execution";
