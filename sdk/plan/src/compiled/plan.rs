//! A whole plan: its header and its compiled definition.

use std::sync::Arc;
use std::time::Duration;

use super::RateLimit;
use crate::header::PlanHeader;
use crate::{ReadPaths, Step};

/// A plan document that was checked and compiled.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every field except the definition. Its texts are as they were written.
    pub header: PlanHeader,
    /// The compiled definition.
    pub definition: Definition,
}

/// A compiled definition.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Root steps, in the order in which they run.
    pub steps: Vec<Arc<Step>>,
    /// Rate limits of this plan in addition to those of its integration, in document order.
    pub rate_limits: Vec<RateLimit>,
    /// Maximum running time of an execution; parked time does not count.
    pub max_execution: Duration,
    /// Maximum number of pages of one loop, counted for each item or row apart.
    pub max_loops: u64,
    /// Maximum number of requests of an execution, retries included.
    pub max_requests: Option<u64>,
    /// Maximum depth of nested steps.
    pub max_nesting_depth: u32,
    /// End of an execution that reaches `max_loops`, `max_requests` or `max_execution`.
    pub on_limit: OnLimit,
    /// Paths that the expressions of the definition read.
    pub reads: ReadPaths,
}

/// End of an execution that reaches one of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLimit {
    /// It fails with an error named after the limit.
    Fail,
    /// It succeeds partially, and the next execution starts at its checkpoint.
    Continue,
}
