//! The point in a page from which a later attempt resumes.

use std::collections::{BTreeMap, VecDeque};

use crate::body::{NextRow, RowReader};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::step_state::{RowState, RowsState};
use crate::message::id::short_hash;
use crate::output::CursorChange;
use crate::page::row_hash::RowsHash;
use crate::page::writer::{FinishedRow, PageWriter};
use crate::state::context::{self, ContextChanges};
use crate::state::deferred_writes;

/// Bytes of cursor changes that a checkpoint in the middle of a page holds.
const CURSOR_CHANGES_MAX: usize = 64 * 1024;

/// The settled rows of a page with their writes, and the rows of the last checkpoint that have not
/// started again.
pub(crate) struct ResumePoint {
    settled: SettledRows,
    /// Rows behind the settled ones, which settle together with the next message. They may be many,
    /// so only their sum is kept.
    joined: JoinedRows,
    /// The rows behind the joined ones, which may settle later than these.
    newest: VecDeque<FinishedRow>,
    not_started: BTreeMap<u64, RowState>,
}

/// The rows that no later attempt repeats.
struct SettledRows {
    done: u64,
    /// The hash over the first `hashed` of them.
    hash: RowsHash,
    hashed: u64,
    /// The reader that reads the rows once more to hash them, and the number of rows it has read.
    reread: Option<(RowReader, u64)>,
    /// Context writes of the settled rows.
    writes: ContextChanges,
    /// Cursor changes of the settled rows. They are saved when the page ends: a page that is
    /// repeated as a whole starts from the same cursors.
    cursors: Vec<CursorChange>,
}

/// Rows that are not settled, summed up.
struct JoinedRows {
    count: u64,
    /// The hash over the settled rows and these; `None` if rows are hashed only once the page has
    /// to wait.
    hash: Option<RowsHash>,
    writes: ContextChanges,
    cursors: Vec<CursorChange>,
    /// Those that came from a checkpoint, with their state in it.
    resumed: Vec<(u64, Box<RowState>)>,
}

impl ResumePoint {
    /// Creates the point before the first row. `hashes`: rows are hashed as they come, because a
    /// checkpoint may fall between any two of them, or because they cannot be read again.
    pub(crate) fn first(hashes: bool) -> Self {
        Self {
            settled: SettledRows {
                done: 0,
                hash: RowsHash::empty(),
                hashed: 0,
                reread: None,
                writes: ContextChanges::new(),
                cursors: Vec::new(),
            },
            joined: JoinedRows {
                count: 0,
                hash: hashes.then(RowsHash::empty),
                writes: ContextChanges::new(),
                cursors: Vec::new(),
                resumed: Vec::new(),
            },
            newest: VecDeque::new(),
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
        self.settled.writes = writes;
        self.settled.cursors = cursors.into_iter().map(CursorChange::from).collect();
        if let Some(hash) = &mut self.joined.hash {
            hash.clone_from(&self.settled.hash);
        }
        self.not_started = state.in_flight;
    }

    /// Adds a settled row that is skipped.
    pub(crate) fn add_skipped(&mut self, row: &[u8]) {
        self.settled.done += 1;
        self.settled.hashed += 1;
        self.settled.hash.add(row);
    }

    /// Returns the hash over the settled rows.
    pub(crate) fn hash(&self) -> String {
        self.settled.hash.hex()
    }

    /// Adds a row that is not settled. The rows before it settle together from now on.
    pub(crate) fn add(&mut self, row: FinishedRow) {
        self.join_newest();
        self.newest.push_back(row);
    }

    /// Adds a row that no message carries, and that settles together with the row before it.
    pub(crate) fn add_left_out(&mut self, row: FinishedRow) {
        self.newest.push_back(row);
    }

    /// Settles all rows. Returns their number.
    pub(crate) fn settle_all(&mut self) -> u64 {
        self.join_newest();
        self.settle_joined()
    }

    /// Settles the rows before the newest one and before those that were left out after it. Returns
    /// their number.
    pub(crate) fn settle_joined(&mut self) -> u64 {
        let joined = &mut self.joined;
        let count = std::mem::take(&mut joined.count);
        self.settled.done += count;
        if let Some(hash) = &joined.hash {
            self.settled.hash.clone_from(hash);
            self.settled.hashed = self.settled.done;
        }
        context::append(&mut self.settled.writes, &mut joined.writes);
        self.settled.cursors.append(&mut joined.cursors);
        joined.resumed.clear();
        count
    }

    fn join_newest(&mut self) {
        for row in self.newest.drain(..) {
            let FinishedRow { raw, mut writes, cursors, resumed_from, .. } = row;
            let joined = &mut self.joined;
            let number = self.settled.done + joined.count;
            joined.resumed.extend(resumed_from.map(|state| (number, state)));
            joined.count += 1;
            if let Some(hash) = &mut joined.hash {
                hash.add(&raw);
            }
            context::append(&mut joined.writes, &mut writes);
            joined.cursors.extend(cursors.into_iter().map(CursorChange::from));
        }
    }

    /// Adds the writes of a whole page's sub-steps.
    pub(crate) fn add_writes(&mut self, row: FinishedRow) {
        let FinishedRow { mut writes, cursors, .. } = row;
        context::append(&mut self.settled.writes, &mut writes);
        self.settled.cursors.extend(cursors.into_iter().map(CursorChange::from));
    }

    /// Hashes the settled rows that were not hashed when they came, for a checkpoint in the middle
    /// of the page. `reader` is that of the page.
    pub(crate) fn hash_settled(&mut self, reader: &RowReader) {
        let SettledRows { done, hash, hashed, reread, .. } = &mut self.settled;
        if hashed == done {
            return;
        }
        if reread.is_none() {
            *reread = reader.restarted().map(|reader| (reader, 0));
        }
        let Some((rows, read)) = reread else { return };
        while *hashed < *done {
            // The rows were read before, so this succeeds. Should it not, the hash fits no rows,
            // and a later attempt repeats the page.
            let Ok(NextRow::Row(row)) = rows.next() else { return };
            *read += 1;
            if *read > *hashed {
                hash.add(&row);
                *hashed += 1;
            }
        }
    }

    /// Iterates over the rows that are not settled and came from a checkpoint, with their state in
    /// it.
    pub(crate) fn resumed(&self) -> impl Iterator<Item = (u64, &RowState)> {
        let joined = self.joined.resumed.iter().map(|(number, state)| (*number, &**state));
        let newest = (self.settled.done + self.joined.count..).zip(&self.newest);
        joined.chain(newest.filter_map(|(number, row)| Some((number, &**row.resumed_from.as_ref()?))))
    }

    /// Takes the state that a checkpoint has of this row: by its number, or by its hash if the rows
    /// have moved.
    pub(crate) fn take_row(&mut self, number: u64, row: &[u8]) -> Option<Box<RowState>> {
        if self.not_started.is_empty() {
            return None;
        }
        let hash = short_hash(row);
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

    /// Returns the state for a checkpoint; `None` if there is nothing to keep.
    pub(crate) fn state(
        &self,
        in_flight: BTreeMap<u64, RowState>,
        writer: &PageWriter,
    ) -> Result<Option<RowsState>, CheckpointError> {
        let settled = &self.settled;
        if settled.done == 0 && in_flight.is_empty() {
            return Ok(None);
        }
        let cursors = self.saved_cursors().iter().map(|change| (&change.key, &change.json));
        Ok(Some(RowsState {
            done: settled.done,
            hash: settled.hash.hex(),
            chunk: writer.next_chunk(),
            oversized: writer.oversized(),
            deferred: deferred_writes::encode(&settled.writes, cursors)?,
            in_flight,
        }))
    }

    /// Returns the cursor changes that a checkpoint has room for. If there are too many, all are
    /// left out: then the next execution reads those rows once more, which is late, but loses
    /// nothing.
    fn saved_cursors(&self) -> &[CursorChange] {
        let size =
            |change: &CursorChange| change.key.step.len() + change.key.item.len() + change.json.len() + 64;
        let cursors = &self.settled.cursors;
        if cursors.iter().map(size).sum::<usize>() > CURSOR_CHANGES_MAX { &[] } else { cursors }
    }

    /// Consumes the point; returns the writes of the page's rows.
    pub(crate) fn into_writes(self) -> (ContextChanges, Vec<CursorChange>) {
        (self.settled.writes, self.settled.cursors)
    }
}
