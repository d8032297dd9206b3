//! The output of a page: the messages of its rows, and how far its rows are settled.
//!
//! A row is *settled* once no later attempt has to repeat it, because its message was emitted. What
//! settled rows wrote belongs to the next checkpoint; all other rows are repeated from the page's
//! response, fetched anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::body::{FileParts, RowReader};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::step_state::{RowState, RowsState};
use crate::output::CursorChange;
use crate::page::exchange::PageExchange;
use crate::page::resume_point::ResumePoint;
use crate::page::writer::{AddedRow, FinishedRow, PageWriter};
use crate::program::node::StepNode;
use crate::state::context::ContextChanges;
use crate::state::engine_cx::EngineCx;
use crate::state::exit::StepExit;
use crate::state::location::StepLocation;

/// The output of one page.
pub(crate) struct PageOutput {
    node: Arc<StepNode>,
    /// True if checkpoints contain the rows of this page.
    durable: bool,
    /// True if rows are hashed as they come; else only once the page has to wait.
    hashes: bool,
    writer: PageWriter,
    resume: ResumePoint,
    /// Rows that the enclosing row carries.
    gathered: Vec<Bytes>,
}

impl PageOutput {
    /// Creates the output of a page at its first row. `hashes`: a checkpoint may fall between any
    /// two of its rows, or they cannot be read again.
    pub(crate) fn new(node: &Arc<StepNode>, durable: bool, hashes: bool, writer: PageWriter) -> Self {
        let resume = ResumePoint::first(hashes);
        Self { node: node.clone(), durable, hashes, writer, resume, gathered: Vec::new() }
    }

    /// Prepares for the parts of a text or of a file: how much a message can carry, and of what
    /// kind they are.
    pub(crate) fn begin_parts(&mut self, cx: &EngineCx<'_>, parts: &mut FileParts) {
        parts.set_room(|| self.writer.room(cx, &self.node));
        self.writer.set_kind(parts.kind());
    }

    /// Takes the size of a streamed text or file: its last message tells it.
    pub(crate) fn end_parts(&mut self, cx: &EngineCx<'_>, parts: &FileParts, exchange: &mut PageExchange) {
        self.writer.set_kind(parts.kind());
        exchange.response.facts.size = parts.size();
        self.writer.set_exchange(cx.run, exchange);
    }

    /// Returns the location of the page.
    pub(crate) fn location(&self) -> &StepLocation {
        self.writer.location()
    }

    /// Returns the location of a row of the page.
    pub(crate) fn row_location(&self, number: u64) -> StepLocation {
        self.writer.row_location(number)
    }

    /// Returns whether the page has to wait until messages are acknowledged before it emits more.
    pub(crate) fn is_held_up(&self, cx: &EngineCx<'_>) -> bool {
        self.writer.is_held_up(cx)
    }

    /// Returns whether nothing of the page has been emitted, although its rows were read.
    pub(crate) fn is_silent(&self) -> bool {
        self.writer.is_silent()
    }

    /// Returns the settled rows, to compare and restore them.
    pub(crate) fn resume_point(&mut self) -> &mut ResumePoint {
        &mut self.resume
    }

    /// Continues behind the settled rows of a checkpoint.
    pub(crate) fn resume_at(&mut self, state: RowsState) {
        self.writer.resume_at(&self.node, &state);
        self.resume.restore(state);
    }

    /// Takes note of a row that has ended, in any order. A row that is a message by itself is
    /// emitted at once, unless the page is held up.
    pub(crate) fn row_ended(
        &mut self,
        cx: &mut EngineCx<'_>,
        number: u64,
        row: &mut FinishedRow,
        exchange: &PageExchange,
    ) {
        if !self.is_held_up(cx) {
            self.writer.emit_record(cx, &self.node, number, row, exchange);
        }
    }

    /// Adds the next row in order.
    pub(crate) fn write(
        &mut self,
        cx: &mut EngineCx<'_>,
        number: u64,
        mut row: FinishedRow,
        exchange: &PageExchange,
    ) {
        if self.node.gathers {
            self.gathered.push(row.emitted.clone());
        }
        self.writer.emit_record(cx, &self.node, number, &mut row, exchange);
        // The writer may keep the row back until its message is full: then it is not settled.
        match self.writer.add(cx, &self.node, number, &row.emitted, exchange) {
            AddedRow::Settled => {
                self.resume.add(row);
                self.settle_all(cx);
            }
            AddedRow::Waiting => self.resume.add(row),
            AddedRow::WaitingAlone => {
                self.settle_all(cx);
                self.resume.add(row);
            }
            AddedRow::LeftOut => self.resume.add_left_out(row),
        }
    }

    /// Emits rows that have waited for too long: one slow row would otherwise hold back the rows
    /// before it, and with them the checkpoint.
    pub(crate) fn emit_overdue(&mut self, cx: &mut EngineCx<'_>) {
        if self.writer.emit_overdue(cx, &self.node) {
            let settled = self.resume.settle_joined();
            self.count_settled(cx, settled);
        }
    }

    /// Emits all rows added so far, because the execution is handed back in the middle of the page.
    pub(crate) fn emit_all(&mut self, cx: &mut EngineCx<'_>) {
        self.writer.emit_all(cx, &self.node);
        self.settle_all(cx);
    }

    /// Emits the last message of the page's rows.
    ///
    /// # Errors
    /// Fails if a row was too large for a message, and the plan does not ignore that.
    pub(crate) fn end(&mut self, cx: &mut EngineCx<'_>, exchange: &PageExchange) -> Result<(), StepExit> {
        self.writer.end(cx, &self.node);
        self.settle_all(cx);
        self.writer.check_oversized(cx.run, &self.node, exchange)
    }

    /// Emits the body of a page without rows. Returns false if it has to wait before the next
    /// message.
    ///
    /// # Errors
    /// Fails if no message can carry the body or one of its elements, unless the plan ignores that.
    pub(crate) fn emit_body(
        &mut self,
        cx: &mut EngineCx<'_>,
        steps: &[u8],
        exchange: &PageExchange,
    ) -> Result<bool, StepExit> {
        self.writer.emit_body(cx, &self.node, steps, exchange)
    }

    /// Prepares for a checkpoint in the middle of a page that was not expected to be interrupted.
    /// `reader` is that of the page.
    pub(crate) fn hash_settled(&mut self, cx: &mut EngineCx<'_>, reader: &RowReader) {
        if !self.hashes {
            self.resume.hash_settled(reader);
            cx.run.moved |= self.durable;
        }
    }

    /// Returns the state of the rows for a checkpoint; `None` if there is nothing to keep.
    pub(crate) fn state(
        &self,
        in_flight: BTreeMap<u64, RowState>,
    ) -> Result<Option<RowsState>, CheckpointError> {
        self.resume.state(in_flight, &self.writer)
    }

    /// Returns the rows of the checkpoint that have not started again.
    pub(crate) fn not_started(&self) -> &BTreeMap<u64, RowState> {
        self.resume.not_started()
    }

    /// Iterates over the rows that are not settled and came from a checkpoint, with their state in
    /// it.
    pub(crate) fn resumed(&self) -> impl Iterator<Item = (u64, &RowState)> {
        self.resume.resumed()
    }

    /// Returns the rows that the enclosing row carries.
    pub(crate) fn gathered(&self) -> &[Bytes] {
        &self.gathered
    }

    /// Consumes the output; returns the rows that the enclosing row carries, and the writes of the
    /// page's rows.
    pub(crate) fn into_results(self) -> (Vec<Bytes>, ContextChanges, Vec<CursorChange>) {
        let (writes, cursors) = self.resume.into_writes();
        (self.gathered, writes, cursors)
    }

    fn settle_all(&mut self, cx: &mut EngineCx<'_>) {
        let settled = self.resume.settle_all();
        self.count_settled(cx, settled);
    }

    /// Counts rows as settled: their writes and cursors belong to the next checkpoint.
    fn count_settled(&self, cx: &mut EngineCx<'_>, rows: u64) {
        if rows == 0 {
            return;
        }
        if self.node.step.rows.is_some() {
            cx.run.progress.counts.rows += rows;
        }
        cx.run.moved |= self.durable && self.hashes;
    }
}
