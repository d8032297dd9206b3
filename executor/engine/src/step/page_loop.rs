//! The loop of a step: which page is requested next, and when the loop ends.
//!
//! This type holds everything that a checkpoint keeps of a loop apart from the rows of its page. It
//! builds requests and moves from page to page; [`crate::step::execution::StepExecution`] decides
//! when.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use orchid_plan::Value;
use url::Url;

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{decode_or_null, encode_unless_null};
use crate::checkpoint::loop_parts::{LatestAnswer, PageTarget};
use crate::checkpoint::prune::prune;
use crate::checkpoint::step_state::LoopState;
use crate::output::CursorChange;
use crate::page::exchange::{AnswerComparison, PageExchange, SentTry};
use crate::program::node::StepNode;
use crate::rules::conditional;
use crate::rules::pagination::NextPage;
use crate::rules::repeat_guard::RepeatGuard;
use crate::rules::repeated_answer;
use crate::rules::watermark::Watermark;
use crate::rules::window::WindowSlices;
use crate::state::buffer_meter::HeldValue;
use crate::state::cursor_store::CursorValues;
use crate::state::deferred_writes;
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::execution::ExecutionState;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::plan_limit::PlanLimit;
use crate::state::step_env::StepEnv;
use crate::step::continuation::{self, Continuation, RepeatAction};
use crate::step::evaluator::ResponseEvaluator;
use crate::step::last_page::{self, ReadPages};
use crate::step::position::LoopPosition;
use crate::step::request;
use crate::step::variables;

/// A loop over pages; a step without pagination is a loop of one page.
pub(crate) struct PageLoop {
    position: LoopPosition,
    /// Pages before this one that do not count towards `max_loops`: those of an earlier execution
    /// or of earlier slices.
    uncounted_pages: u64,
    /// Rows of the pages of this window slice.
    rows_read: u64,
    /// When the next try is due.
    due: Option<DateTime<Utc>>,
    /// The step's own URL; out of a checkpoint only its scheme, host and port.
    home: Option<Url>,
    guard: RepeatGuard,
    /// The latest answer, if the loop compares its answers.
    answer: Option<LatestAnswer>,
    /// Cursors that the rows of several pages share, until the loop has ended.
    shared_cursors: CursorValues,
}

/// Result of entering a loop.
pub(crate) enum LoopEntry {
    /// The loop runs.
    Run,
    /// `execute_if` is false.
    Skip,
    /// The window is empty.
    Empty,
}

/// The next move of a loop.
pub(crate) enum LoopMove {
    /// It sends the request of its page.
    Send,
    /// It has reached a limit of the plan.
    Limited(PlanLimit),
    /// It has ended.
    Done,
}

impl PageLoop {
    /// Creates the loop of a step, for a `for_each` item if the step runs for one.
    pub(crate) fn new(node: &Arc<StepNode>, item: Option<u64>) -> Self {
        Self {
            position: LoopPosition::first(node, item),
            uncounted_pages: 0,
            rows_read: 0,
            due: None,
            home: None,
            guard: RepeatGuard::default(),
            answer: None,
            shared_cursors: CursorValues::new(),
        }
    }

    /// Creates the loop of one poll of an async job: the page with this number, which reads the
    /// response of the poll before.
    pub(crate) fn poll(node: &Arc<StepNode>, page: u64, latest: Value) -> Self {
        let mut poll = Self::new(node, None);
        (poll.position.page, poll.position.latest, poll.uncounted_pages) =
            (page, HeldValue::uncounted(latest), page);
        poll
    }

    /// Restores a loop from a checkpoint.
    ///
    /// # Errors
    /// Fails if the state is not one that [`PageLoop::state`] wrote.
    pub(crate) fn resume(
        node: &Arc<StepNode>,
        item: Option<u64>,
        state: &LoopState,
    ) -> Result<Self, CheckpointError> {
        let invalid = CheckpointError::invalid;
        let home = state.home_origin.as_deref().map(Url::parse).transpose();
        let due = state
            .due_ms
            .map(|ms| DateTime::from_timestamp_millis(ms).ok_or_else(|| invalid("due_ms is no time")));
        let watermark = state.watermark.as_ref().map(|state| Watermark::resume(&node.step.id, state.clone()));
        Ok(Self {
            position: LoopPosition {
                node: node.clone(),
                item,
                page: state.page,
                pages_before_slice: state.pages_before_slice,
                retry: state.retry,
                target: state.target.clone(),
                latest: HeldValue::uncounted(decode_or_null(state.latest_response.as_deref())?),
                slice: state.window.map(WindowSlices::resume).transpose()?,
                watermark: watermark.transpose()?,
            },
            uncounted_pages: state.uncounted_pages,
            rows_read: state.rows_read,
            due: due.transpose()?,
            // The origin is enough to check later URLs, and a whole URL may contain secrets.
            home: home.map_err(|_| invalid("home is no url"))?,
            guard: RepeatGuard::decode(&state.repeat_guard).ok_or_else(|| invalid("guard does not read"))?,
            answer: state.latest_answer,
            shared_cursors: deferred_writes::decode_cursors(state.shared_cursors.clone()),
        })
    }

    /// Returns the state for a checkpoint, without the rows of the page.
    pub(crate) fn state(&self, entered: bool) -> Result<LoopState, CheckpointError> {
        let position = &self.position;
        // A checkpoint is written often: of the latest response it holds only what the next page
        // reads.
        let latest = prune(&position.latest, position.node.needs.carried.as_deref());
        Ok(LoopState {
            entered,
            page: position.page,
            uncounted_pages: self.uncounted_pages,
            rows_read: self.rows_read,
            pages_before_slice: position.pages_before_slice,
            retry: position.retry,
            due_ms: self.due.map(|due| due.timestamp_millis()),
            target: position.target.clone(),
            home_origin: self.home.as_ref().map(|url| url.origin().ascii_serialization()),
            repeat_guard: self.guard.encode(),
            latest_answer: self.answer,
            latest_response: encode_unless_null(&latest)?,
            window: position.slice.map(WindowSlices::state),
            watermark: position.watermark.as_ref().map(Watermark::state).transpose()?,
            shared_cursors: deferred_writes::encode_cursors(&self.shared_cursors)?,
            rows: None,
            gathered: Vec::new(),
        })
    }

    /// Returns the position of the loop.
    pub(crate) fn position(&self) -> &LoopPosition {
        &self.position
    }

    /// Returns the number of pages that count towards `max_loops`.
    fn counted_pages(&self) -> u64 {
        self.position.page - self.uncounted_pages
    }

    /// Takes the time at which the next try is due.
    pub(crate) fn take_due(&mut self) -> Option<DateTime<Utc>> {
        self.due.take()
    }

    /// Sets the time at which the next try is due.
    pub(crate) fn set_due(&mut self, due: DateTime<Utc>) {
        self.due = Some(due);
    }

    /// Counts a retry of the page.
    pub(crate) fn retry(&mut self) {
        self.position.retry += 1;
    }

    /// Sets the latest response without ending a page.
    pub(crate) fn set_latest(&mut self, latest: HeldValue) {
        self.position.latest = latest;
    }

    /// Moves back into a finished page; returns the page after it.
    pub(crate) fn rewind_to(&mut self, page: u64) -> u64 {
        std::mem::replace(&mut self.position.page, page)
    }

    /// Evaluates `execute_if`, then starts the cursor and the first window slice.
    ///
    /// # Errors
    /// Fails if an expression fails, or its value is not valid for cursor or window.
    pub(crate) fn enter(&mut self, cx: &mut EngineCx<'_>, env: &StepEnv) -> Result<LoopEntry, StepExit> {
        let node = self.position.node.clone();
        let step = &node.step;
        let eval = variables::eval_env(cx.run, env, &self.position, cx.now);
        if let Some(condition) = &step.execute_if {
            let scope = variables::before_loop(cx.run, env, &self.position);
            let runs = condition.is_true(&scope, &eval).map_err(|error| {
                self.error(cx, env, ErrorDetail::expression(format!("{}/execute_if", step.pointer), &error))
            })?;
            if !runs {
                return Ok(LoopEntry::Skip);
            }
        }
        if let Some(cursor) = &step.cursor {
            let scope = variables::before_loop(cx.run, env, &self.position);
            // The cursor comes before the window, whose ends may read it.
            let watermark = Watermark::begin(cx.run, &step.id, cursor, &scope, &eval);
            self.position.watermark = Some(watermark.map_err(|detail| self.error(cx, env, detail))?);
        }
        if let Some(window) = &step.window {
            // The ends of the range may read the cursor, so its value is set before.
            let scope = variables::before_loop(cx.run, env, &self.position);
            let first = WindowSlices::begin(window, &scope, &eval);
            self.position.slice = first.map_err(|detail| self.error(cx, env, detail))?;
            if self.position.slice.is_none() {
                return Ok(LoopEntry::Empty);
            }
        }
        Ok(LoopEntry::Run)
    }

    /// Renders the request of the page and sends it; `None` if it repeats an earlier one and the
    /// plan ends the loop there. `repeats` tells that a page is fetched again for its remaining
    /// rows.
    ///
    /// # Errors
    /// Fails if the request cannot be rendered or is not permitted, or the loop repeats itself.
    pub(crate) fn send(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &StepEnv,
        repeats: bool,
    ) -> Result<Option<SentTry>, StepExit> {
        let node = self.position.node.clone();
        let Some(template) = node.step.request() else { return Ok(None) };
        let scope = variables::for_request(cx.run, env, &self.position);
        let eval = variables::eval_env(cx.run, env, &self.position, cx.now);
        // The plan's own URL is rendered for every page: it may depend on the latest response.
        let (home, base) = (self.home.as_ref(), request::base_url(cx.run, &node, env, &scope, &eval));
        let mut rendered = request::render(template, &self.position, home, base.as_ref(), &scope, &eval)
            .map_err(|detail| self.error(cx, env, detail))?;
        request::settle_home(cx.run, env, &self.position, &mut self.home, &rendered, &eval)?;
        let revalidation = conditional::revalidate(cx.run, &node.step, &rendered.url, &mut rendered.headers);
        // The facts are what messages show. They are taken before the request is handed over, and
        // after the validators were added to its headers.
        let (url, facts) = (rendered.url.clone(), request::sent_request(&rendered));

        let fingerprint = node.step.paginate.as_ref().map(|_| request::request_fingerprint(&rendered));
        // A retry, or a page that is fetched again for its remaining rows, repeats its request on
        // purpose.
        if self.position.retry == 0
            && !repeats
            && fingerprint.is_some_and(|fingerprint| self.guard.contains(fingerprint))
        {
            match continuation::on_repeat(cx.run, env, &self.position, "the same request", &facts)? {
                RepeatAction::Stop => return Ok(None),
                RepeatAction::Continue => {}
            }
        }

        cx.run.progress.counts.requests += 1;
        cx.run.progress.counts.retries += u64::from(self.position.retry > 0);
        let request = request::finish(cx.run, &self.position, self.home.as_ref(), rendered);
        let try_id = cx.fetch(request);
        Ok(Some(SentTry { try_id, env: eval, scope, url, facts, fingerprint, revalidation }))
    }

    /// Takes the cursor value of a page into the watermark.
    ///
    /// # Errors
    /// Fails if the expression fails, or its value cannot be a cursor.
    pub(crate) fn advance_watermark(
        &mut self,
        cx: &EngineCx<'_>,
        env: &StepEnv,
        exchange: &PageExchange,
    ) -> Result<(), StepExit> {
        let node = self.position.node.clone();
        let Some(cursor) = &node.step.cursor else { return Ok(()) };
        let (value, json) = self.evaluator(cx, env, exchange).cursor_value(cursor)?;
        let Some(watermark) = &mut self.position.watermark else { return Ok(()) };
        let advanced = watermark.advance(cx.run, cursor, value, json);
        advanced.map_err(|detail| self.evaluator(cx, env, exchange).error(detail))
    }

    /// Decides which page follows one with `rows` rows.
    ///
    /// # Errors
    /// Fails if an expression fails, the next page's URL is invalid or not permitted, or the loop
    /// repeats itself.
    pub(crate) fn next_page(
        &self,
        cx: &mut EngineCx<'_>,
        env: &StepEnv,
        exchange: &PageExchange,
        rows: Option<u64>,
    ) -> Result<Continuation, StepExit> {
        let page = self.evaluator(cx, env, exchange);
        let continuation = continuation::after_page(&page, &self.guard, self.home.as_ref(), rows)?;
        cx.run.complete &= !continuation.cut_off;
        Ok(continuation)
    }

    /// Counts the rows of a page, and looks for further pages behind the last one.
    pub(crate) fn page_read(
        &mut self,
        cx: &mut EngineCx<'_>,
        exchange: &PageExchange,
        rows: Option<u64>,
        continuation: &Continuation,
    ) {
        self.rows_read += rows.unwrap_or_default();
        // A loop that the plan cut off is never complete.
        if matches!(continuation.next, NextPage::End { .. }) && !continuation.cut_off {
            let (pages, rows_read) = (self.position.page_in_slice() + 1, self.rows_read);
            last_page::check(cx.run, &self.position.node, exchange, &ReadPages { pages, rows, rows_read });
        }
    }

    /// Returns whether a page has the answer of the page before it, and the plan does not permit
    /// that. Notes the fingerprint of the answer.
    pub(crate) fn repeats_answer(&self, run: &ExecutionState, exchange: &mut PageExchange) -> bool {
        let step = self.position.step();
        let (paginate, response) = (step.paginate.as_ref(), &mut exchange.response);
        let passes_left = run.definition.max_loops.saturating_sub(self.counted_pages());
        let compared = step.loops() && repeated_answer::is_compared(paginate, passes_left);
        let latest = self.watched_answer();
        // A streamed body is not there yet.
        if compared && response.stream.is_some() {
            response.comparison = Some(AnswerComparison { latest });
            return false;
        }
        response.answer = compared.then(|| repeated_answer::fingerprint(&response.body));
        response.answer.is_some() && response.answer == latest
    }

    /// Returns whether a page that has ended had the answer of the page before it, and the plan
    /// does not permit that.
    pub(crate) fn has_repeated_answer(&self, exchange: &PageExchange) -> bool {
        exchange.response.answer.is_some() && exchange.response.answer == self.watched_answer()
    }

    /// Returns the fingerprint of the latest answer, if a repeat of it ends the loop.
    fn watched_answer(&self) -> Option<u64> {
        let watched = repeated_answer::is_watched(self.position.step().paginate.as_ref());
        self.answer.filter(|_| watched).map(|latest| latest.hash)
    }

    /// Saves the cursors of a page's rows. Those that rows share wait for the end of the loop: a
    /// row of a later page may still fail before the value that an earlier one has reached.
    pub(crate) fn save_row_cursors(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        cursors: Vec<CursorChange>,
    ) {
        let own = cx.collect_shared(&mut self.shared_cursors, cursors);
        own.into_iter().for_each(|cursor| cx.save_cursor(env, cursor));
    }

    /// Saves the step's own cursor, unless a row of this or an earlier page failed.
    fn save_watermark(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) {
        let Some(watermark) = &mut self.position.watermark else { return };
        if let Some(change) = watermark.settle()
            && !cx.run.held.holds(watermark.key())
        {
            cx.save_cursor(env, change);
        }
    }

    /// Moves behind a page.
    pub(crate) fn leave_page(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv, exchange: PageExchange) {
        if let Some(fingerprint) = exchange.sent.fingerprint {
            self.guard.add(fingerprint);
        }
        self.answer = exchange.response.answer.map(|hash| repeated_answer::after(self.answer, hash));
        self.position.latest = exchange.response.value;
        self.position.page += 1;
        self.position.retry = 0;
        cx.run.moved |= env.durable;
        let step = &self.position.node.step;
        let is_ordered = step.cursor.as_ref().is_some_and(|cursor| cursor.ordered);
        // In a window, a value such as `window.to` is reached only once all pages of the slice are
        // there.
        if is_ordered && step.window.is_none() {
            self.save_watermark(cx, env);
        }
    }

    /// Moves to the page that follows.
    pub(crate) fn proceed(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv, next: NextPage) -> LoopMove {
        let target = match next {
            NextPage::End { by_stop_on } => return self.end(cx, env, by_stop_on),
            NextPage::Fetch(target) => target,
        };
        if let PageTarget::Cursor(json) = &target {
            self.guard.add(continuation::cursor_fingerprint(json));
        }
        // The target is set before the limit is checked: a later execution continues with it.
        self.position.target = target;
        if self.counted_pages() >= cx.run.definition.max_loops {
            let same_answers = self.answer.map_or(0, |latest| latest.times);
            return LoopMove::Limited(PlanLimit::Loops { same_answers });
        }
        LoopMove::Send
    }

    /// Ends the loop of this window slice: the next slice begins, or the whole loop is done.
    pub(crate) fn end(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv, by_stop_on: bool) -> LoopMove {
        let node = self.position.node.clone();
        if node.step.loops() {
            cx.run.watch(&node).loop_ended(self.position.page_in_slice(), by_stop_on);
            let max = cx.run.definition.max_loops;
            cx.run.warn_if_near(PlanLimit::Loops { same_answers: 0 }, self.counted_pages(), max);
        }
        let next = match (&node.step.window, self.position.slice) {
            (Some(window), Some(slice)) => slice.next(window),
            (Some(_) | None, _) => None,
        };
        // Values that are not ordered are complete only behind the last slice.
        let ordered = node.step.cursor.as_ref().is_some_and(|cursor| cursor.ordered);
        if next.is_none() || ordered {
            self.save_watermark(cx, env);
        }
        let Some(next) = next else {
            let shared = std::mem::take(&mut self.shared_cursors);
            shared.into_iter().for_each(|cursor| cx.save_cursor(env, cursor.into()));
            return LoopMove::Done;
        };
        self.position.slice = Some(next);
        (self.uncounted_pages, self.position.pages_before_slice) = (self.position.page, self.position.page);
        (self.position.target, self.position.latest) =
            (PageTarget::First, HeldValue::uncounted(Value::null()));
        // A page that repeats the answer before it ends the slice without being left.
        self.position.retry = 0;
        self.rows_read = 0;
        // Every slice starts at its first page, so the same requests come again.
        (self.guard, self.answer) = (RepeatGuard::default(), None);
        cx.run.moved |= env.durable;
        LoopMove::Send
    }

    /// Returns an evaluator of the step's expressions on a response.
    pub(crate) fn evaluator<'a>(
        &'a self,
        cx: &'a EngineCx<'_>,
        env: &'a StepEnv,
        exchange: &'a PageExchange,
    ) -> ResponseEvaluator<'a> {
        ResponseEvaluator { run: cx.run, env, position: &self.position, exchange }
    }

    /// Creates an error that is not about a request.
    pub(crate) fn error(&self, cx: &EngineCx<'_>, env: &StepEnv, detail: ErrorDetail) -> StepExit {
        let location = self.position.location(env);
        StepError::new(&cx.run.redactor, location, detail, ErrorContext::default()).into()
    }
}
