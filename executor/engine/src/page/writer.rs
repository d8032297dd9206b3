//! The messages of one page: collects finished rows, and emits them as the step's `emit` mode
//! demands.

use std::time::Duration;

use bytes::Bytes;
use orchid_plan::EmitMode;

use crate::checkpoint::step_state::{OversizedState, RowState, RowsState};
use crate::error::ErrorClass;
use crate::input::CurrentTime;
use crate::message::body::{BodyKind, MessageBody};
use crate::message::chunk::{MessageBatch, MessageTooLarge, PageEnvelope};
use crate::message::envelope::PageLocation;
use crate::message::exchange::HttpExchange;
use crate::page::body_messages::{BodyMessages, BodyTooLarge};
use crate::page::exchange::PageExchange;
use crate::program::node::StepNode;
use crate::state::buffer_meter::MeteredBuffer;
use crate::state::context::ContextChanges;
use crate::state::cursor_store::CursorValues;
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::execution::ExecutionState;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::location::StepLocation;

/// Code of the error for something that no message can carry.
pub(crate) const TOO_LARGE: &str = "MESSAGE_TOO_LARGE";
/// Longest time that finished rows wait for a fuller message: the interval of checkpoints. A row
/// that waited longer would hold back the checkpoint.
const CHUNK_AFTER: Duration = Duration::from_secs(2);

/// A row whose sub-steps have ended.
pub(crate) struct FinishedRow {
    /// The row as it was received.
    pub(crate) raw: Bytes,
    /// The row as it is emitted, with the rows of its sub-steps.
    pub(crate) emitted: Bytes,
    pub(crate) writes: ContextChanges,
    pub(crate) cursors: CursorValues,
    /// The state in which a checkpoint had the row. If the execution is handed back before the row
    /// is settled, a later attempt resumes from this state again.
    pub(crate) resumed_from: Option<Box<RowState>>,
    /// True if `emit: record` has emitted the row.
    pub(crate) is_emitted: bool,
}

impl FinishedRow {
    /// Creates the result of a row without sub-steps.
    pub(crate) fn plain(row: Bytes) -> Self {
        let (writes, cursors) = (ContextChanges::new(), CursorValues::new());
        Self { emitted: row.clone(), raw: row, writes, cursors, resumed_from: None, is_emitted: false }
    }
}

/// Fate of a row that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddedRow {
    /// It is settled, and so are all rows before it.
    Settled,
    /// It waits for a fuller message.
    Waiting,
    /// It waits for a fuller message; the rows before it are settled.
    WaitingAlone,
    /// No message can carry it; the rows before it wait for a fuller message.
    LeftOut,
}

/// The messages of one page.
pub(crate) struct PageWriter {
    emit: EmitMode,
    location: StepLocation,
    exchange: Option<HttpExchange>,
    /// The page's `extracted_data`, as JSON.
    extracted: Vec<u8>,
    batch: MessageBatch,
    /// Counts `batch`.
    metered: MeteredBuffer,
    /// The messages of a body without rows, while they are emitted.
    body: Option<BodyMessages>,
    /// The first row or element that no message can carry, unless the plan ignores that. The others
    /// are emitted before it fails the step.
    oversized: Option<OversizedState>,
    /// When the oldest row of the batch was added.
    since: Option<Duration>,
}

impl PageWriter {
    /// Creates the writer of a page.
    pub(crate) fn new(
        run: &ExecutionState,
        node: &StepNode,
        location: StepLocation,
        exchange: &PageExchange,
        extracted: Vec<u8>,
    ) -> Self {
        let emit = node.step.emit;
        let http = || HttpExchange::new(&exchange.sent.facts, &exchange.response.facts, &run.redactor);
        Self {
            emit,
            location,
            // Redacting the exchange is work: a step that emits nothing does without.
            exchange: (emit != EmitMode::None).then(http),
            extracted,
            batch: MessageBatch::new(body_kind(node), exchange.response.body.json_text().cloned()),
            metered: run.buffers.buffer(),
            body: None,
            oversized: None,
            since: None,
        }
    }

    /// Continues a page of which an earlier attempt has emitted messages.
    pub(crate) fn resume_at(&mut self, node: &StepNode, state: &RowsState) {
        self.batch = self.batch.resumed(body_kind(node), state.chunk);
        // A row that is not settled comes again, and is measured again.
        self.oversized = state.oversized.filter(|oversized| oversized.row < state.done);
    }

    /// Returns the location of the page.
    pub(crate) fn location(&self) -> &StepLocation {
        &self.location
    }

    /// Returns the bytes that each message has room for.
    pub(crate) fn room(&self, cx: &EngineCx<'_>, node: &StepNode) -> usize {
        self.envelope(cx.run, cx.now, &node.path, &self.location.path, b"").room()
    }

    /// Sets what the messages carry: parts of a text or of a file.
    pub(crate) fn set_kind(&mut self, kind: BodyKind) {
        self.batch.set_kind(kind);
    }

    /// Takes the size of a body that was streamed, for the messages that follow.
    pub(crate) fn set_exchange(&mut self, run: &ExecutionState, exchange: &PageExchange) {
        let facts = (&exchange.sent.facts, &exchange.response.facts);
        self.exchange = self.exchange.take().map(|_| HttpExchange::new(facts.0, facts.1, &run.redactor));
    }

    /// Returns whether nothing of the page has been emitted, although its rows were read.
    pub(crate) fn is_silent(&self) -> bool {
        self.emit != EmitMode::Record && self.next_chunk() == 0
    }

    /// Returns the number of the next chunk.
    pub(crate) fn next_chunk(&self) -> u32 {
        self.batch.next_chunk()
    }

    /// Returns the first row that no message can carry, for a checkpoint.
    pub(crate) fn oversized(&self) -> Option<OversizedState> {
        self.oversized
    }

    /// Returns whether the page has to wait until messages are acknowledged before it emits more.
    pub(crate) fn is_held_up(&self, cx: &EngineCx<'_>) -> bool {
        self.emit != EmitMode::None && cx.acks.is_full()
    }

    /// Emits a row that has ended, in any order, if the step emits each row by itself.
    pub(crate) fn emit_record(
        &mut self,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        number: u64,
        row: &mut FinishedRow,
        exchange: &PageExchange,
    ) {
        if self.emit != EmitMode::Record || row.is_emitted {
            return;
        }
        row.is_emitted = true;
        let location = self.row_location(number);
        let envelope = self.envelope(cx.run, cx.now, &node.path, &location.path, b"");
        match envelope.record_message(&row.emitted) {
            Ok(message) => cx.emit(&location, message),
            Err(too_large) => {
                self.leave_out(cx, node, (Element::Row(number), &row.emitted), too_large, exchange);
            }
        }
    }

    /// Adds the next row in order.
    pub(crate) fn add(
        &mut self,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        number: u64,
        row: &Bytes,
        exchange: &PageExchange,
    ) -> AddedRow {
        if self.emit != EmitMode::Page {
            return AddedRow::Settled;
        }
        // The batch measures the row within its message, so it needs the envelope too.
        let (batch, envelope) = self.split(cx.run, cx.now, &node.path);
        match batch.push(&envelope, row) {
            Ok(Some(message)) => {
                // The message holds the rows before this one, which starts the next batch.
                self.since = Some(cx.now.monotonic);
                cx.emit(&self.location, message);
                self.metered.set(self.batch.held_bytes());
                AddedRow::WaitingAlone
            }
            Ok(None) => {
                self.since.get_or_insert(cx.now.monotonic);
                self.metered.set_about(self.batch.held_bytes());
                AddedRow::Waiting
            }
            Err(too_large) => {
                self.leave_out(cx, node, (Element::Row(number), row), too_large, exchange);
                // It is settled together with the rows before it: settling it earlier would let a
                // checkpoint skip rows whose message was not emitted.
                if self.batch.len() == 0 { AddedRow::Settled } else { AddedRow::LeftOut }
            }
        }
    }

    /// Emits rows that have waited for [`CHUNK_AFTER`], except the newest one. Returns whether it
    /// did.
    pub(crate) fn emit_overdue(&mut self, cx: &mut EngineCx<'_>, node: &StepNode) -> bool {
        let overdue = self.since.is_some_and(|since| cx.now.monotonic.saturating_sub(since) >= CHUNK_AFTER);
        // The newest row stays for the page's last message, which must not be empty.
        if !overdue || self.batch.len() < 2 {
            return false;
        }
        let (batch, envelope) = self.split(cx.run, cx.now, &node.path);
        let Some(message) = batch.flush_all_but_newest(&envelope) else { return false };
        cx.emit(&self.location, message);
        self.since = Some(cx.now.monotonic);
        self.metered.set(self.batch.held_bytes());
        true
    }

    /// Emits all rows added so far, because the execution is handed back in the middle of the page.
    pub(crate) fn emit_all(&mut self, cx: &mut EngineCx<'_>, node: &StepNode) {
        let (batch, envelope) = self.split(cx.run, cx.now, &node.path);
        if let Some(message) = batch.flush(&envelope, false) {
            cx.emit(&self.location, message);
        }
        // The rest of the page starts its own interval.
        self.since = None;
        self.metered.set(0);
    }

    /// Emits the last message of the page's rows.
    pub(crate) fn end(&mut self, cx: &mut EngineCx<'_>, node: &StepNode) {
        // `record` has emitted each row by itself, and `none` emits nothing.
        if self.emit == EmitMode::Page {
            let (batch, envelope) = self.split(cx.run, cx.now, &node.path);
            if let Some(message) = batch.flush(&envelope, true) {
                cx.emit(&self.location, message);
            }
        }
    }

    /// Emits the body of a page without rows, in as many messages as it takes. `steps` holds the
    /// rows of the sub-steps. Returns false if it has to wait before the next message.
    ///
    /// # Errors
    /// Fails if no message can carry the body or one of its elements, unless the plan ignores that.
    /// The other elements are emitted before.
    pub(crate) fn emit_body(
        &mut self,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        steps: &[u8],
        exchange: &PageExchange,
    ) -> Result<bool, StepExit> {
        if self.emit == EmitMode::None {
            return Ok(true);
        }
        let mut body = self.body.take().unwrap_or_else(BodyMessages::new);
        while !self.is_held_up(cx) {
            let envelope = self.envelope(cx.run, cx.now, &node.path, &self.location.path, steps);
            match body.next(&envelope, &exchange.response.body) {
                Ok(Some(message)) => cx.emit(&self.location, message),
                Ok(None) => return self.check_oversized(cx.run, node, exchange).map(|()| true),
                Err(BodyTooLarge { element: Some((number, element)), too_large }) => {
                    self.leave_out(cx, node, (Element::OfArray(number), &element), too_large, exchange);
                }
                Err(BodyTooLarge { element: None, too_large }) => {
                    let detail = oversized_detail(cx.run, node, "the body", too_large);
                    let error = exchange.error(&cx.run.redactor, self.location.clone(), detail);
                    if !ignores_oversized(node) {
                        return Err(error.into());
                    }
                    cx.run.left_out();
                    cx.emit_error(error, true);
                }
            }
        }
        self.body = Some(body);
        Ok(false)
    }

    /// Fails if a row or element of the page was left out, and the plan does not ignore that.
    ///
    /// # Errors
    /// See above. The message of the error was emitted when the row was left out.
    pub(crate) fn check_oversized(
        &self,
        run: &ExecutionState,
        node: &StepNode,
        exchange: &PageExchange,
    ) -> Result<(), StepExit> {
        let Some(OversizedState { row, size }) = self.oversized else { return Ok(()) };
        let element = if node.step.rows.is_some() { Element::Row(row) } else { Element::OfArray(row) };
        let detail = oversized_detail(run, node, &element.to_string(), MessageTooLarge { size });
        let error = exchange.error(&run.redactor, self.row_location(row), detail);
        Err(StepError { is_reported: true, ..error }.into())
    }

    /// Leaves out a row or element that no message can carry, and reports it. Only this one is
    /// lost: the others are emitted, whether the plan ignores the error or the step fails in the
    /// end.
    fn leave_out(
        &mut self,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        (element, text): (Element, &Bytes),
        too_large: MessageTooLarge,
        exchange: &PageExchange,
    ) {
        let (Element::Row(number) | Element::OfArray(number)) = element;
        let is_ignored = ignores_oversized(node);
        if is_ignored {
            cx.run.left_out();
        } else {
            self.oversized.get_or_insert(OversizedState { row: number, size: too_large.size });
        }
        let detail = oversized_detail(cx.run, node, &element.to_string(), too_large);
        let kind = match element {
            Element::Row(_) => BodyKind::Rows,
            Element::OfArray(_) => BodyKind::Array,
        };
        // The error shows this element, not the whole body around it.
        let context = ErrorContext {
            sent: Some(&exchange.sent.facts),
            response: Some(&exchange.response.facts),
            body: Some(MessageBody::listed(kind, vec![text.clone()])),
        };
        let error = StepError::new(&cx.run.redactor, self.row_location(number), detail, context);
        cx.emit_error(error, is_ignored);
    }

    /// Returns the location of a row of the page.
    pub(crate) fn row_location(&self, number: u64) -> StepLocation {
        StepLocation { path: format!("{}[{number}]", self.location.path), ..self.location.clone() }
    }

    fn envelope<'a>(
        &'a self,
        run: &'a ExecutionState,
        now: CurrentTime,
        step: &'a str,
        step_path: &'a str,
        steps: &'a [u8],
    ) -> PageEnvelope<'a> {
        let location = PageLocation { step, step_path, page: self.location.page, time: now.wall };
        envelope(run, location, self.exchange.as_ref(), &self.extracted, steps)
    }

    /// Borrows the batch together with the envelope of its messages.
    fn split<'a>(
        &'a mut self,
        run: &'a ExecutionState,
        now: CurrentTime,
        step: &'a str,
    ) -> (&'a mut MessageBatch, PageEnvelope<'a>) {
        let location =
            PageLocation { step, step_path: &self.location.path, page: self.location.page, time: now.wall };
        (&mut self.batch, envelope(run, location, self.exchange.as_ref(), &self.extracted, b""))
    }
}

fn body_kind(node: &StepNode) -> BodyKind {
    if node.step.rows.is_some() { BodyKind::Rows } else { BodyKind::Array }
}

fn envelope<'a>(
    run: &'a ExecutionState,
    location: PageLocation<'a>,
    exchange: Option<&'a HttpExchange>,
    extracted: &'a [u8],
    steps: &'a [u8],
) -> PageEnvelope<'a> {
    PageEnvelope {
        origin: &run.origin,
        location,
        exchange: exchange.unwrap_or(&run.no_exchange),
        extracted,
        steps,
        limits: &run.message_limits,
    }
}

/// A part of a page by its number.
#[derive(Clone, Copy)]
enum Element {
    Row(u64),
    OfArray(u64),
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Row(number) => write!(f, "row {number}"),
            Self::OfArray(number) => write!(f, "element {number}"),
        }
    }
}

/// Describes something that no message can carry.
fn oversized_detail(
    run: &ExecutionState,
    node: &StepNode,
    subject: &str,
    MessageTooLarge { size }: MessageTooLarge,
) -> ErrorDetail {
    let max = run.message_limits.max_bytes;
    let message = if size > max {
        format!("{subject} would make a message of {size} bytes, more than {max}")
    } else {
        format!("the broker refuses {subject}, a message of {size} bytes")
    };
    let (class, pointer) = (ErrorClass::Limit, node.step.pointer.clone());
    ErrorDetail { class, code: TOO_LARGE, pointer, message }
}

fn ignores_oversized(node: &StepNode) -> bool {
    node.step.outcome.ignore_on.iter().any(|matcher| matcher.matches(None, Some(TOO_LARGE)))
}

/// Creates the error of a message that the broker refused.
pub(crate) fn refused_message(run: &ExecutionState, location: StepLocation, size: usize) -> StepError {
    let detail = ErrorDetail {
        class: ErrorClass::Limit,
        code: TOO_LARGE,
        pointer: run.program.nodes[location.node].step.pointer.clone(),
        message: format!("the broker refused a message of {size} bytes"),
    };
    StepError::new(&run.redactor, location, detail, ErrorContext::default())
}
