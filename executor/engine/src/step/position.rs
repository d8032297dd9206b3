//! The position of a loop: which page it is at, and what the requests and expressions of that page
//! read.

use std::sync::Arc;

use orchid_plan::{Step, Value};

use crate::checkpoint::loop_parts::PageTarget;
use crate::program::node::StepNode;
use crate::rules::watermark::Watermark;
use crate::rules::window::WindowSlices;
use crate::state::buffer_meter::HeldValue;
use crate::state::location::StepLocation;
use crate::state::step_env::StepEnv;

/// Position of a loop.
pub(crate) struct LoopPosition {
    pub(crate) node: Arc<StepNode>,
    /// Number of the `for_each` item that the step runs for.
    pub(crate) item: Option<u64>,
    /// Pages before this one.
    pub(crate) page: u64,
    /// Pages before the current window slice.
    pub(crate) pages_before_slice: u64,
    /// Tries of this page before the next one or the one in flight.
    pub(crate) retry: u32,
    /// The page to request.
    pub(crate) target: PageTarget,
    /// Response of the latest page; null before the first.
    pub(crate) latest: HeldValue,
    pub(crate) slice: Option<WindowSlices>,
    pub(crate) watermark: Option<Watermark>,
}

impl LoopPosition {
    /// Creates the position before the first page.
    pub(crate) fn first(node: &Arc<StepNode>, item: Option<u64>) -> Self {
        Self {
            node: node.clone(),
            item,
            page: 0,
            pages_before_slice: 0,
            retry: 0,
            target: PageTarget::First,
            latest: HeldValue::uncounted(Value::null()),
            slice: None,
            watermark: None,
        }
    }

    /// Returns the compiled step.
    pub(crate) fn step(&self) -> &Step {
        &self.node.step
    }

    /// Returns whether this page may be tried again.
    pub(crate) fn retries_left(&self) -> bool {
        self.retry < self.step().retry.max_retries
    }

    /// Returns the number of this page within the window slice.
    pub(crate) fn page_in_slice(&self) -> u64 {
        self.page - self.pages_before_slice
    }

    /// Returns the path of this page, such as `issues#2[17].comments#0`.
    pub(crate) fn path(&self, env: &StepEnv) -> String {
        let (prefix, id, page) = (&env.prefix, &self.step().id, self.page);
        match self.item {
            Some(item) => format!("{prefix}{id}[{item}]#{page}"),
            None => format!("{prefix}{id}#{page}"),
        }
    }

    /// Returns the location of this page.
    pub(crate) fn location(&self, env: &StepEnv) -> StepLocation {
        StepLocation { node: self.node.index, path: self.path(env), page: self.page, retries: self.retry }
    }
}
