//! From what a pass yielded to messages on their way.

use bytes::Bytes;
use orchid_plan::Emit;

use super::Machine;
use super::answer::Answer;
use super::halt::{Fault, Halt, Seen, What};
use super::ledger::Sender;
use super::pass::is_by_record;
use super::step_run::{Sent, StepRun};
use crate::error::ErrorClass;
use crate::input::Now;
use crate::message::body::MessageBody;
use crate::message::chunk::{Page, TooLarge};
use crate::message::envelope::{self, At, ErrorFacts};
use crate::message::exchange::Exchange;
use crate::message::{Message, Topic};
use crate::output::Output;

/// What a pass yielded beside its answer.
pub(super) struct PageParts<'a> {
    /// Rows as JSON text; none without `iterate_over`.
    pub(super) rows: Option<&'a [Bytes]>,
    /// JSON.
    pub(super) extracted: &'a [u8],
}

impl Machine {
    /// Emits a page as the step says: one message, one a row, or none.
    pub(super) fn emit_page(
        &mut self,
        now: Now,
        step: &StepRun,
        sent: &Sent,
        answer: &Answer,
        parts: PageParts<'_>,
        out: &mut Vec<Output>,
    ) -> Result<(), Halt> {
        if step.step().emit == Emit::None {
            return Ok(());
        }
        let exchange = Exchange::new(&sent.facts, &answer.facts, &self.run.redactor);
        match parts.rows {
            None => {
                let body = answer.body.message();
                let cut = self.page(now, step, &step.path(), &exchange, parts.extracted).whole(&body);
                match cut {
                    Ok(messages) => messages.into_iter().for_each(|message| self.emit(step, message, out)),
                    Err(large) => {
                        self.too_large(now, step, sent, answer, large.row, large.size, None, out)?
                    }
                }
            }
            Some(rows) if is_by_record(step.step()) => {
                for (index, row) in rows.iter().enumerate() {
                    let path = format!("{}[{index}]", step.path());
                    match self.page(now, step, &path, &exchange, parts.extracted).record(row) {
                        Ok(message) => self.emit(step, message, out),
                        Err(TooLarge { size, .. }) => {
                            self.too_large(now, step, sent, answer, Some(index), size, Some(row), out)?;
                        }
                    }
                }
            }
            Some(rows) => self.emit_rows(now, step, sent, answer, &exchange, rows, parts.extracted, out)?,
        }
        Ok(())
    }

    /// One message for the rows, or as many chunks as it takes. Rows too large alone are left out where the plan says so.
    #[expect(clippy::too_many_arguments, reason = "the whole of one page, used once")]
    fn emit_rows(
        &mut self,
        now: Now,
        step: &StepRun,
        sent: &Sent,
        answer: &Answer,
        exchange: &Exchange,
        rows: &[Bytes],
        extracted: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), Halt> {
        let mut left: Vec<(usize, Bytes)> = rows.iter().cloned().enumerate().collect();
        loop {
            let texts: Vec<Bytes> = left.iter().map(|(_, row)| row.clone()).collect();
            let cut = self.page(now, step, &step.path(), exchange, extracted).rows(&texts);
            match cut {
                Ok(messages) => {
                    messages.into_iter().for_each(|message| self.emit(step, message, out));
                    return Ok(());
                }
                Err(TooLarge { row, size }) => {
                    let (index, row) = left.remove(row.unwrap_or_default());
                    self.too_large(now, step, sent, answer, Some(index), size, Some(&row), out)?;
                }
            }
        }
    }

    /// A row, or a body without rows, that no message can carry: an error, ignored where `ignore_on` names its code.
    #[expect(clippy::too_many_arguments, reason = "the whole of one row, used twice")]
    fn too_large(
        &mut self,
        now: Now,
        step: &StepRun,
        sent: &Sent,
        answer: &Answer,
        row: Option<usize>,
        size: usize,
        text: Option<&Bytes>,
        out: &mut Vec<Output>,
    ) -> Result<(), Halt> {
        let max = self.run.limits.message_max_bytes;
        let (path, subject) = match row {
            Some(index) => (format!("{}[{index}]", step.path()), format!("row {index}")),
            None => (step.path(), "the body".to_owned()),
        };
        let what = What {
            class: ErrorClass::Limit,
            code: "MESSAGE_TOO_LARGE",
            pointer: step.step().pointer.clone(),
            message: format!("{subject} would make a message of {size} bytes, more than {max}"),
        };
        let ignored = step
            .step()
            .outcome
            .ignore_on
            .iter()
            .any(|matcher| matcher.matches(None, Some("MESSAGE_TOO_LARGE")));
        let body = match text {
            Some(row) => MessageBody::rows(std::slice::from_ref(row)),
            None => answer.body.message(),
        };
        let seen = Seen { sent: Some(&sent.facts), answer: Some(&answer.facts), body: Some(body) };
        match Halt::fault(&self.run, step, what, seen) {
            Halt::Fault(mut fault) => {
                fault.error.step_path = path;
                if !ignored {
                    return Err(Halt::Fault(fault));
                }
                self.emit_error(now, step, *fault, true, out);
                (self.run.partial, self.run.complete) = (true, false);
                Ok(())
            }
            halt @ Halt::Limit(_) => Err(halt),
        }
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
        if let Halt::Fault(fault) = self.fault(step, what, sent, answer) {
            self.emit_error(now, step, *fault, true, out);
        }
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

    fn page<'a>(
        &'a self,
        now: Now,
        step: &'a StepRun,
        path: &'a str,
        exchange: &'a Exchange,
        extracted: &'a [u8],
    ) -> Page<'a> {
        Page {
            origin: &self.run.origin,
            at: At { step: &step.step().id, step_path: path, page: step.page, time: now.wall },
            exchange,
            extracted,
            max_bytes: self.run.limits.message_max_bytes,
        }
    }
}
