//! From an answer that counts to the end of its pass: context, extract, rows, and whether another pass follows.

use bytes::Bytes;
use orchid_plan::{EvalError, Expr, PaginationKind, ScopeName, Value};

use crate::body::{Body, RowReader};
use crate::checkpoint::loop_parts::PageTarget;
use crate::error::ErrorClass;
use crate::input::TryId;
use crate::output::CursorChange;
use crate::page::attach_steps as shown;
use crate::page::rows::PageRun;
use crate::page::writer::Made;
use crate::rules::conditional;
use crate::rules::pagination as paginate;
use crate::rules::pagination::{NextPage, PageResult};
use crate::rules::repeat_guard::{RepeatGuard, fingerprint};
use crate::state::context::{self, Context, ContextChanges, ContextField};
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::exit::StepExit;
use crate::state::path_check::escaped;
use crate::state::plan_limit::PlanLimit;
use crate::state::status::StepStatus;
use crate::state::step_env::StepEnv;
use crate::step::exact_json as exact;
use crate::step::execution::{InFlightTry, StepExecution};
use crate::step::request::RepeatAction;
use crate::step::response::TryResponse;

/// What a pass leaves once its rows are done.
struct FinishedPage {
    sent: InFlightTry,
    answer: TryResponse,
    /// Rows of the page; none where there is nothing to count.
    rows: Option<u64>,
    /// Whether the answer was one to take anything from.
    succeeded: bool,
}

/// Why a loop goes no further, or how it does.
enum LoopContinuation {
    Fetch(PageTarget),
    End { by_stop_on: bool },
}

impl StepExecution {
    /// Ends a pass whose rows are all done: its messages, then its writes, then the next one.
    pub(crate) fn finish_pass(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        pass: Box<PageRun>,
    ) -> Result<StepStatus, StepExit> {
        let PageRun { sent, answer, written, extracted, sheet, writes, cursors, steps, rows, source, .. } =
            *pass;
        if source.is_none() {
            let made = Made { sent: &sent, answer: &answer, extracted };
            sheet.whole(cx, &self.node, &steps, &made)?;
            if self.node.gathers {
                let body = answer.body.to_message_body().elements().unwrap_or_default();
                let with_steps =
                    |row: Bytes| if steps.is_empty() { row } else { shown::with_steps(&row, &steps) };
                self.gathered.extend(body.into_iter().map(with_steps));
            }
        }
        if answer.streamed
            && let Some(source) = &source
        {
            cx.run.watch(&self.node).streamed(source.rows.found());
        }
        cx.run.progress.counts.pages += 1;
        self.keep_validator(cx, env, &sent, &answer);
        let written = self.with_rows(cx, env, written, writes, &sent, &answer)?;
        let rows = self.step().rows.is_some().then_some(rows);
        self.look_at_rows(cx, &sent, rows);
        self.pass_done(cx, env, FinishedPage { sent, answer, rows, succeeded: true }, written, cursors)
    }

    /// Ends a pass whose answer was ignored: no extract, no rows, no message.
    pub(crate) fn pass_without_rows(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        sent: InFlightTry,
        answer: TryResponse,
    ) -> Result<StepStatus, StepExit> {
        let written = self.set_context(cx, env, &sent, &answer)?;
        self.pass_done(
            cx,
            env,
            FinishedPage { sent, answer, rows: None, succeeded: false },
            written,
            Vec::new(),
        )
    }

    /// The context after the pass's own writes and those of its rows.
    fn with_rows(
        &self,
        cx: &EngineCx<'_>,
        env: &StepEnv,
        own: Option<(Context, ContextChanges)>,
        mut of_rows: ContextChanges,
        sent: &InFlightTry,
        answer: &TryResponse,
    ) -> Result<Option<(Context, ContextChanges)>, StepExit> {
        if of_rows.is_empty() {
            return Ok(own);
        }
        let mut all = own.map(|(_, changes)| changes).unwrap_or_default();
        context::append(&mut all, &mut of_rows);
        let written = env.context.with_changes(all).map_err(|error| {
            let pointer = format!("{}/set_context/{}", self.step().pointer, escaped(error.field()));
            StepExit::from(self.fault(cx, env, ErrorDetail::context(pointer, &error), sent, answer))
        })?;
        Ok(Some(written))
    }

    fn pass_done(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut passed: FinishedPage,
        written: Option<(Context, ContextChanges)>,
        cursors: Vec<CursorChange>,
    ) -> Result<StepStatus, StepExit> {
        if let Some((context, _)) = &written {
            // Whether the loop goes on may depend on what its rows wrote.
            passed.sent.scope.set(ScopeName::Context, context.object().clone());
        }
        if passed.succeeded {
            self.reach(cx, env, &passed)?;
        }
        let follows = self.follows(cx, env, &passed)?;
        // Nothing fails any more: a pass that fails is begun again, and writes then.
        if let Some((context, changes)) = written {
            env.take(context, changes);
        }
        cursors.into_iter().for_each(|cursor| cx.save_cursor(env, cursor));
        if let Some(fingerprint) = passed.sent.fingerprint {
            self.guard.note(fingerprint);
        }
        if self.node.judged {
            let body = passed.answer.body.to_message_body();
            self.judged = Some(Box::new((passed.sent.facts, passed.answer.facts, body)));
        }
        self.latest = passed.answer.value;
        self.page += 1;
        self.retry = 0;
        self.rows_done = None;
        self.ignored = !passed.succeeded;
        cx.run.moved |= env.durable;
        if let (Some(cursor), Some(reach)) = (&self.node.step.cursor, &mut self.reach)
            && cursor.ordered
            // A value like `window.to` is true of the slice alone, once all its pages are there.
            && self.node.step.window.is_none()
            && let Some(change) = reach.settle()
        {
            cx.save_cursor(env, change);
        }
        match follows {
            LoopContinuation::End { by_stop_on } => self.loop_ended(cx, env, by_stop_on),
            LoopContinuation::Fetch(pointer) => {
                if let PageTarget::Cursor(json) = &pointer {
                    self.guard.note(fingerprint(&[b"pointer", json.as_bytes()]));
                }
                self.pointer = pointer;
                if self.page - self.base >= cx.run.definition.max_loops {
                    return self.limited(cx, env, PlanLimit::Loops);
                }
                self.send(cx, env)
            }
        }
    }

    /// The loop of this slice has ended: the next slice begins, or the step is done.
    pub(crate) fn loop_ended(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        by_stop_on: bool,
    ) -> Result<StepStatus, StepExit> {
        if self.step().loops() {
            let passes = self.pass();
            cx.run.watch(&self.node).loop_ended(passes, by_stop_on);
            let max = cx.run.definition.max_loops;
            cx.run.warn_if_near(PlanLimit::Loops, self.page - self.base, max);
        }
        let next = match (&self.node.step.window, self.slices) {
            (Some(window), Some(slices)) => slices.next(window),
            (Some(_) | None, _) => None,
        };
        let ordered = self.step().cursor.as_ref().is_some_and(|cursor| cursor.ordered);
        if (next.is_none() || ordered)
            && let Some(change) = self.reach.as_mut().and_then(crate::rules::watermark::Watermark::settle)
        {
            cx.save_cursor(env, change);
        }
        let Some(next) = next else { return Ok(StepStatus::Done) };
        self.slices = Some(next);
        (self.base, self.slice_base) = (self.page, self.page);
        (self.pointer, self.guard, self.latest) = (PageTarget::First, RepeatGuard::default(), Value::null());
        cx.run.moved |= env.durable;
        self.send(cx, env)
    }

    /// Notes how far the page reaches.
    fn reach(&mut self, cx: &mut EngineCx<'_>, env: &StepEnv, passed: &FinishedPage) -> Result<(), StepExit> {
        let node = self.node.clone();
        let Some(cursor) = &node.step.cursor else { return Ok(()) };
        let pointer = || format!("{}/value", cursor.pointer);
        let value = self.ask(cx, env, &cursor.value, &passed.sent, &passed.answer, pointer)?;
        let json = exact::json(&cursor.value, &value, &passed.answer.body, env);
        let Some(reach) = &mut self.reach else { return Ok(()) };
        let taken = reach.take(cx.run, cursor, value, json);
        taken.map_err(|what| self.fault(cx, env, what, &passed.sent, &passed.answer).into())
    }

    fn keep_validator(
        &self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        sent: &InFlightTry,
        answer: &TryResponse,
    ) {
        let (Some(asked), Some(headers)) = (&sent.conditional, &answer.facts.headers) else { return };
        if let Some(change) = conditional::validator(cx.run, self.step(), &asked.url_name, headers) {
            cx.save_cursor(env, change);
        }
    }

    fn look_at_rows(&self, cx: &mut EngineCx<'_>, sent: &InFlightTry, rows: Option<u64>) {
        let (Some(rules), Some(rows)) = (&self.step().rows, rows) else { return };
        let candidates = rules.unfiltered.as_ref().filter(|_| rows == 0).and_then(|expr| {
            let value = expr.eval(&sent.scope, &sent.env).ok()?;
            value.items().map(|items| items.len() as u64)
        });
        cx.run.watch(&self.node).page(rows, candidates);
    }

    /// The context after this pass, with what changed; none where the step writes nothing.
    pub(crate) fn set_context(
        &self,
        cx: &EngineCx<'_>,
        env: &StepEnv,
        sent: &InFlightTry,
        answer: &TryResponse,
    ) -> Result<Option<(Context, ContextChanges)>, StepExit> {
        let rules = self.step();
        if rules.set_context.is_empty() {
            return Ok(None);
        }
        let pointer = |name: &str| format!("{}/set_context/{}", rules.pointer, escaped(name));
        let mut writes = Vec::with_capacity(rules.set_context.len());
        for (name, expr) in &rules.set_context {
            let value = self.ask(cx, env, expr, sent, answer, || pointer(name))?;
            let json = exact::json(expr, &value, &answer.body, env);
            writes.push((name.clone(), ContextField { value, json }));
        }
        let written = env.context.with(writes).map_err(|error| {
            let what = ErrorDetail::context(pointer(error.field()), &error);
            self.fault(cx, env, what, sent, answer)
        })?;
        Ok(Some(written))
    }

    /// The message's `extracted_data`, as JSON; null where the step extracts nothing.
    pub(crate) fn extract(
        &self,
        cx: &EngineCx<'_>,
        env: &StepEnv,
        sent: &InFlightTry,
        answer: &TryResponse,
    ) -> Result<Vec<u8>, StepExit> {
        let rules = self.step();
        if rules.extract.is_empty() {
            return Ok(b"null".to_vec());
        }
        let mut object = Vec::new();
        for (name, expr) in &rules.extract {
            let pointer = || format!("{}/extract/{}", rules.pointer, escaped(name));
            let value = self.ask(cx, env, expr, sent, answer, pointer)?;
            object.push(if object.is_empty() { b'{' } else { b',' });
            object.extend(Value::from(name.as_str()).to_json());
            object.push(b':');
            object.extend_from_slice(&exact::json(expr, &value, &answer.body, env));
        }
        object.push(b'}');
        Ok(object)
    }

    /// Where the rows come from, as the bytes that came where their path is plain; with the try whose body still comes. None
    /// where the pass has no rows.
    pub(crate) fn source(
        &self,
        cx: &EngineCx<'_>,
        env: &StepEnv,
        sent: &InFlightTry,
        answer: &mut TryResponse,
    ) -> Result<Option<(RowReader, Option<TryId>)>, StepExit> {
        if let Some((decoder, try_id)) = answer.stream.take() {
            answer.streamed = true;
            return Ok(Some((RowReader::from_decoder(decoder), Some(try_id))));
        }
        let Some(rows) = &self.step().rows else { return Ok(None) };
        let pointer = || format!("{}/iterate_over", self.step().pointer);
        let no_list = |message: String| {
            let message = format!("{message}: iterate_over {:?}", rows.expr.text());
            ErrorDetail { class: ErrorClass::Config, code: "EXPRESSION", pointer: pointer(), message }
        };
        let found = match (&rows.plain, &answer.body) {
            (Some(path), Body::Json { text, .. }) => RowReader::from_json(text, path),
            _ => RowReader::from_list(self.ask(cx, env, &rows.expr, sent, answer, pointer)?),
        };
        match found {
            Ok(rows) => Ok(Some((rows, None))),
            Err(error) => Err(self.fault(cx, env, no_list(error.to_string()), sent, answer).into()),
        }
    }

    /// What the next pass sends, or why the loop ends.
    fn follows(
        &self,
        cx: &mut EngineCx<'_>,
        env: &StepEnv,
        passed: &FinishedPage,
    ) -> Result<LoopContinuation, StepExit> {
        let rules = self.step();
        let end = Ok(LoopContinuation::End { by_stop_on: false });
        if !rules.loops() {
            return end;
        }
        let (sent, answer) = (&passed.sent, &passed.answer);
        let condition = |expr: &Option<Expr>, field: &str| match expr {
            None => Ok(None),
            Some(expr) => {
                let pointer = || format!("{}/{field}", rules.pointer);
                self.ask(cx, env, expr, sent, answer, pointer).map(|value| Some(value.truthy()))
            }
        };
        let broke = condition(&rules.break_when, "break_when")?.unwrap_or(false);
        let on = condition(&rules.while_expr, "while")?.unwrap_or(true);
        let Some(paginate) = &rules.paginate else {
            cx.run.complete &= !(broke && on);
            return if on && !broke { Ok(LoopContinuation::Fetch(PageTarget::First)) } else { end };
        };
        let value = match &paginate.kind {
            PaginationKind::Cursor { value, .. } | PaginationKind::NextUrl { value } => {
                self.ask(cx, env, value, sent, answer, || format!("{}/value", paginate.pointer))?
            }
            PaginationKind::Page { .. } | PaginationKind::Offset { .. } | PaginationKind::LinkHeader => {
                Value::null()
            }
        };
        let came = PageResult {
            rows: passed.rows,
            value,
            link: answer.link.as_deref(),
            sent_url: sent.url.as_str(),
        };
        let next = paginate::next(paginate, &self.pointer, &came);
        if broke || !on {
            // Cut off: there was another page, or it cannot be known.
            cx.run.complete &= matches!(next, Ok(NextPage::End { .. }));
            return end;
        }
        match next {
            Ok(NextPage::End { by_stop_on }) => Ok(LoopContinuation::End { by_stop_on }),
            Ok(NextPage::Fetch(pointer)) => self.led_by(cx, env, sent, answer, pointer),
            Err(error) => {
                let what = ErrorDetail {
                    class: ErrorClass::Permanent,
                    code: "INVALID_NEXT_URL",
                    pointer: paginate.pointer.clone(),
                    message: error.to_string(),
                };
                Err(self.fault(cx, env, what, sent, answer).into())
            }
        }
    }

    /// The pointer, unless it may not be followed.
    fn led_by(
        &self,
        cx: &EngineCx<'_>,
        env: &StepEnv,
        sent: &InFlightTry,
        answer: &TryResponse,
        pointer: PageTarget,
    ) -> Result<LoopContinuation, StepExit> {
        match &pointer {
            PageTarget::Cursor(json) if self.guard.saw(fingerprint(&[b"pointer", json.as_bytes()])) => {
                match self.repeated(cx, env, "the same cursor", &sent.facts)? {
                    RepeatAction::Stop => Ok(LoopContinuation::End { by_stop_on: true }),
                    RepeatAction::GoOn => Ok(LoopContinuation::Fetch(pointer)),
                }
            }
            PageTarget::Url(url) => {
                let refusal = match url::Url::parse(url) {
                    Ok(next) => self.allows(cx, &sent.url, &next).err(),
                    Err(error) => Some(error.to_string()),
                };
                let Some(refusal) = refusal else { return Ok(LoopContinuation::Fetch(pointer)) };
                let at = self.step().paginate.as_ref().map(|paginate| paginate.pointer.clone());
                let what =
                    ErrorDetail::host(at.unwrap_or_default(), format!("the next page is refused: {refusal}"));
                Err(self.fault(cx, env, what, sent, answer).into())
            }
            PageTarget::First | PageTarget::Page(_) | PageTarget::Offset(_) | PageTarget::Cursor(_) => {
                Ok(LoopContinuation::Fetch(pointer))
            }
        }
    }

    pub(crate) fn ask(
        &self,
        cx: &EngineCx<'_>,
        env: &StepEnv,
        expr: &Expr,
        sent: &InFlightTry,
        answer: &TryResponse,
        pointer: impl Fn() -> String,
    ) -> Result<Value, StepExit> {
        expr.eval(&sent.scope, &sent.env).map_err(|error: EvalError| {
            self.fault(cx, env, ErrorDetail::expression(pointer(), &error), sent, answer).into()
        })
    }
}
