//! A whole plan, and the definition inside it.

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
    /// Root steps, run in order.
    pub steps: Vec<Arc<Step>>,
    /// Limits of this plan beside the integration's, in the plan's order.
    pub rate_limits: Vec<RateLimit>,
    /// Execution time of a whole run; parked time does not count.
    pub max_execution: Duration,
    /// Passes of one loop in one place.
    pub max_loops: u64,
    /// Tries of a whole run.
    pub max_requests: Option<u64>,
    /// Levels of steps below each other.
    pub max_nesting_depth: u32,
    /// What reaching `max_loops`, `max_requests` or `max_execution` means.
    pub on_limit: OnLimit,
    /// What all expressions of the definition read.
    pub reads: ReadPaths,
}

/// How a run ends that reached one of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLimit {
    /// It fails with the limit's name.
    Fail,
    /// It ends succeeded and partial; the next run begins at its checkpoint.
    Continue,
}
