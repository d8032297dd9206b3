//! The messages of one page: collects finished rows, and emits them as the step's `emit` mode
//! demands.

use std::collections::VecDeque;
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
}

impl FinishedRow {
    /// Creates the result of a row without sub-steps.
    pub(crate) fn plain(row: Bytes) -> Self {
        let (writes, cursors) = (ContextChanges::new(), CursorValues::new());
        Self { emitted: row.clone(), raw: row, writes, cursors, resumed_from: None }
    }
}

/// A finished row that is not settled: its message has not been emitted.
struct WaitingRow {
    row: FinishedRow,
    /// False for a row that no message could carry, and that the plan ignores.
    in_batch: bool,
}

/// The messages of one page.
pub(crate) struct PageWriter {
    emit: EmitMode,
    location: StepLocation,
    exchange: Option<HttpExchange>,
    /// The page's `extracted_data`, as JSON.
    extracted: Vec<u8>,
    batch: MessageBatch,
    /// Rows that are not settled yet, in order.
    waiting: VecDeque<WaitingRow>,
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
            waiting: VecDeque::new(),
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

    /// Iterates over the rows that were added and are not settled, in order.
    pub(crate) fn unsettled(&self) -> impl Iterator<Item = &FinishedRow> {
        self.waiting.iter().map(|waiting| &waiting.row)
    }

    /// Takes note of a row that has ended, in any order: `emit: record` emits it at once.
    ///
    /// # Errors
    /// Fails if no message can carry the row, unless the plan ignores that.
    pub(crate) fn row_ended(
        &self,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        number: u64,
        row: &Bytes,
        exchange: &PageExchange,
    ) -> Result<(), StepExit> {
        if self.emit != EmitMode::Record {
            return Ok(());
        }
        let location = self.row_location(number);
        let message = self.envelope(cx.run, cx.now, &node.path, &location.path, b"").record_message(row);
        match message {
            Ok(message) => {
                cx.emit(&location, message);
                Ok(())
            }
            Err(MessageTooLarge { size, .. }) => report_too_large(
                cx,
                node,
                location,
                OversizedPart { row: Some((number, row)), size },
                exchange,
            ),
        }
    }

    /// Adds the next row in order. Returns the rows that are settled by it.
    ///
    /// # Errors
    /// Fails if no message can carry the row, unless the plan ignores that.
    pub(crate) fn add(
        &mut self,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        number: u64,
        row: FinishedRow,
        exchange: &PageExchange,
    ) -> Result<Vec<FinishedRow>, StepExit> {
        if self.emit != EmitMode::Page {
            return Ok(vec![row]);
        }
        // The batch measures the row within its message, so it needs the envelope too.
        let (batch, envelope) = self.split(cx.run, cx.now, &node.path);
        let pushed = batch.push(&envelope, row.emitted.clone());
        match pushed {
            Ok(full) => {
                self.since.get_or_insert(cx.now.monotonic);
                let mut settled = Vec::new();
                if let Some(message) = full {
                    // The message holds the rows before this one, which starts the next batch.
                    settled = self.settle_all();
                    self.since = Some(cx.now.monotonic);
                    cx.emit(&self.location, message);
                }
                self.waiting.push_back(WaitingRow { row, in_batch: true });
                Ok(settled)
            }
            Err(MessageTooLarge { size, .. }) => {
                let part = OversizedPart { row: Some((number, &row.emitted)), size };
                report_too_large(cx, node, self.row_location(number), part, exchange)?;
                // An ignored row is settled together with the rows before it: settling it earlier
                // would let a checkpoint skip rows whose message was not emitted.
                self.waiting.push_back(WaitingRow { row, in_batch: false });
                Ok(Vec::new())
            }
        }
    }

    /// Emits rows that have waited for [`CHUNK_AFTER`]. Returns the rows that are settled by it.
    pub(crate) fn emit_overdue(&mut self, cx: &mut EngineCx<'_>, node: &StepNode) -> Vec<FinishedRow> {
        let overdue = self.since.is_some_and(|since| cx.now.monotonic.saturating_sub(since) >= CHUNK_AFTER);
        // The newest row stays for the page's last message, which must not be empty.
        if !overdue || self.batch.len() < 2 {
            return Vec::new();
        }
        let (batch, envelope) = self.split(cx.run, cx.now, &node.path);
        let Some(message) = batch.flush_all_but_newest(&envelope) else { return Vec::new() };
        cx.emit(&self.location, message);
        self.since = Some(cx.now.monotonic);
        // The newest row of the batch stays, with the ignored rows after it.
        let kept = self.waiting.iter().rposition(|waiting| waiting.in_batch).unwrap_or_default();
        let kept = self.waiting.split_off(kept);
        let settled = self.settle_all();
        self.waiting = kept;
        settled
    }

    /// Emits all rows added so far, because the execution is handed back in the middle of the page.
    pub(crate) fn emit_all(&mut self, cx: &mut EngineCx<'_>, node: &StepNode) -> Vec<FinishedRow> {
        let (batch, envelope) = self.split(cx.run, cx.now, &node.path);
        if let Some(message) = batch.flush(&envelope, false) {
            cx.emit(&self.location, message);
        }
        // The rest of the page starts its own interval.
        self.since = None;
        self.settle_all()
    }

    /// Emits the last message of the page's rows. Returns the rows that are settled by it.
    pub(crate) fn end(&mut self, cx: &mut EngineCx<'_>, node: &StepNode) -> Vec<FinishedRow> {
        // `record` has emitted each row by itself, and `none` emits nothing.
        if self.emit == EmitMode::Page {
            let (batch, envelope) = self.split(cx.run, cx.now, &node.path);
            if let Some(message) = batch.flush(&envelope, true) {
                cx.emit(&self.location, message);
            }
        }
        self.settle_all()
    }

    /// Emits the body of a page without rows: in one message, or an array in as many as it takes.
    /// `steps` holds the rows of the sub-steps.
    ///
    /// # Errors
    /// Fails if no message can carry the body or one of its elements, unless the plan ignores that.
    pub(crate) fn emit_body(
        &self,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        steps: &[u8],
        exchange: &PageExchange,
    ) -> Result<(), StepExit> {
        if self.emit == EmitMode::None {
            return Ok(());
        }
        let body = exchange.response.body.to_message_body();
        let envelope = self.envelope(cx.run, cx.now, &node.path, &self.location.path, steps);
        match envelope.body_messages(&body) {
            Ok(messages) => {
                messages.into_iter().for_each(|message| cx.emit(&self.location, message));
                Ok(())
            }
            Err(MessageTooLarge { size, .. }) => {
                let part = OversizedPart { row: None, size };
                report_too_large(cx, node, self.location.clone(), part, exchange)
            }
        }
    }

    fn settle_all(&mut self) -> Vec<FinishedRow> {
        self.waiting.drain(..).map(|waiting| waiting.row).collect()
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

/// A row that no message can carry, or the whole body of a page without rows.
struct OversizedPart<'a> {
    row: Option<(u64, &'a Bytes)>,
    /// Size in bytes of the message that it would make.
    size: usize,
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
    let (subject, body) = match part.row {
        Some((number, row)) => (format!("row {number}"), MessageBody::rows(vec![row.clone()])),
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
