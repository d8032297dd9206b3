//! A whole plan, and the definition inside it.

use std::sync::Arc;
use std::time::Duration;

use super::{CatchUpPolicy, RateLimit, Timing};
use crate::{ReadPaths, Step};

/// A checked plan document.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Stable name, unique in a tenant.
    pub key: String,
    /// Key of the integration that it polls.
    pub integration: String,
    /// For which configs of the integration it runs.
    pub configs: Configs,
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Whether the scheduler runs it.
    pub enabled: bool,
    /// When runs are due, per config.
    pub timing: Timing,
    /// What happens to a due run while one is going.
    pub overlap: OverlapPolicy,
    /// What happens to runs that were missed.
    pub catch_up: CatchUpPolicy,
    /// Number of runs per config after which its schedule ends.
    pub repeat_count: Option<u64>,
    /// 0 to 9, higher first.
    pub priority: u8,
    /// What a run does.
    pub definition: Definition,
}

/// Which configs of an integration a plan runs for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Configs {
    /// Every one, also those made later.
    All,
    /// Those with these keys.
    Keys(Vec<String>),
}

/// What happens to a due run while one of its plan × config is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlapPolicy {
    /// It is dropped.
    Skip,
    /// It runs right after.
    Queue,
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
