//! The messages of one page: collects finished rows, and emits them as the step's `emit` mode
//! demands.

use std::time::Duration;

use bytes::Bytes;
use orchid_plan::EmitMode;

use crate::checkpoint::step_state::RowState;
use crate::error::ErrorClass;
use crate::input::CurrentTime;
use crate::message::body::{BodyKind, MessageBody};
use crate::message::chunk::{MessageBatch, MessageTooLarge, PageEnvelope};
use crate::message::envelope::PageLocation;
use crate::message::exchange::HttpExchange;
use crate::page::body_messages::{BodyMessages, BodyTooLarge};
use crate::page::exchange::PageExchange;
use crate::program::node::StepNode;
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
    /// No message can carry it, and the plan ignores that.
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
    /// The messages of a body without rows, while they are emitted.
    body: Option<BodyMessages>,
    /// The first element of the body that no message can carry. The others are emitted before it
    /// fails the step.
    failure: Option<Box<StepExit>>,
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
            batch: MessageBatch::new(body_kind(node), 0),
            body: None,
            failure: None,
            since: None,
        }
    }

    /// Continues a page of which an earlier attempt has emitted `chunk` messages.
    pub(crate) fn resume_at(&mut self, node: &StepNode, chunk: u32) {
        self.batch = MessageBatch::new(body_kind(node), chunk);
    }

    /// Returns the location of the page.
    pub(crate) fn location(&self) -> &StepLocation {
        &self.location
    }

    /// Returns the number of the next chunk.
    pub(crate) fn next_chunk(&self) -> u32 {
        self.batch.next_chunk()
    }

    /// Returns whether the page has to wait until messages are acknowledged before it emits more.
    pub(crate) fn is_held_up(&self, cx: &EngineCx<'_>) -> bool {
        self.emit != EmitMode::None && cx.acks.is_full()
    }

    /// Emits a row that has ended, in any order, if the step emits each row by itself.
    ///
    /// # Errors
    /// Fails if no message can carry the row, unless the plan ignores that.
    pub(crate) fn emit_record(
        &self,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        number: u64,
        row: &mut FinishedRow,
        exchange: &PageExchange,
    ) -> Result<(), StepExit> {
        if self.emit != EmitMode::Record || row.is_emitted {
            return Ok(());
        }
        row.is_emitted = true;
        let location = self.row_location(number);
        let envelope = self.envelope(cx.run, cx.now, &node.path, &location.path, b"");
        match envelope.record_message(&row.emitted) {
            Ok(message) => {
                cx.emit(&location, message);
                Ok(())
            }
            Err(MessageTooLarge { size }) => {
                let part = OversizedPart { element: Some((Element::Row(number), &row.emitted)), size };
                report_too_large(cx, node, location, part, exchange)
            }
        }
    }

    /// Adds the next row in order.
    ///
    /// # Errors
    /// Fails if no message can carry the row, unless the plan ignores that.
    pub(crate) fn add(
        &mut self,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        number: u64,
        row: &Bytes,
        exchange: &PageExchange,
    ) -> Result<AddedRow, StepExit> {
        if self.emit != EmitMode::Page {
            return Ok(AddedRow::Settled);
        }
        // The batch measures the row within its message, so it needs the envelope too.
        let (batch, envelope) = self.split(cx.run, cx.now, &node.path);
        match batch.push(&envelope, row) {
            Ok(Some(message)) => {
                // The message holds the rows before this one, which starts the next batch.
                self.since = Some(cx.now.monotonic);
                cx.emit(&self.location, message);
                Ok(AddedRow::WaitingAlone)
            }
            Ok(None) => {
                self.since.get_or_insert(cx.now.monotonic);
                Ok(AddedRow::Waiting)
            }
            Err(MessageTooLarge { size }) => {
                let part = OversizedPart { element: Some((Element::Row(number), row)), size };
                report_too_large(cx, node, self.row_location(number), part, exchange)?;
                // An ignored row is settled together with the rows before it: settling it earlier
                // would let a checkpoint skip rows whose message was not emitted.
                Ok(AddedRow::LeftOut)
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
        let mut body =
            self.body.take().unwrap_or_else(|| BodyMessages::new(exchange.response.body.to_message_body()));
        while !self.is_held_up(cx) {
            let envelope = self.envelope(cx.run, cx.now, &node.path, &self.location.path, steps);
            match body.next(&envelope) {
                Ok(Some(message)) => cx.emit(&self.location, message),
                Ok(None) => return self.failure.take().map_or(Ok(true), |failure| Err(*failure)),
                Err(BodyTooLarge { element, size }) => {
                    let element = element.as_ref().map(|(number, text)| (Element::OfArray(*number), text));
                    let part = OversizedPart { element, size };
                    let reported = report_too_large(cx, node, self.location.clone(), part, exchange);
                    if let Err(exit) = reported {
                        self.failure.get_or_insert_with(|| Box::new(exit));
                    }
                }
            }
        }
        self.body = Some(body);
        Ok(false)
    }

    fn row_location(&self, number: u64) -> StepLocation {
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
        max_bytes: run.limits.message_max_bytes,
    }
}

/// A row or an element that no message can carry, or the whole body of a page without rows.
struct OversizedPart<'a> {
    element: Option<(Element, &'a Bytes)>,
    /// Size in bytes of the message that it would make.
    size: usize,
}

/// A part of a page by its number.
#[derive(Clone, Copy)]
enum Element {
    Row(u64),
    OfArray(u64),
}

/// Reports something that no message can carry: as an ignored error if `ignore_on` lists the code,
/// else as a failure.
fn report_too_large(
    cx: &mut EngineCx<'_>,
    node: &StepNode,
    location: StepLocation,
    part: OversizedPart<'_>,
    exchange: &PageExchange,
) -> Result<(), StepExit> {
    let (subject, body) = match part.element {
        Some((Element::Row(number), row)) => (format!("row {number}"), MessageBody::rows(vec![row.clone()])),
        Some((Element::OfArray(number), element)) => {
            (format!("element {number}"), MessageBody::listed(BodyKind::Array, vec![element.clone()]))
        }
        None => ("the body".to_owned(), exchange.response.body.to_message_body()),
    };
    let (size, max) = (part.size, cx.run.limits.message_max_bytes);
    let detail = ErrorDetail {
        class: ErrorClass::Limit,
        code: TOO_LARGE,
        pointer: node.step.pointer.clone(),
        message: format!("{subject} would make a message of {size} bytes, more than {max}"),
    };
    let context = ErrorContext {
        sent: Some(&exchange.sent.facts),
        response: Some(&exchange.response.facts),
        body: Some(body),
    };
    let error = StepError::new(&cx.run.redactor, location, detail, context);
    if !node.step.outcome.ignore_on.iter().any(|matcher| matcher.matches(None, Some(TOO_LARGE))) {
        return Err(error.into());
    }
    cx.run.left_out();
    cx.emit_error(error, true);
    Ok(())
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
