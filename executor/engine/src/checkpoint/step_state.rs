//! The state of the steps in progress: sequences, loops with their rows, `for_each` items, async
//! jobs.
//!
//! These types are one file because they contain each other: a sequence holds a step, a step holds
//! rows, and a row holds a sequence again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::checkpoint::cancel_scope::CancelScopeState;
use crate::checkpoint::deferred_writes::{CursorWrite, DeferredWrites};
use crate::checkpoint::json::RawJson;
use crate::checkpoint::loop_parts::{LatestAnswer, PageTarget, WatermarkState, WindowState, is_zero};

/// Position of a sequence of steps.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SequenceState {
    /// Index of the step in its sequence.
    pub(crate) index: usize,
    /// Id of the step, to verify that the plan is the same.
    pub(crate) id: String,
    pub(crate) step: ActiveStepState,
    /// Below the root: responses of earlier steps that later steps read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) finished: BTreeMap<String, RawJson>,
    /// Below the root: rows of earlier steps that the enclosing row carries.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) gathered: BTreeMap<String, RawJson>,
    #[serde(rename = "carried", default, skip_serializing_if = "DeferredWrites::is_empty")]
    pub(crate) deferred: DeferredWrites,
}

/// Position of the step in progress.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ActiveStepState {
    Loop(Box<LoopState>),
    #[serde(rename = "each")]
    ForEach(ForEachState),
    #[serde(rename = "job")]
    AsyncJob(Box<AsyncJobState>),
}

impl ActiveStepState {
    /// Returns whether an upstream works on an async job in here that can be cancelled.
    pub(crate) fn works_upstream(&self) -> bool {
        match self {
            Self::Loop(step) => step.rows.as_ref().is_some_and(RowsState::works_upstream),
            Self::ForEach(items) => items.in_flight.values().any(|item| item.step.works_upstream()),
            Self::AsyncJob(job) => job.cancel_scope.is_some(),
        }
    }

    /// Prepares the state for another execution: its limits start anew, and it does not wait for
    /// what the earlier execution waited for.
    pub(crate) fn prepare_for_new_execution(&mut self) {
        match self {
            Self::Loop(step) => step.prepare_for_new_execution(),
            Self::ForEach(items) => {
                items.in_flight.values_mut().for_each(|item| item.step.prepare_for_new_execution());
            }
            Self::AsyncJob(job) => {
                // The job at the upstream goes on; only the wait of the earlier execution ends.
                job.due_ms = None;
                job.step.iter_mut().for_each(|step| step.prepare_for_new_execution());
                job.download.iter_mut().for_each(|download| download.step.prepare_for_new_execution());
            }
        }
    }
}

/// Position of a loop: before the first try of a page, or before a retry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoopState {
    /// True if `execute_if` was evaluated, and was true.
    #[serde(rename = "asked")]
    pub(crate) entered: bool,
    /// Pages before this one.
    pub(crate) page: u64,
    /// Pages before this one that do not count towards `max_loops`: those of an earlier execution
    /// or of earlier slices.
    #[serde(rename = "base", default, skip_serializing_if = "is_zero")]
    pub(crate) uncounted_pages: u64,
    /// Rows of the earlier pages of this window slice.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) rows_read: u64,
    /// Pages before this slice.
    #[serde(rename = "slice_base", default, skip_serializing_if = "is_zero")]
    pub(crate) pages_before_slice: u64,
    /// Tries of this page so far.
    #[serde(default)]
    pub(crate) retry: u32,
    /// When the next try is due, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due_ms: Option<i64>,
    #[serde(rename = "pointer", default)]
    pub(crate) target: PageTarget,
    /// Scheme, host and port of the step's own URL.
    #[serde(rename = "home", default, skip_serializing_if = "Option::is_none")]
    pub(crate) home_origin: Option<String>,
    /// Requests and cursors of the loop so far, as its repeat guard encodes them.
    #[serde(rename = "guard", default, skip_serializing_if = "String::is_empty")]
    pub(crate) repeat_guard: String,
    /// The latest answer, if the loop watches for repeated ones.
    #[serde(rename = "answer", default, skip_serializing_if = "Option::is_none")]
    pub(crate) latest_answer: Option<LatestAnswer>,
    /// Parts of the latest response that the next page reads.
    #[serde(rename = "latest", default, skip_serializing_if = "Option::is_none")]
    pub(crate) latest_response: Option<RawJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<WindowState>,
    #[serde(rename = "cursor", default, skip_serializing_if = "Option::is_none")]
    pub(crate) watermark: Option<WatermarkState>,
    /// Cursors that the rows of several pages share, until the loop has ended.
    #[serde(rename = "shared", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) shared_cursors: Vec<CursorWrite>,
    /// The rows of this page; `None` before the first one is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<RowsState>,
    /// Rows of earlier pages that the enclosing row carries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gathered: Vec<RawJson>,
}

impl LoopState {
    fn prepare_for_new_execution(&mut self) {
        // Pages keep their numbers, which are part of message ids, but the limit counts anew.
        (self.uncounted_pages, self.retry, self.due_ms) = (self.page, 0, None);
        let rows = self.rows.iter_mut().flat_map(|rows| rows.in_flight.values_mut());
        rows.for_each(|row| row.steps.step.prepare_for_new_execution());
    }
}

/// The rows of a page.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowsState {
    /// Number of settled rows: all of them are in messages.
    pub(crate) done: u64,
    /// Hex of the first 16 bytes of SHA-256 over the settled rows, each preceded by its length in 8
    /// bytes, big endian.
    pub(crate) hash: String,
    /// Number of the next chunk.
    pub(crate) chunk: u32,
    /// The first row that no message could carry, and that fails the step once the other rows are
    /// emitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) oversized: Option<OversizedState>,
    /// Writes of the settled rows.
    #[serde(rename = "carried", default, skip_serializing_if = "DeferredWrites::is_empty")]
    pub(crate) deferred: DeferredWrites,
    /// Rows in progress: included when the execution is parked or released, or when an upstream
    /// works on an async job.
    #[serde(rename = "under_way", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) in_flight: BTreeMap<u64, RowState>,
}

/// A row that no message can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OversizedState {
    /// Number of the row.
    pub(crate) row: u64,
    /// Size in bytes of the message that would carry it alone.
    pub(crate) size: usize,
}

impl RowsState {
    fn works_upstream(&self) -> bool {
        self.in_flight.values().any(|row| row.steps.step.works_upstream())
    }
}

/// Position of one row.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowState {
    /// Hex of the first 8 bytes of SHA-256 over the row. It identifies the row when the page is
    /// fetched again, since the rows may have moved or changed.
    #[serde(rename = "row")]
    pub(crate) row_hash: String,
    #[serde(rename = "at")]
    pub(crate) steps: SequenceState,
}

/// The items of a `for_each` step.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForEachState {
    /// Number of the first item that is not done.
    pub(crate) done: u64,
    #[serde(rename = "carried", default, skip_serializing_if = "DeferredWrites::is_empty")]
    pub(crate) deferred: DeferredWrites,
    /// Items that ended while an earlier one is still in progress.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) ended: BTreeMap<u64, DeferredWrites>,
    #[serde(rename = "under_way", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) in_flight: BTreeMap<u64, ItemState>,
    /// Last responses of the items so far, if `steps.<id>` is read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) responses: BTreeMap<u64, RawJson>,
    /// Rows of the items so far that the enclosing row carries.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) gathered: BTreeMap<u64, Vec<RawJson>>,
}

/// Position of one item.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ItemState {
    pub(crate) step: ActiveStepState,
    #[serde(rename = "carried", default, skip_serializing_if = "DeferredWrites::is_empty")]
    pub(crate) deferred: DeferredWrites,
}

/// Position of an async job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AsyncJobState {
    /// True if `execute_if` was evaluated, and was true.
    #[serde(rename = "asked")]
    pub(crate) entered: bool,
    pub(crate) phase: AsyncJobPhase,
    /// Polls so far.
    #[serde(default)]
    pub(crate) polls: u64,
    /// Parts of the last poll's response that the next poll reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_poll: Option<RawJson>,
    /// When the upstream accepted the job, in milliseconds since the Unix epoch.
    #[serde(rename = "since_ms", default, skip_serializing_if = "Option::is_none")]
    pub(crate) submitted_ms: Option<i64>,
    /// URL of the submit, without query and credentials.
    #[serde(rename = "base", default, skip_serializing_if = "Option::is_none")]
    pub(crate) base_url: Option<String>,
    /// When the next poll is due, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due_ms: Option<i64>,
    /// Responses of the job's steps that its other steps read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) finished: BTreeMap<String, RawJson>,
    /// Position of the submit or the poll.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<Box<LoopState>>,
    /// Position of the downloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) download: Option<Box<SequenceState>>,
    #[serde(rename = "carried", default, skip_serializing_if = "DeferredWrites::is_empty")]
    pub(crate) deferred: DeferredWrites,
    /// Values around the job that its `cancel` reads, while the upstream works on it; `None` if
    /// nothing is around it.
    #[serde(rename = "around", default, skip_serializing_if = "Option::is_none")]
    pub(crate) cancel_scope: Option<CancelScopeState>,
}

/// Phase of an async job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AsyncJobPhase {
    Submit,
    Wait,
    Poll,
    Download,
}
