//! From an answer that counts to the end of its pass: context, extract, rows, messages, and whether another pass follows.

use bytes::Bytes;
use orchid_plan::{EvalError, Expr, PaginateKind, RawRows, ScopeName, Value};

use super::answer::Answer;
use super::context::{Changes, Context, Field};
use super::emit::Yield;
use super::halt::{Halt, Limit, What};
use super::paginate::{self, Came, Next, Pointer, fingerprint};
use super::send::Repeat;
use super::step_run::{Sent, StepRun};
use super::watch::escaped;
use super::{Flow, Machine, exact};
use crate::body::Body;
use crate::error::ErrorClass;
use crate::input::Now;
use crate::output::Output;

/// How the last try of a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Succeeded,
    /// Reported and passed over: no extract, no rows, no message.
    Ignored,
}

impl Machine {
    /// The context is written first, and seen by all that follows; it is the run's once the page is emitted.
    pub(super) fn finish_pass(
        &mut self,
        now: Now,
        step: &mut StepRun,
        mut sent: Sent,
        answer: Answer,
        ended: Ended,
        out: &mut Vec<Output>,
    ) -> Result<Flow, Halt> {
        let written = self.set_context(step, &sent, &answer)?;
        if let Some((context, _)) = &written {
            sent.scope.set(ScopeName::Context, context.object().clone());
        }
        let rows = match ended {
            Ended::Ignored => None,
            Ended::Succeeded => {
                let extracted = self.extract(step, &sent, &answer)?;
                let rows = self.rows(step, &sent, &answer)?;
                let page = Yield {
                    now,
                    step,
                    sent: &sent,
                    answer: &answer,
                    rows: rows.as_deref(),
                    extracted: &extracted,
                };
                self.emit_page(&page, out)?;
                self.run.progress.counts.pages += 1;
                self.run.progress.counts.rows += rows.as_ref().map_or(0, |rows| rows.len() as u64);
                rows.map(|rows| rows.len() as u64)
            }
        };
        if let Some((context, mut changes)) = written {
            self.run.context = context;
            self.run.changes.append(&mut changes);
        }

        let follows = self.follows(step, &sent, &answer, rows)?;
        if let Some(fingerprint) = sent.fingerprint {
            step.guard.note(fingerprint);
        }
        step.latest = answer.value;
        step.page += 1;
        step.retry = 0;
        let Some(pointer) = follows else { return Ok(Flow::Done) };
        if let Pointer::Cursor(json) = &pointer {
            step.guard.note(fingerprint(&[b"pointer", json.as_bytes()]));
        }
        step.pointer = pointer;
        self.mark(step)?;
        if step.page - step.base >= self.run.definition.max_loops {
            return Err(Halt::Limit(Limit::Loops));
        }
        self.send(now, step, out)
    }

    /// The context after this pass, with what changed; none where the step writes nothing.
    fn set_context(
        &self,
        step: &StepRun,
        sent: &Sent,
        answer: &Answer,
    ) -> Result<Option<(Context, Changes)>, Halt> {
        let rules = step.step();
        if rules.set_context.is_empty() {
            return Ok(None);
        }
        let pointer = |name: &str| format!("{}/set_context/{}", rules.pointer, escaped(name));
        let mut writes = Vec::with_capacity(rules.set_context.len());
        for (name, expr) in &rules.set_context {
            let value = self.ask(step, expr, sent, answer, || pointer(name))?;
            let json = exact::json(expr, &value, &answer.body);
            writes.push((name.clone(), Field { value, json }));
        }
        let written = self.run.context.with(writes).map_err(|error| {
            let what = What {
                class: ErrorClass::Limit,
                code: "CONTEXT_TOO_LARGE",
                pointer: pointer(error.field()),
                message: error.to_string(),
            };
            self.fault(step, what, sent, answer)
        })?;
        Ok(Some(written))
    }

    /// The message's `extracted_data`, as JSON; null where the step extracts nothing.
    fn extract(&self, step: &StepRun, sent: &Sent, answer: &Answer) -> Result<Vec<u8>, Halt> {
        let rules = step.step();
        if rules.extract.is_empty() {
            return Ok(b"null".to_vec());
        }
        let mut object = Vec::new();
        for (name, expr) in &rules.extract {
            let pointer = || format!("{}/extract/{}", rules.pointer, escaped(name));
            let value = self.ask(step, expr, sent, answer, pointer)?;
            object.push(if object.is_empty() { b'{' } else { b',' });
            object.extend(Value::from(name.as_str()).to_json());
            object.push(b':');
            object.extend_from_slice(&exact::json(expr, &value, &answer.body));
        }
        object.push(b'}');
        Ok(object)
    }

    /// The rows, as the bytes that came where their path is plain; none without `iterate_over`.
    fn rows(&self, step: &StepRun, sent: &Sent, answer: &Answer) -> Result<Option<Vec<Bytes>>, Halt> {
        let Some(rows) = &step.step().rows else { return Ok(None) };
        let pointer = || format!("{}/iterate_over", step.step().pointer);
        let no_list = |message: String| {
            let message = format!("{message}: iterate_over {:?}", rows.expr.text());
            let what = What { class: ErrorClass::Config, code: "EXPRESSION", pointer: pointer(), message };
            self.fault(step, what, sent, answer)
        };
        if let (Some(path), Body::Json { text, .. }) = (&rows.plain, &answer.body) {
            let found = RawRows::find(text, path).map_err(|error| no_list(error.to_string()))?;
            return Ok(Some(found.rows.into_iter().map(|row| text.slice_ref(row)).collect()));
        }
        let value = self.ask(step, &rows.expr, sent, answer, pointer)?;
        if value.is_null() {
            return Ok(Some(Vec::new()));
        }
        let items = value
            .items()
            .ok_or_else(|| no_list(format!("the rows are of type {}, not a list", value.kind())))?;
        Ok(Some(items.map(|item| Bytes::from(item.to_json())).collect()))
    }

    /// What the next pass sends; none where the loop ends.
    fn follows(
        &mut self,
        step: &StepRun,
        sent: &Sent,
        answer: &Answer,
        rows: Option<u64>,
    ) -> Result<Option<Pointer>, Halt> {
        let rules = step.step();
        if !rules.loops() {
            return Ok(None);
        }
        let broke =
            self.condition(step, rules.break_when.as_ref(), "break_when", sent, answer)?.unwrap_or(false);
        let on = self.condition(step, rules.while_expr.as_ref(), "while", sent, answer)?.unwrap_or(true);
        let Some(paginate) = &rules.paginate else {
            self.run.complete &= !(broke && on);
            return Ok((on && !broke).then_some(Pointer::Start));
        };
        let value = match &paginate.kind {
            PaginateKind::Cursor { value, .. } | PaginateKind::NextUrl { value } => {
                self.ask(step, value, sent, answer, || format!("{}/value", paginate.pointer))?
            }
            PaginateKind::Page { .. } | PaginateKind::Offset { .. } | PaginateKind::LinkHeader => {
                Value::null()
            }
        };
        let came = Came { rows, value, link: answer.link.as_deref(), sent_url: sent.url.as_str() };
        let next = paginate::next(paginate, &step.pointer, &came);
        if broke || !on {
            // Cut off: there was another page, or it cannot be known.
            self.run.complete &= matches!(next, Ok(Next::End));
            return Ok(None);
        }
        match next {
            Ok(Next::End) => Ok(None),
            Ok(Next::Pass(pointer)) => self.led_by(step, sent, answer, pointer),
            Err(error) => {
                let what = What {
                    class: ErrorClass::Permanent,
                    code: "INVALID_NEXT_URL",
                    pointer: paginate.pointer.clone(),
                    message: error.to_string(),
                };
                Err(self.fault(step, what, sent, answer).into())
            }
        }
    }

    /// The pointer, unless it may not be followed.
    fn led_by(
        &self,
        step: &StepRun,
        sent: &Sent,
        answer: &Answer,
        pointer: Pointer,
    ) -> Result<Option<Pointer>, Halt> {
        match &pointer {
            Pointer::Cursor(json) if step.guard.saw(fingerprint(&[b"pointer", json.as_bytes()])) => {
                match self.repeated(step, "the same cursor", &sent.facts)? {
                    Repeat::Stop => Ok(None),
                    Repeat::GoOn => Ok(Some(pointer)),
                }
            }
            Pointer::Url(url) => {
                let refusal = match url::Url::parse(url) {
                    Ok(next) => self.allows(step, &sent.url, &next).err(),
                    Err(error) => Some(error.to_string()),
                };
                match refusal {
                    None => Ok(Some(pointer)),
                    Some(refusal) => {
                        let at = step.step().paginate.as_ref().map(|paginate| paginate.pointer.clone());
                        let what = What::host(
                            at.unwrap_or_default(),
                            format!("the next page is refused: {refusal}"),
                        );
                        Err(self.fault(step, what, sent, answer).into())
                    }
                }
            }
            Pointer::Start | Pointer::Page(_) | Pointer::Offset(_) | Pointer::Cursor(_) => Ok(Some(pointer)),
        }
    }

    fn condition(
        &self,
        step: &StepRun,
        expr: Option<&Expr>,
        field: &str,
        sent: &Sent,
        answer: &Answer,
    ) -> Result<Option<bool>, Halt> {
        let Some(expr) = expr else { return Ok(None) };
        let pointer = || format!("{}/{field}", step.step().pointer);
        self.ask(step, expr, sent, answer, pointer).map(|value| Some(value.truthy()))
    }

    fn ask(
        &self,
        step: &StepRun,
        expr: &Expr,
        sent: &Sent,
        answer: &Answer,
        pointer: impl Fn() -> String,
    ) -> Result<Value, Halt> {
        expr.eval(&sent.scope, &sent.env).map_err(|error: EvalError| {
            self.fault(step, What::expression(pointer(), &error), sent, answer).into()
        })
    }
}
