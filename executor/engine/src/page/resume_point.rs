//! The point in a page from which a later attempt resumes.

use std::collections::BTreeMap;

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::step_state::{RowState, RowsState};
use crate::output::CursorChange;
use crate::page::row_source::{SettledPrefix, row_hash};
use crate::page::writer::FinishedRow;
use crate::state::context::{self, ContextChanges};
use crate::state::deferred_writes;

/// Bytes of cursor changes that a checkpoint in the middle of a page holds.
const CURSOR_CHANGES_MAX: usize = 64 * 1024;

/// The settled rows of a page with their writes, and the rows of the last checkpoint that have not
/// started again.
pub(crate) struct ResumePoint {
    settled: SettledPrefix,
    /// Context writes of the settled rows.
    writes: ContextChanges,
    /// Cursor changes of the settled rows. They are saved when the page ends: a page that is
    /// repeated as a whole starts from the same cursors.
    cursors: Vec<CursorChange>,
    not_started: BTreeMap<u64, RowState>,
}

impl ResumePoint {
    /// Creates the point before the first row.
    pub(crate) fn first() -> Self {
        Self {
            settled: SettledPrefix::empty(),
            writes: ContextChanges::new(),
            cursors: Vec::new(),
            not_started: BTreeMap::new(),
        }
    }

    /// Sets the rows of a checkpoint that start again.
    pub(crate) fn set_not_started(&mut self, rows: BTreeMap<u64, RowState>) {
        self.not_started = rows;
    }

    /// Continues behind the settled rows of a checkpoint, after they were skipped.
    pub(crate) fn restore(&mut self, state: RowsState) {
        let (writes, cursors) = deferred_writes::decode(state.deferred);
        self.writes = writes;
        self.cursors = cursors.into_iter().map(CursorChange::from).collect();
        self.not_started = state.in_flight;
    }

    /// Returns the number of settled rows.
    pub(crate) fn done(&self) -> u64 {
        self.settled.done
    }

    /// Adds a settled row that is skipped.
    pub(crate) fn add_skipped(&mut self, row: &[u8]) {
        self.settled.add(row);
    }

    /// Returns the hash over the settled rows.
    pub(crate) fn hash(&self) -> String {
        self.settled.hash()
    }

    /// Adds a settled row. `hashes`: a checkpoint can fall into this page.
    pub(crate) fn add(&mut self, row: FinishedRow, hashes: bool) {
        if hashes {
            self.settled.add(&row.raw);
        }
        self.add_writes(row);
    }

    /// Adds the writes of a row.
    pub(crate) fn add_writes(&mut self, row: FinishedRow) {
        let FinishedRow { mut writes, cursors, .. } = row;
        context::append(&mut self.writes, &mut writes);
        self.cursors.extend(cursors.into_iter().map(CursorChange::from));
    }

    /// Takes the state that a checkpoint has of this row: by its number, or by its hash if the rows
    /// have moved.
    pub(crate) fn take_row(&mut self, number: u64, row: &[u8]) -> Option<Box<RowState>> {
        if self.not_started.is_empty() {
            return None;
        }
        let hash = row_hash(row);
        let same = |state: &RowState| state.row_hash == hash;
        // Two equal rows are told apart by their number, which is therefore tried first.
        let number = match self.not_started.get(&number) {
            Some(state) if same(state) => number,
            Some(_) | None => *self.not_started.iter().find(|(_, state)| same(state))?.0,
        };
        self.not_started.remove(&number).map(Box::new)
    }

    /// Returns the rows of the checkpoint that have not started again.
    pub(crate) fn not_started(&self) -> &BTreeMap<u64, RowState> {
        &self.not_started
    }

    /// Returns the state for a checkpoint; `None` if there is nothing to keep. `chunk` is the
    /// number of the next chunk.
    pub(crate) fn state(
        &self,
        in_flight: BTreeMap<u64, RowState>,
        chunk: u32,
    ) -> Result<Option<RowsState>, CheckpointError> {
        if self.settled.done == 0 && in_flight.is_empty() {
            return Ok(None);
        }
        let cursors = self.saved_cursors().iter().map(|change| (&change.key, &change.json));
        Ok(Some(RowsState {
            done: self.settled.done,
            hash: self.settled.hash(),
            chunk,
            deferred: deferred_writes::encode(&self.writes, cursors)?,
            in_flight,
        }))
    }

    /// Returns the cursor changes that a checkpoint has room for. If there are too many, all are
    /// left out: then the next execution reads those rows once more, which is late, but loses
    /// nothing.
    fn saved_cursors(&self) -> &[CursorChange] {
        let size =
            |change: &CursorChange| change.key.step.len() + change.key.item.len() + change.json.len() + 64;
        if self.cursors.iter().map(size).sum::<usize>() > CURSOR_CHANGES_MAX { &[] } else { &self.cursors }
    }

    /// Consumes the point; returns the writes of the page's rows.
    pub(crate) fn into_writes(self) -> (ContextChanges, Vec<CursorChange>) {
        (self.writes, self.cursors)
    }
}
