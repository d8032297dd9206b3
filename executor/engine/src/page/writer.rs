//! From what a pass yielded to messages on their way.

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
use crate::program::node::StepNode;
use crate::state::context::ContextChanges;
use crate::state::cursor_store::CursorValues;
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::execution::ExecutionState;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::location::StepLocation;
use crate::step::execution::InFlightTry;
use crate::step::response::TryResponse;

/// The code of what no message can carry.
const TOO_LARGE: &str = "MESSAGE_TOO_LARGE";
/// A page whose rows take longer than this leaves in chunks: as long as a checkpoint waits.
const CHUNK_AFTER: Duration = Duration::from_secs(2);

/// What a row leaves when it has ended.
pub(crate) struct FinishedRow {
    /// As it came.
    pub(crate) raw: Bytes,
    /// As it is emitted, with what its sub-steps left.
    pub(crate) shown: Bytes,
    pub(crate) writes: ContextChanges,
    pub(crate) cursors: CursorValues,
    /// Where a checkpoint had it: a run that is handed back before it is settled goes on from there again.
    pub(crate) began_at: Option<Box<RowState>>,
}

impl FinishedRow {
    /// A row without sub-steps.
    pub(crate) fn plain(row: Bytes) -> FinishedRow {
        let (writes, cursors) = (ContextChanges::new(), CursorValues::new());
        FinishedRow { shown: row.clone(), raw: row, writes, cursors, began_at: None }
    }
}

/// The messages of one page, as its rows end.
pub(crate) struct PageWriter {
    emit: EmitMode,
    location: StepLocation,
    exchange: Option<HttpExchange>,
    /// JSON.
    extracted: Vec<u8>,
    batch: MessageBatch,
    /// Rows that are not settled yet, in order, and whether each is to be in the next message: one that was left out is not.
    waiting: VecDeque<(FinishedRow, bool)>,
    /// Since when.
    since: Option<Duration>,
}

/// Rows whose place is settled: a run that goes on here repeats none of them.
pub(crate) type Settled = Vec<FinishedRow>;

impl PageWriter {
    /// A page of which `chunk` messages were emitted before.
    pub(crate) fn new(
        run: &ExecutionState,
        node: &StepNode,
        location: StepLocation,
        made: Made<'_>,
        kind: BodyKind,
        chunk: u32,
    ) -> PageWriter {
        let emit = node.step.emit;
        let exchange = || HttpExchange::new(&made.sent.facts, &made.answer.facts, &run.redactor);
        PageWriter {
            emit,
            location,
            exchange: (emit != EmitMode::None).then(exchange),
            extracted: made.extracted,
            batch: MessageBatch::new(kind, chunk),
            waiting: VecDeque::new(),
            since: None,
        }
    }

    pub(crate) fn chunk(&self) -> u32 {
        self.batch.next_chunk()
    }

    /// Rows that are taken and not settled, in order.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &FinishedRow> {
        self.waiting.iter().map(|(row, _)| row)
    }

    /// A row that has ended, in whatever order: `record` lets it go at once.
    pub(crate) fn row_ended(
        &self,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        number: u64,
        row: &Bytes,
        about: &Made<'_>,
    ) -> Result<(), StepExit> {
        if self.emit != EmitMode::Record {
            return Ok(());
        }
        let location =
            StepLocation { path: format!("{}[{number}]", self.location.path), ..self.location.clone() };
        let made = self.page(cx.run, cx.now, &node.path, &location.path, b"").record_message(row);
        match made {
            Ok(message) => {
                cx.emit(&location, message);
                Ok(())
            }
            Err(MessageTooLarge { size, .. }) => {
                too_large(cx, node, location, OversizedPart { row: Some((number, row)), size }, about)
            }
        }
    }

    /// The next row in order. Answers the rows that are settled by it.
    pub(crate) fn take(
        &mut self,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        number: u64,
        end: FinishedRow,
        about: &Made<'_>,
    ) -> Result<Settled, StepExit> {
        if self.emit != EmitMode::Page {
            return Ok(vec![end]);
        }
        let (batch, page) = self.split(cx.run, cx.now, &node.path);
        let pushed = batch.push(&page, end.shown.clone());
        match pushed {
            Ok(left) => {
                self.since.get_or_insert(cx.now.monotonic);
                let mut settled = Settled::new();
                if let Some(message) = left {
                    settled = self.settle_all();
                    self.since = Some(cx.now.monotonic);
                    cx.emit(&self.location, message);
                }
                self.waiting.push_back((end, true));
                Ok(settled)
            }
            Err(MessageTooLarge { size, .. }) => {
                let location = StepLocation {
                    path: format!("{}[{number}]", self.location.path),
                    ..self.location.clone()
                };
                too_large(
                    cx,
                    node,
                    location,
                    OversizedPart { row: Some((number, &end.shown)), size },
                    about,
                )?;
                // It settles with the rows before it.
                self.waiting.push_back((end, false));
                Ok(Settled::new())
            }
        }
    }

    /// Lets the rows go that have waited for long; the newest stays, so that the last message is not empty.
    pub(crate) fn leave_late(&mut self, cx: &mut EngineCx<'_>, node: &StepNode) -> Settled {
        let late = self.since.is_some_and(|since| cx.now.monotonic.saturating_sub(since) >= CHUNK_AFTER);
        if !late || self.batch.len() < 2 {
            return Settled::new();
        }
        let (batch, page) = self.split(cx.run, cx.now, &node.path);
        let Some(message) = batch.flush_all_but_newest(&page) else { return Settled::new() };
        cx.emit(&self.location, message);
        self.since = Some(cx.now.monotonic);
        // The newest row of the message, and what was left out after it.
        let kept = self.waiting.iter().rposition(|(_, in_message)| *in_message).unwrap_or_default();
        let kept = self.waiting.split_off(kept);
        let settled = self.settle_all();
        self.waiting = kept;
        settled
    }

    fn settle_all(&mut self) -> Settled {
        self.waiting.drain(..).map(|(row, _)| row).collect()
    }

    /// Lets all rows go, before the run is handed back in the middle of the page.
    pub(crate) fn leave_all(&mut self, cx: &mut EngineCx<'_>, node: &StepNode) -> Settled {
        let (batch, page) = self.split(cx.run, cx.now, &node.path);
        if let Some(message) = batch.flush(&page, false) {
            cx.emit(&self.location, message);
        }
        self.since = None;
        self.settle_all()
    }

    /// The page's end. Answers the rows that are settled by it.
    pub(crate) fn end(&mut self, cx: &mut EngineCx<'_>, node: &StepNode) -> Settled {
        if self.emit == EmitMode::Page {
            let (batch, page) = self.split(cx.run, cx.now, &node.path);
            if let Some(message) = batch.flush(&page, true) {
                cx.emit(&self.location, message);
            }
        }
        self.settle_all()
    }

    /// The body as it is, in one message; an array in as many as it takes. `steps`: what sub-steps left.
    pub(crate) fn whole(
        &self,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        steps: &[u8],
        about: &Made<'_>,
    ) -> Result<(), StepExit> {
        if self.emit == EmitMode::None {
            return Ok(());
        }
        let body = about.answer.body.to_message_body();
        let cut = self.page(cx.run, cx.now, &node.path, &self.location.path, steps).body_messages(&body);
        match cut {
            Ok(messages) => {
                messages.into_iter().for_each(|message| cx.emit(&self.location, message));
                Ok(())
            }
            Err(MessageTooLarge { size, .. }) => {
                too_large(cx, node, self.location.clone(), OversizedPart { row: None, size }, about)
            }
        }
    }

    fn page<'a>(
        &'a self,
        run: &'a ExecutionState,
        now: CurrentTime,
        step: &'a str,
        path: &'a str,
        steps: &'a [u8],
    ) -> PageEnvelope<'a> {
        page(
            run,
            now,
            MessageParts {
                step,
                path,
                page: self.location.page,
                exchange: self.exchange.as_ref(),
                extracted: &self.extracted,
                steps,
            },
        )
    }

    fn split<'a>(
        &'a mut self,
        run: &'a ExecutionState,
        now: CurrentTime,
        step: &'a str,
    ) -> (&'a mut MessageBatch, PageEnvelope<'a>) {
        let parts = MessageParts {
            step,
            path: &self.location.path,
            page: self.location.page,
            exchange: self.exchange.as_ref(),
            extracted: &self.extracted,
            steps: b"",
        };
        (&mut self.batch, page(run, now, parts))
    }
}

/// What a page was made of.
pub(crate) struct Made<'a> {
    pub(crate) sent: &'a InFlightTry,
    pub(crate) answer: &'a TryResponse,
    /// JSON.
    pub(crate) extracted: Vec<u8>,
}

struct MessageParts<'a> {
    step: &'a str,
    path: &'a str,
    page: u64,
    exchange: Option<&'a HttpExchange>,
    extracted: &'a [u8],
    steps: &'a [u8],
}

fn page<'a>(run: &'a ExecutionState, now: CurrentTime, parts: MessageParts<'a>) -> PageEnvelope<'a> {
    PageEnvelope {
        origin: &run.origin,
        location: PageLocation { step: parts.step, step_path: parts.path, page: parts.page, time: now.wall },
        exchange: parts.exchange.unwrap_or(&run.no_exchange),
        extracted: parts.extracted,
        steps: parts.steps,
        max_bytes: run.limits.message_max_bytes,
    }
}

/// What no message can carry: a row, or the whole body where it has none.
struct OversizedPart<'a> {
    row: Option<(u64, &'a Bytes)>,
    /// Bytes of the message that it would make.
    size: usize,
}

/// An error, ignored where `ignore_on` names its code.
fn too_large(
    cx: &mut EngineCx<'_>,
    node: &StepNode,
    location: StepLocation,
    large: OversizedPart<'_>,
    about: &Made<'_>,
) -> Result<(), StepExit> {
    let (subject, body) = match large.row {
        Some((number, row)) => (format!("row {number}"), MessageBody::rows(vec![row.clone()])),
        None => ("the body".to_owned(), about.answer.body.to_message_body()),
    };
    let (size, max) = (large.size, cx.run.limits.message_max_bytes);
    let what = ErrorDetail {
        class: ErrorClass::Limit,
        code: TOO_LARGE,
        pointer: node.step.pointer.clone(),
        message: format!("{subject} would make a message of {size} bytes, more than {max}"),
    };
    let about =
        ErrorContext { sent: Some(&about.sent.facts), response: Some(&about.answer.facts), body: Some(body) };
    let fault = StepError::new(&cx.run.redactor, location, what, about);
    if !node.step.outcome.ignore_on.iter().any(|matcher| matcher.matches(None, Some(TOO_LARGE))) {
        return Err(fault.into());
    }
    cx.run.left_out();
    cx.emit_error(fault, true);
    Ok(())
}

/// A message that the broker refused, as a fault of the step that it came from.
pub(crate) fn refused(run: &ExecutionState, location: StepLocation, size: usize) -> StepError {
    let what = ErrorDetail {
        class: ErrorClass::Limit,
        code: TOO_LARGE,
        pointer: run.program.nodes[location.node].step.pointer.clone(),
        message: format!("the broker refused a message of {size} bytes"),
    };
    StepError::new(&run.redactor, location, what, ErrorContext::default())
}
