//! The page of a step while its rows are in progress, and the rows that outlive it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{RawJson, raw_json};
use crate::checkpoint::step_state::{RowState, RowsState, SequenceState};
use crate::page::rows::Page;
use crate::page::sub_steps::{PendingCancel, SubSteps};
use crate::program::node::StepNode;
use crate::state::engine_cx::EngineCx;
use crate::state::step_env::StepEnv;

/// The current page of a step, if there is one.
pub(crate) struct PageSlot<S> {
    page: Option<Box<Page<S>>>,
    /// State of the page's rows, while the page is fetched again.
    resume: Option<RowsState>,
    /// Rows of ended pages that the enclosing row carries.
    gathered: Vec<Bytes>,
}

impl<S: SubSteps> PageSlot<S> {
    /// Creates an empty slot, with what a checkpoint holds of its rows.
    pub(crate) fn new(resume: Option<RowsState>, gathered: Vec<Bytes>) -> Self {
        Self { page: None, resume, gathered }
    }

    /// Returns the rows for a checkpoint: those of the page, and those that the enclosing row
    /// carries. `whole` includes the rows in flight.
    pub(crate) fn state(&self, whole: bool) -> Result<(Option<RowsState>, Vec<RawJson>), CheckpointError> {
        let (rows, of_page) = match &self.page {
            Some(page) => (page.state(whole)?, page.gathered()),
            None => (self.resume.clone(), &[][..]),
        };
        let gathered = self.gathered.iter().chain(of_page).map(|row| raw_json(row));
        Ok((rows, gathered.collect::<Result<_, _>>()?))
    }

    /// Returns the page in progress.
    pub(crate) fn page(&self) -> Option<&Page<S>> {
        self.page.as_deref()
    }

    /// Returns the page in progress.
    pub(crate) fn page_mut(&mut self) -> Option<&mut Page<S>> {
        self.page.as_deref_mut()
    }

    /// Starts a page.
    pub(crate) fn start(&mut self, page: Page<S>) -> &mut Page<S> {
        self.page.insert(Box::new(page))
    }

    /// Takes the page, to end it.
    pub(crate) fn take_page(&mut self) -> Option<Box<Page<S>>> {
        self.page.take()
    }

    /// Returns whether the page is fetched again for its remaining rows.
    pub(crate) fn is_resuming(&self) -> bool {
        self.resume.is_some()
    }

    /// Sets the rows with which the page resumes; `None` starts it at its first row.
    pub(crate) fn set_resume(&mut self, rows: Option<RowsState>) {
        self.resume = rows;
    }

    /// Takes the rows with which the page resumes.
    pub(crate) fn take_resume(&mut self) -> Option<RowsState> {
        self.resume.take()
    }

    /// Adds rows of an ended page that the enclosing row carries.
    pub(crate) fn gather(&mut self, rows: Vec<Bytes>) {
        self.gathered.extend(rows);
    }

    /// Removes the newest gathered rows, because their page starts again.
    pub(crate) fn forget_gathered(&mut self, count: usize) {
        self.gathered.truncate(self.gathered.len().saturating_sub(count));
    }

    /// Takes the rows that the enclosing row carries.
    pub(crate) fn take_gathered(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.gathered)
    }

    /// Emits finished rows that wait for a fuller message.
    pub(crate) fn flush(&mut self, cx: &mut EngineCx<'_>) {
        if let Some(page) = &mut self.page {
            page.flush(cx);
        }
    }

    /// Moves the cancel requests of all async jobs below this page into `found`. `path` is that of
    /// the page.
    pub(crate) fn take_cancels(
        &mut self,
        node: &Arc<StepNode>,
        env: &StepEnv,
        path: &str,
        found: &mut Vec<PendingCancel>,
    ) {
        let waiting: Vec<(u64, SequenceState)> =
            self.not_started().map(|(number, row)| (number, row.steps.clone())).collect();
        for (number, state) in waiting {
            // The row itself is not known here. A job's state holds what its `cancel` reads of the
            // row.
            let below = env.below(format!("{path}[{number}]."), false);
            if let Ok(mut steps) = S::resume(&node.subs, below, state, &BTreeMap::new()) {
                steps.take_cancels(found);
            }
        }
        if let Some(page) = &mut self.page {
            page.take_cancels(found);
        }
    }

    /// Returns whether an upstream works on an async job below this page that can be cancelled.
    pub(crate) fn works_upstream(&self) -> bool {
        self.page.as_ref().is_some_and(|page| page.works_upstream())
            || self.not_started().any(|(_, row)| row.steps.step.works_upstream())
    }

    /// Iterates over the rows of the checkpoint that have not started again.
    fn not_started(&self) -> impl Iterator<Item = (u64, &RowState)> {
        // One of the two is empty: a page takes the rows of the checkpoint over when it starts.
        let of_page = self.page.iter().flat_map(|page| page.not_started());
        let of_state = self.resume.iter().flat_map(|state| &state.in_flight);
        of_page.chain(of_state.map(|(number, row)| (*number, row)))
    }
}
