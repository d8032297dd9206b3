//! The rows of one page: read one by one from the response, run through their sub-steps, and
//! written in order.
//!
//! Rows run side by side and end in any order, but they are written in the order of the page. Only
//! a window of them is held in memory: the rows in flight, and those that ended before an earlier
//! one. While too many messages are unacknowledged, no further row is read.

use std::sync::Arc;

use bytes::Bytes;
use orchid_plan::ValueError;

use crate::body::Body;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::step_state::{RowState, RowsState};
use crate::input::TryId;
use crate::page::attach_steps::attach_steps;
use crate::page::exchange::{PageExchange, TryResponse};
use crate::page::in_flight::InFlightWindow;
use crate::page::output::PageOutput;
use crate::page::progress::{FinishedPage, PageProgress, PageStart, StreamPath};
use crate::page::row::RowExecution;
use crate::page::row_env::{report_unreadable, row_env};
use crate::page::row_source::{RowSource, SkippedPrefix, SkippedRow};
use crate::page::sub_steps::{PendingCancel, SubSteps};
use crate::page::writer::{FinishedRow, PageWriter};
use crate::program::node::StepNode;
use crate::rules::outcome::TryFailure;
use crate::state::context::{Context, ContextChanges};
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::event::StepEvent;
use crate::state::execution::ExecutionState;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::failed_row;
use crate::state::location::StepLocation;
use crate::state::status::{DeferredWait, StepStatus};
use crate::state::step_env::StepEnv;

/// A page whose response is a success.
pub(crate) struct Page<S> {
    node: Arc<StepNode>,
    exchange: PageExchange,
    /// The context after the page's own writes, and those writes.
    writes: Option<(Context, ContextChanges)>,
    output: PageOutput,
    /// Source of the rows; `None` if the sub-steps run once for the whole page.
    source: Option<RowSource>,
    /// Environment of the sub-steps, without a row; `None` if there are no sub-steps.
    row_env: Option<Box<StepEnv>>,
    rows: InFlightWindow<RowExecution<S>, FinishedRow>,
    /// True while the page waits for messages to be acknowledged.
    awaits_room: bool,
    /// Rows of sub-steps that ran once for the page, as a JSON object.
    steps: Vec<u8>,
    /// Rows read so far.
    row_count: u64,
}

impl<S: SubSteps> Page<S> {
    /// Creates a page at its first row, or behind the rows that an earlier attempt has settled.
    pub(crate) fn new(run: &ExecutionState, location: StepLocation, start: PageStart) -> Self {
        let PageStart { node, exchange, durable, writes, extracted, rows, row_env, resume } = start;
        let writer = PageWriter::new(run, &node, location, &exchange, extracted);
        // Rows of a whole body without sub-steps are handled within one input, unless the page has
        // to wait: hashing them as they come would mostly be wasted work.
        let hashes = !node.subs.is_empty() || rows.as_ref().is_some_and(|(_, stream)| stream.is_some());
        let mut page = Self {
            output: PageOutput::new(&node, durable, hashes, writer),
            node,
            exchange,
            writes,
            source: rows.map(|(reader, stream)| RowSource::new(reader, stream)),
            row_env,
            rows: InFlightWindow::after(0),
            awaits_room: false,
            steps: Vec::new(),
            row_count: 0,
        };
        if let (Some(_), Some(source)) = (page.exchange.response.comparison, &mut page.source) {
            source.compare_answer();
        }
        match (resume, &mut page.source) {
            // The page is fetched anew: the settled rows are compared by their hash before the rest
            // is read, since the upstream may answer differently this time.
            (Some(state), Some(source)) if state.done > 0 => {
                source.skip = Some(SkippedPrefix { left: state.done, state });
            }
            // Nothing is settled, but rows were in flight: each of them continues once it is read.
            (Some(state), Some(_)) => page.resume_at(state),
            (Some(state), None) => page.output.resume_point().set_not_started(state.in_flight),
            (None, _) => {}
        }
        page
    }

    /// Handles an event for one of the rows, or the next piece of the body. Other events change
    /// nothing.
    ///
    /// # Errors
    /// Fails if a row fails and the plan does not tolerate it, or if the execution cannot continue.
    pub(crate) fn deliver(
        &mut self,
        cx: &mut EngineCx<'_>,
        route: &[u64],
        event: StepEvent,
    ) -> Result<PageProgress, StepExit> {
        if let Some((number, rest)) = route.split_first() {
            let Some(mut row) = self.rows.take(*number) else { return Ok(self.waiting()) };
            let status = cx.at(*number, |cx| row.steps.deliver(cx, rest, event));
            self.row_came_to(cx, *number, row, status)?;
            return self.advance(cx);
        }
        match event {
            StepEvent::BodyPiece { try_id, piece, duration } if self.open_try() == Some(try_id) => {
                let Some(source) = &mut self.source else { return Ok(self.waiting()) };
                if !source.take_piece(cx, try_id, piece) {
                    self.exchange.response.facts.duration_ms = u64::try_from(duration.as_millis()).ok();
                }
                self.advance(cx)
            }
            StepEvent::RoomAvailable => {
                self.awaits_room = false;
                self.advance(cx)
            }
            _ => Ok(self.waiting()),
        }
    }

    /// Starts and finishes rows until something has to be waited for.
    ///
    /// # Errors
    /// Fails if a row fails and the plan does not tolerate it, or if the execution cannot continue.
    pub(crate) fn advance(&mut self, cx: &mut EngineCx<'_>) -> Result<PageProgress, StepExit> {
        if self.source.is_none() {
            return self.advance_single(cx);
        }
        if let Some(parts) = self.source.as_mut().and_then(|source| source.reader.parts()) {
            self.output.begin_parts(cx, parts);
        }
        // Rows that have ended are written before others start: a start can end the execution, and
        // would take them along.
        self.write_ended(cx);
        loop {
            if let Some(progress) = self.start_rows(cx)? {
                return Ok(progress);
            }
            // Written rows move the window, which makes room for further ones.
            if !self.write_ended(cx) {
                break;
            }
        }
        if self.output.is_held_up(cx) {
            return Ok(self.wait_for_room(cx));
        }
        self.output.emit_overdue(cx);
        if self.rows.is_empty()
            && let Some(source) = self.source.as_ref().filter(|source| source.exhausted)
        {
            let repeated = source.note_answer(&mut self.exchange.response);
            if repeated && self.node.subs.is_empty() && self.output.is_silent() {
                return Ok(PageProgress::Repeated);
            }
            if let Some(parts) = self.source.as_mut().and_then(|source| source.reader.parts()) {
                self.output.end_parts(cx, parts, &mut self.exchange);
            }
            self.output.end(cx, &self.exchange)?;
            return Ok(PageProgress::Done);
        }
        let reads_body = self.source.as_ref().and_then(|source| source.open_body.as_ref());
        Ok(PageProgress::Waiting(match self.rows.status() {
            _ if reads_body.is_some_and(|body| body.requested) => StepStatus::InFlight,
            StepStatus::InFlight if self.rows.is_empty() => {
                // No row is in flight, and none may start: other steps wait for so long that the
                // execution is parked.
                StepStatus::Deferred(DeferredWait::nothing_begins())
            }
            status => status,
        }))
    }

    /// Returns what the step needs to end the page.
    pub(crate) fn finish(self) -> FinishedPage {
        // For a body that was read as a whole, the path check has seen the text itself.
        let streamed = self.source.as_ref().filter(|_| self.exchange.response.streamed);
        let edges = streamed.and_then(RowSource::edges);
        let (mut gathered, row_writes, row_cursors) = self.output.into_results();
        if self.source.is_none() && self.node.gathers {
            let body = self.exchange.response.body.to_message_body().elements().unwrap_or_default();
            let with_steps =
                |row: Bytes| if self.steps.is_empty() { row } else { attach_steps(&row, &self.steps) };
            gathered.extend(body.into_iter().map(with_steps));
        }
        FinishedPage {
            stream_path: streamed.map(|source| StreamPath::of(&source.reader)),
            rows: self.node.step.rows.is_some().then_some(self.row_count),
            exchange: PageExchange {
                response: TryResponse { edges, ..self.exchange.response },
                ..self.exchange
            },
            writes: self.writes,
            row_writes,
            row_cursors,
            gathered,
        }
    }

    /// Turns the response into a failure, because its body broke off.
    pub(crate) fn fail(&mut self, failure: TryFailure, problem: String, retries_left: bool) {
        if let Some(body) = self.source.as_ref().and_then(|source| source.open_body.as_ref()) {
            self.exchange.response.body = Body::Text(String::from_utf8_lossy(&body.head).into_owned());
        }
        self.exchange.response.fail(failure, problem, retries_left);
    }

    /// Writes the finished rows, and emits all written ones, without waiting for a fuller message.
    pub(crate) fn emit_finished(&mut self, cx: &mut EngineCx<'_>) {
        while self.write_next(cx) {}
        self.output.emit_all(cx);
    }

    /// Takes the rows so far as all rows of the page: the plan accepts that its body broke off.
    pub(crate) fn accept_break(mut self: Box<Self>) -> Box<Self> {
        if let Some(skip) = self.source.as_mut().and_then(RowSource::end) {
            self.resume_at(skip.state);
        }
        self
    }

    /// Emits the rows that wait for a fuller message, in the sub-steps of rows too.
    pub(crate) fn flush(&mut self, cx: &mut EngineCx<'_>) {
        for (number, row) in self.rows.in_flight_mut() {
            cx.at(number, |cx| row.steps.flush(cx));
        }
        // While settled rows are skipped, nothing was read that could be emitted.
        if self.source.as_ref().is_some_and(|source| source.skip.is_none()) {
            self.emit_finished(cx);
            if let Some(source) = &self.source {
                self.output.hash_settled(cx, &source.reader);
            }
        }
    }

    /// Returns the state of the rows for a checkpoint; `None` if there is nothing to keep.
    ///
    /// `whole` includes the rows that are not settled: those in flight as they are, those that
    /// ended as the last checkpoint had them.
    pub(crate) fn state(&self, whole: bool) -> Result<Option<RowsState>, CheckpointError> {
        if let Some(RowSource { skip: Some(skip), .. }) = &self.source {
            return Ok(Some(skip.state.clone()));
        }
        let single = self.source.is_none();
        let mut in_flight = self.output.not_started().clone();
        if whole {
            let ended = self.rows.ended();
            let ended = ended.filter_map(|(number, row)| Some((number, &**row.resumed_from.as_ref()?)));
            for (number, state) in self.output.resumed().chain(ended) {
                in_flight.insert(number, state.clone());
            }
        }
        for (number, row) in self.rows.in_flight() {
            // Rows in flight are left out otherwise: repeating a few of them is cheaper than
            // writing their whole tree into every checkpoint.
            if whole || (single && row.steps.env().durable) {
                in_flight.insert(number, row.state(whole)?);
            }
        }
        self.output.state(in_flight)
    }

    /// Returns whether an upstream works on an async job of a row that can be cancelled.
    pub(crate) fn works_upstream(&self) -> bool {
        self.rows.in_flight().any(|(_, row)| row.steps.works_upstream())
    }

    /// Moves the cancel requests of all rows in flight into `found`.
    pub(crate) fn take_cancels(&mut self, found: &mut Vec<PendingCancel>) {
        for (_, mut row) in self.rows.drain_in_flight() {
            row.steps.take_cancels(found);
        }
    }

    /// Iterates over the rows of the checkpoint that have not started again.
    pub(crate) fn not_started(&self) -> impl Iterator<Item = (u64, &RowState)> {
        let skipped = self.source.iter().flat_map(RowSource::not_started);
        self.output.not_started().iter().chain(skipped).map(|(number, state)| (*number, state))
    }

    /// Returns the number of rows that the checkpoint says were settled, while they are skipped.
    pub(crate) fn settled_before(&self) -> usize {
        self.source.as_ref().map_or(0, RowSource::settled_before)
    }

    /// Returns the try whose body is still streaming.
    pub(crate) fn open_try(&self) -> Option<TryId> {
        self.source.as_ref().and_then(RowSource::open_try)
    }

    /// Returns the request and the response of the page.
    pub(crate) fn exchange(&self) -> &PageExchange {
        &self.exchange
    }

    /// Returns the rows that the enclosing row carries.
    pub(crate) fn gathered(&self) -> &[Bytes] {
        self.output.gathered()
    }

    /// Consumes the page; returns the exchange and the rows that the enclosing row carries.
    pub(crate) fn into_exchange(self) -> (PageExchange, Vec<Bytes>) {
        (self.exchange, self.output.into_results().0)
    }

    /// Starts rows while the window has room; returns a progress if the page cannot continue with
    /// them.
    fn start_rows(&mut self, cx: &mut EngineCx<'_>) -> Result<Option<PageProgress>, StepExit> {
        let (has_subs, concurrency) = (!self.node.subs.is_empty(), self.node.step.concurrency);
        loop {
            let Some(source) = &mut self.source else { return Ok(None) };
            let has_room = !has_subs || self.rows.has_room(concurrency, cx.run);
            let is_held_up = source.skip.is_none() && self.output.is_held_up(cx);
            if source.exhausted || !has_room || is_held_up {
                return Ok(None);
            }
            let row = match source.next_row(cx) {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(None),
                Err(progress) => return Ok(Some(progress)),
            };
            self.row_count += 1;
            match source.skip_row(&row, self.output.resume_point()) {
                SkippedRow::New => {}
                SkippedRow::Settled => continue,
                SkippedRow::LastSettled(state) => {
                    self.resume_at(*state);
                    continue;
                }
                SkippedRow::Changed => return Ok(Some(PageProgress::RowsChanged)),
            }
            // Numbers are given in the order of the page. They are part of the step path, and thus
            // of the message id: a repeated row gets the same id.
            let number = self.rows.begin();
            if has_subs {
                self.start_row(cx, number, row)?;
            } else {
                // Nothing is in flight, so this row is the next one to be written.
                self.row_ended(cx, number, FinishedRow::plain(row));
                self.write_next(cx);
            }
        }
    }

    /// Continues behind the settled rows of a checkpoint.
    fn resume_at(&mut self, state: RowsState) {
        self.rows = InFlightWindow::after(state.done);
        self.output.resume_at(state);
    }

    /// Runs the sub-steps once for the whole page.
    fn advance_single(&mut self, cx: &mut EngineCx<'_>) -> Result<PageProgress, StepExit> {
        if !self.node.subs.is_empty() && self.rows.next() == 0 {
            let number = self.rows.begin();
            self.start_row(cx, number, Bytes::new())?;
        }
        while let Some((_, row)) = self.rows.take_ended() {
            // There is at most one: the page itself counts as row 0.
            self.steps = row.emitted.to_vec();
            self.output.resume_point().add_writes(row);
        }
        if !self.rows.is_empty() {
            return Ok(self.waiting());
        }
        if !self.output.emit_body(cx, &self.steps, &self.exchange)? {
            return Ok(self.wait_for_room(cx));
        }
        Ok(PageProgress::Done)
    }

    /// Waits until enough messages are acknowledged.
    fn wait_for_room(&mut self, cx: &mut EngineCx<'_>) -> PageProgress {
        if !std::mem::replace(&mut self.awaits_room, true) {
            cx.wait_for_room();
            if let Some(source) = &self.source {
                self.output.hash_settled(cx, &source.reader);
            }
        }
        PageProgress::Waiting(StepStatus::InFlight)
    }

    fn start_row(&mut self, cx: &mut EngineCx<'_>, number: u64, raw: Bytes) -> Result<(), StepExit> {
        let env = match self.env_of_row(cx.run, number, &raw) {
            Ok(Some(env)) => env,
            Ok(None) => return Ok(()),
            Err(error) => return self.row_unread(cx, number, raw, &error),
        };
        let resumed_from = self.output.resume_point().take_row(number, &raw);
        let row = RowExecution::<S>::new(cx.run, &self.node, env, raw, resumed_from).map_err(|error| {
            let detail = ErrorDetail::checkpoint(&self.node.step.pointer, &error);
            let location = self.output.location().clone();
            StepError::new(&cx.run.redactor, location, detail, ErrorContext::default())
        })?;
        let Some(mut row) = row else { return Ok(()) };
        let status = cx.at(number, |cx| row.steps.start(cx));
        self.row_came_to(cx, number, row, status)
    }

    /// Returns the environment of a row's sub-steps.
    fn env_of_row(
        &mut self,
        run: &ExecutionState,
        number: u64,
        raw: &Bytes,
    ) -> Result<Option<StepEnv>, ValueError> {
        if self.source.is_none() {
            return Ok(self.row_env.take().map(|env| *env));
        }
        let Some(env) = &self.row_env else { return Ok(None) };
        row_env(run, env, &self.node, &self.output.location().path, number, raw).map(Some)
    }

    /// Reports a row that cannot be read. It is emitted as it came, without sub-steps.
    fn row_unread(
        &mut self,
        cx: &mut EngineCx<'_>,
        number: u64,
        raw: Bytes,
        error: &ValueError,
    ) -> Result<(), StepExit> {
        let (location, env) = (self.output.row_location(number), self.row_env.as_deref());
        report_unreadable(cx, &self.node, env, location, &self.exchange, error)?;
        self.row_ended(cx, number, FinishedRow::plain(raw));
        Ok(())
    }

    fn row_came_to(
        &mut self,
        cx: &mut EngineCx<'_>,
        number: u64,
        row: RowExecution<S>,
        status: Result<StepStatus, StepExit>,
    ) -> Result<(), StepExit> {
        let stops = self.node.step.stop_on_error || self.source.is_none();
        match status {
            Ok(StepStatus::InFlight) => self.rows.put(number, row, None),
            Ok(StepStatus::Deferred(wait)) => self.rows.put(number, row, Some(wait)),
            Ok(StepStatus::Done | StepStatus::Skipped) => self.row_done(cx, number, row),
            Err(StepExit::Error(error)) if !error.ends_execution && !stops => {
                // The row is emitted without the rows of the failed sub-steps.
                let path = format!("{}[{number}]", self.output.location().path);
                cx.abandon(number);
                failed_row::tolerate(cx, *error, &path, row.steps.env().enclosing.as_ref());
                row.steps.hold_unfinished(cx, &path);
                self.row_done(cx, number, row);
            }
            Err(exit) => {
                // The row goes back, since the checkpoint at the end of the execution still
                // contains it.
                self.rows.put(number, row, None);
                return Err(exit);
            }
        }
        Ok(())
    }

    fn row_done(&mut self, cx: &mut EngineCx<'_>, number: u64, row: RowExecution<S>) {
        let finished = row.finish(&self.node, self.source.is_some());
        self.row_ended(cx, number, finished);
    }

    fn row_ended(&mut self, cx: &mut EngineCx<'_>, number: u64, mut row: FinishedRow) {
        if self.source.is_some() {
            self.output.row_ended(cx, number, &mut row, &self.exchange);
        }
        self.rows.end(number, row);
    }

    /// Writes the rows that are next in order and have ended, unless the page is held up; returns
    /// whether there were any.
    fn write_ended(&mut self, cx: &mut EngineCx<'_>) -> bool {
        let mut wrote = false;
        while !self.output.is_held_up(cx) && self.write_next(cx) {
            wrote = true;
        }
        wrote
    }

    /// Writes the next row in order, if it has ended; returns whether it had.
    fn write_next(&mut self, cx: &mut EngineCx<'_>) -> bool {
        let Some((number, row)) = self.rows.take_ended() else { return false };
        self.output.write(cx, number, row, &self.exchange);
        true
    }

    fn waiting(&self) -> PageProgress {
        PageProgress::Waiting(self.rows.status())
    }
}
