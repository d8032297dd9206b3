//! From what a pass yielded to messages on their way.

use bytes::Bytes;
use orchid_plan::Emit;

use super::Machine;
use super::answer::Answer;
use super::halt::{About, Fault, Halt, What};
use super::ledger::Sender;
use super::step_run::{Sent, StepRun};
use crate::error::ErrorClass;
use crate::input::Now;
use crate::message::body::MessageBody;
use crate::message::chunk::{Page, TooLarge};
use crate::message::envelope::{self, At, ErrorFacts};
use crate::message::exchange::Exchange;
use crate::message::{Message, Topic};
use crate::output::Output;

/// The code of what no message can carry.
const TOO_LARGE: &str = "MESSAGE_TOO_LARGE";

/// What a pass yielded.
pub(super) struct Yield<'a> {
    pub(super) now: Now,
    pub(super) step: &'a StepRun,
    pub(super) sent: &'a Sent,
    pub(super) answer: &'a Answer,
    /// Rows as JSON text; none without `iterate_over`.
    pub(super) rows: Option<&'a [Bytes]>,
    /// JSON.
    pub(super) extracted: &'a [u8],
}

/// What no message can carry: a row, or the whole body where it has none.
struct Oversized<'a> {
    row: Option<(usize, &'a Bytes)>,
    /// Bytes of the message that it would make.
    size: usize,
}

impl Machine {
    /// Emits a page as the step says: one message, one a row, or none.
    pub(super) fn emit_page(&mut self, page: &Yield<'_>, out: &mut Vec<Output>) -> Result<(), Halt> {
        let exchange = || Exchange::new(&page.sent.facts, &page.answer.facts, &self.run.redactor);
        match (page.step.step().emit, page.rows) {
            (Emit::None, _) => Ok(()),
            (Emit::Page, Some(rows)) => self.emit_rows(page, &exchange(), rows, out),
            (Emit::Record, Some(rows)) => self.emit_records(page, &exchange(), rows, out),
            (Emit::Page | Emit::Record, None) => self.emit_whole(page, &exchange(), out),
        }
    }

    /// The body as it is, in one message; an array in as many as it takes.
    fn emit_whole(
        &mut self,
        page: &Yield<'_>,
        exchange: &Exchange,
        out: &mut Vec<Output>,
    ) -> Result<(), Halt> {
        let path = page.step.path();
        let cut = self.cutter(page, &path, exchange).whole(&page.answer.body.message());
        match cut {
            Ok(messages) => {
                messages.into_iter().for_each(|message| self.emit(page.step, message, out));
                Ok(())
            }
            Err(TooLarge { size, .. }) => self.too_large(page, &Oversized { row: None, size }, out),
        }
    }

    fn emit_records(
        &mut self,
        page: &Yield<'_>,
        exchange: &Exchange,
        rows: &[Bytes],
        out: &mut Vec<Output>,
    ) -> Result<(), Halt> {
        for (index, row) in rows.iter().enumerate() {
            let path = format!("{}[{index}]", page.step.path());
            let cut = self.cutter(page, &path, exchange).record(row);
            match cut {
                Ok(message) => self.emit(page.step, message, out),
                Err(TooLarge { size, .. }) => {
                    self.too_large(page, &Oversized { row: Some((index, row)), size }, out)?;
                }
            }
        }
        Ok(())
    }

    /// One message for the rows, or as many chunks as it takes. Rows too large alone are left out where the plan says so.
    fn emit_rows(
        &mut self,
        page: &Yield<'_>,
        exchange: &Exchange,
        rows: &[Bytes],
        out: &mut Vec<Output>,
    ) -> Result<(), Halt> {
        let path = page.step.path();
        let mut left: Vec<Bytes> = rows.to_vec();
        let mut numbers: Vec<usize> = (0..rows.len()).collect();
        loop {
            let cut = self.cutter(page, &path, exchange).rows(&left);
            match cut {
                Ok(messages) => {
                    messages.into_iter().for_each(|message| self.emit(page.step, message, out));
                    return Ok(());
                }
                Err(TooLarge { row, size }) => {
                    let place = row.unwrap_or_default();
                    let (number, row) = (numbers.remove(place), left.remove(place));
                    self.too_large(page, &Oversized { row: Some((number, &row)), size }, out)?;
                }
            }
        }
    }

    /// An error, ignored where `ignore_on` names its code.
    fn too_large(
        &mut self,
        page: &Yield<'_>,
        large: &Oversized<'_>,
        out: &mut Vec<Output>,
    ) -> Result<(), Halt> {
        let step = page.step;
        let (path, subject, body) = match large.row {
            Some((number, row)) => (
                format!("{}[{number}]", step.path()),
                format!("row {number}"),
                MessageBody::rows(std::slice::from_ref(row)),
            ),
            None => (step.path(), "the body".to_owned(), page.answer.body.message()),
        };
        let (size, max) = (large.size, self.run.limits.message_max_bytes);
        let what = What {
            class: ErrorClass::Limit,
            code: TOO_LARGE,
            pointer: step.step().pointer.clone(),
            message: format!("{subject} would make a message of {size} bytes, more than {max}"),
        };
        let about = About {
            sent: Some(&page.sent.facts),
            answer: Some(&page.answer.facts),
            body: Some(body),
            path: Some(path),
        };
        let fault = Fault::new(&self.run, step, what, about);
        if !step.step().outcome.ignore_on.iter().any(|matcher| matcher.matches(None, Some(TOO_LARGE))) {
            return Err(Halt::Fault(Box::new(fault)));
        }
        self.emit_error(page.now, step, fault, true, out);
        (self.run.partial, self.run.complete) = (true, false);
        Ok(())
    }

    /// Reports an answer that the plan ignores.
    pub(super) fn ignore(
        &mut self,
        now: Now,
        step: &StepRun,
        what: What,
        sent: &Sent,
        answer: &Answer,
        out: &mut Vec<Output>,
    ) {
        (self.run.partial, self.run.complete) = (true, false);
        let fault = self.fault(step, what, sent, answer);
        self.emit_error(now, step, fault, true, out);
    }

    /// Emits the message of an error.
    pub(super) fn emit_error(
        &mut self,
        now: Now,
        step: &StepRun,
        fault: Fault,
        ignored: bool,
        out: &mut Vec<Output>,
    ) {
        let at =
            At { step: &step.step().id, step_path: &fault.error.step_path, page: fault.page, time: now.wall };
        let facts = ErrorFacts { error: &fault.error, retries: fault.retries, ignored };
        let max = self.run.limits.message_max_bytes;
        let message = envelope::error(&self.run.origin, at, &fault.exchange, fault.body, facts, max);
        self.emit(step, message, out);
    }

    fn emit(&mut self, step: &StepRun, message: Message, out: &mut Vec<Output>) {
        let progress = &mut self.run.progress;
        match message.topic {
            Topic::Responses => {
                progress.counts.messages += 1;
                *progress.positions.entry(step.step().id.to_string()).or_default() += 1;
            }
            Topic::Errors => progress.counts.errors += 1,
            Topic::Events => {}
        }
        let emit_id = self.ledger.emit(Sender { step: step.index, page: step.page });
        out.push(Output::Emit { emit_id, message });
    }

    fn cutter<'a>(&'a self, page: &Yield<'a>, path: &'a str, exchange: &'a Exchange) -> Page<'a> {
        Page {
            origin: &self.run.origin,
            at: At { step: &page.step.step().id, step_path: path, page: page.step.page, time: page.now.wall },
            exchange,
            extracted: page.extracted,
            max_bytes: self.run.limits.message_max_bytes,
        }
    }
}
