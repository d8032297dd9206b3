//! The input of a page, its progress, and its results.

use std::sync::Arc;

use bytes::Bytes;

use crate::body::RowReader;
use crate::checkpoint::step_state::RowsState;
use crate::input::TryId;
use crate::output::CursorChange;
use crate::page::exchange::PageExchange;
use crate::program::node::StepNode;
use crate::rules::outcome::TryFailure;
use crate::state::context::{Context, ContextChanges};
use crate::state::status::StepStatus;
use crate::state::step_env::StepEnv;

/// Everything that a page starts with.
pub(crate) struct PageStart {
    pub(crate) node: Arc<StepNode>,
    pub(crate) exchange: PageExchange,
    /// True if checkpoints contain the rows of this page.
    pub(crate) durable: bool,
    /// The context after the page's own writes, and those writes.
    pub(crate) writes: Option<(Context, ContextChanges)>,
    /// The page's `extracted_data`, as JSON.
    pub(crate) extracted: Vec<u8>,
    /// The rows, and the try that streams them; `None` if the page has no rows.
    pub(crate) rows: Option<(RowReader, Option<TryId>)>,
    /// Environment of the sub-steps, without a row; `None` if there are no sub-steps.
    pub(crate) row_env: Option<Box<StepEnv>>,
    /// State of the rows, if the page was begun by an earlier attempt.
    pub(crate) resume: Option<RowsState>,
}

/// Progress of a page.
pub(crate) enum PageProgress {
    /// It waits for something.
    Waiting(StepStatus),
    /// All rows are finished.
    Done,
    /// The answer is that of the page before, and nothing of it was emitted.
    Repeated,
    /// The rows differ from those that an earlier attempt has settled: the page starts again.
    RowsChanged,
    /// The body broke off, or cannot be decoded any further.
    Broken(TryFailure, String),
}

/// The value that a stream had at the path of its rows.
#[derive(Clone, Copy)]
pub(crate) struct StreamPath {
    /// A value, even null.
    pub(crate) found: bool,
    /// A list.
    pub(crate) listed: bool,
}

impl StreamPath {
    /// Returns what a stream that has ended had.
    pub(crate) fn of(reader: &RowReader) -> Self {
        Self { found: reader.found(), listed: reader.listed() }
    }
}

/// Results of a page.
pub(crate) struct FinishedPage {
    pub(crate) exchange: PageExchange,
    /// The context after the page's own writes, and those writes.
    pub(crate) writes: Option<(Context, ContextChanges)>,
    pub(crate) row_writes: ContextChanges,
    pub(crate) row_cursors: Vec<CursorChange>,
    /// Number of rows; `None` if the page has no rows to count.
    pub(crate) rows: Option<u64>,
    /// The end of the path to the rows of a streamed body.
    pub(crate) stream_path: Option<StreamPath>,
    /// Rows that the enclosing row carries.
    pub(crate) gathered: Vec<Bytes>,
}
