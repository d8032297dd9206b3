//! Runs one step: sends the requests of its loop, applies their responses, and carries out what follows.
//!
//! A request goes out in `send`. Its response arrives in [`StepExecution::deliver`], is judged in `judge`, and has its
//! consequences in `act_on`. A success becomes a [`Page`], which takes the events of its rows until it is done; then
//! `end_page` writes its results and continues the loop with the next `send`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use orchid_plan::{OnLimit, ScopeName, Value};

use crate::body::{Body, RowReader};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::to_bytes;
use crate::checkpoint::step_state::LoopState;
use crate::input::TimerId;
use crate::message::exchange::SentRequest;
use crate::page::exchange::PageExchange;
use crate::page::rows::{FinishedPage, Page, PageProgress, PageStart};
use crate::page::sub_steps::{PendingCancel, SubSteps};
use crate::program::node::StepNode;
use crate::rules::conditional;
use crate::rules::outcome::{TryDecision, TryFailure, TryVerdict};
use crate::rules::retry;
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::event::StepEvent;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::location::StepLocation;
use crate::state::plan_limit::PlanLimit;
use crate::state::status::{DeferredWait, StepStatus};
use crate::state::step_env::StepEnv;
use crate::step::failure;
use crate::step::judged::JudgedResponse;
use crate::step::page_loop::{LoopEntry, LoopMove, PageLoop};
use crate::step::page_slot::PageSlot;
use crate::step::position::LoopPosition;
use crate::step::receiver::{Reception, ResponseReceiver};
use crate::step::variables;

/// A step in progress. `S` are the sub-steps of its rows.
pub(crate) struct StepExecution<S> {
    page_loop: PageLoop,
    /// Whether `execute_if` was evaluated, and was true.
    entered: bool,
    /// Whether the latest response was ignored.
    ignored: bool,
    /// The latest response, if an async job judges it.
    judged: Option<Box<JudgedResponse>>,
    slot: PageSlot<S>,
    phase: StepPhase,
}

/// What a step waits for.
enum StepPhase {
    /// Nothing: it is about to act.
    Idle,
    /// The response to a try.
    AwaitingResponse(Box<ResponseReceiver>),
    /// The rows of a page.
    Page,
    /// The time of the next try.
    AwaitingRetry(TimerId),
    /// The same, longer than an executor holds an execution; or the next execution.
    Deferred(DeferredWait),
}

impl<S: SubSteps> StepExecution<S> {
    /// Creates a step at its beginning, for a `for_each` item if it runs for one.
    pub(crate) fn new(node: &Arc<StepNode>, item: Option<u64>) -> Self {
        Self::with_loop(PageLoop::new(node, item), PageSlot::new(None, Vec::new()))
    }

    /// Creates a poll of an async job: the page with this number, which reads the response of the poll before it.
    pub(crate) fn poll(node: &Arc<StepNode>, page: u64, latest: Value) -> Self {
        Self::with_loop(PageLoop::poll(node, page, latest), PageSlot::new(None, Vec::new()))
    }

    /// Creates a step at a page whose number an async job counts.
    pub(crate) fn at_page(node: &Arc<StepNode>, page: u64) -> Self {
        let mut page_loop = PageLoop::new(node, None);
        page_loop.rewind_to(page);
        Self::with_loop(page_loop, PageSlot::new(None, Vec::new()))
    }

    fn with_loop(page_loop: PageLoop, slot: PageSlot<S>) -> Self {
        Self { page_loop, entered: false, ignored: false, judged: None, slot, phase: StepPhase::Idle }
    }

    /// Restores a step from a checkpoint.
    ///
    /// # Errors
    /// Fails if the state is not one that [`StepExecution::state`] wrote.
    pub(crate) fn resume(
        node: &Arc<StepNode>,
        item: Option<u64>,
        state: LoopState,
    ) -> Result<Self, CheckpointError> {
        let page_loop = PageLoop::resume(node, item, &state)?;
        let gathered = state.gathered.iter().map(|row| to_bytes(row)).collect();
        let mut step = Self::with_loop(page_loop, PageSlot::new(state.rows, gathered));
        step.entered = state.entered;
        Ok(step)
    }

    /// Returns the state for a checkpoint. A try in flight counts as not sent. `whole` includes the rows in flight.
    pub(crate) fn state(&self, whole: bool) -> Result<LoopState, CheckpointError> {
        // Upstreams may work on async jobs below: without those rows, the jobs would be submitted twice.
        let (rows, gathered) = self.slot.state(whole || self.node().jobs_below)?;
        Ok(LoopState { rows, gathered, ..self.page_loop.state(self.entered)? })
    }

    /// Starts the step, or continues it where a checkpoint left it.
    ///
    /// # Errors
    /// Fails if an expression fails, the request is not permitted, or a limit is reached.
    pub(crate) fn start(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        if !self.entered {
            match self.page_loop.enter(cx, env)? {
                LoopEntry::Run => self.entered = true,
                LoopEntry::Skip => return Ok(StepStatus::Skipped),
                LoopEntry::Empty => return Ok(StepStatus::Done),
            }
        }
        match self.page_loop.take_due() {
            Some(due) if due > cx.now.wall => {
                let delay = (due - cx.now.wall).to_std().unwrap_or_default();
                Ok(self.wait(cx, env, delay))
            }
            Some(_) | None => self.send(cx, env),
        }
    }

    /// Handles an event for this step, or for a step below it at `route`. Events that it does not wait for change nothing.
    ///
    /// # Errors
    /// Fails if the response is an error that the plan does not tolerate, or the execution cannot continue.
    pub(crate) fn deliver(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        route: &[u64],
        event: StepEvent,
    ) -> Result<StepStatus, StepExit> {
        if let Some(page) = self.slot.page_mut() {
            let progress = page.deliver(cx, route, event)?;
            return self.page_came_to(cx, env, progress);
        }
        match (std::mem::replace(&mut self.phase, StepPhase::Idle), event) {
            (StepPhase::AwaitingResponse(receiver), event) => {
                match receiver.receive(cx, self.node(), self.retries_left(), event) {
                    Reception::Complete(exchange) => self.judge(cx, env, exchange),
                    Reception::Pending(receiver) => {
                        self.phase = StepPhase::AwaitingResponse(receiver);
                        Ok(StepStatus::InFlight)
                    }
                }
            }
            (StepPhase::AwaitingRetry(timer), StepEvent::TimerFired { timer_id }) if timer == timer_id => {
                self.send(cx, env)
            }
            (StepPhase::Deferred(wait), _) => {
                self.phase = StepPhase::Deferred(wait.clone());
                Ok(StepStatus::Deferred(wait))
            }
            (phase, _) => {
                self.phase = phase;
                Ok(StepStatus::InFlight)
            }
        }
    }

    /// Waits until the next try is due.
    fn wait(&mut self, cx: &mut EngineCx<'_>, env: &StepEnv, delay: Duration) -> StepStatus {
        let due: DateTime<Utc> = cx.now.wall + delay;
        self.page_loop.set_due(due);
        if delay <= cx.run.limits.park_after {
            self.phase = StepPhase::AwaitingRetry(cx.start_timer(delay));
            return StepStatus::InFlight;
        }
        let position = self.position();
        let reason = format!("retry {} of {}", position.retry, position.path(env));
        self.defer(cx, DeferredWait::until(due, reason))
    }

    fn defer(&mut self, cx: &mut EngineCx<'_>, wait: DeferredWait) -> StepStatus {
        // Rows elsewhere may still end, but none may start: the execution is about to be parked.
        cx.run.parking = true;
        self.phase = StepPhase::Deferred(wait.clone());
        StepStatus::Deferred(wait)
    }

    /// Stops at a limit of the plan. If the plan permits that, everything else in flight ends first: each execution gets
    /// further than the one before.
    fn limited(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &StepEnv,
        limit: PlanLimit,
    ) -> Result<StepStatus, StepExit> {
        match cx.run.definition.on_limit {
            OnLimit::Continue => Ok(self.defer(cx, DeferredWait::limited(limit))),
            OnLimit::Fail => Err(StepExit::Limit(limit, Some(Box::new(self.location(env))))),
        }
    }

    /// Sends the request of the page.
    fn send(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        self.phase = StepPhase::Idle;
        // A try that was due is no longer: a checkpoint taken from here on repeats it at once.
        let _due = self.page_loop.take_due();
        let requests = cx.run.progress.counts.requests;
        // Async jobs have to be cancelled even after the limit.
        if !cx.run.cancelling && cx.run.definition.max_requests.is_some_and(|max| requests >= max) {
            return self.limited(cx, env, PlanLimit::Requests);
        }
        if cx.run.time_left(cx.now).is_zero() {
            return Err(StepExit::Limit(PlanLimit::ExecutionTime, Some(Box::new(self.location(env)))));
        }
        // An async job has no request of its own, and never runs as a loop.
        if self.node().step.request().is_none() {
            return Ok(StepStatus::Done);
        }
        match self.page_loop.send(cx, env, self.slot.is_resuming())? {
            Some(sent) => {
                self.phase = StepPhase::AwaitingResponse(Box::new(ResponseReceiver::new(sent)));
                Ok(StepStatus::InFlight)
            }
            None => {
                let end = self.page_loop.end(cx, env, true);
                self.follow(cx, env, end)
            }
        }
    }

    fn follow(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        next: LoopMove,
    ) -> Result<StepStatus, StepExit> {
        match next {
            LoopMove::Send => self.send(cx, env),
            LoopMove::Limited(limit) => self.limited(cx, env, limit),
            LoopMove::Done => Ok(StepStatus::Done),
        }
    }

    /// Applies the outcome table to a response.
    fn judge(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut exchange: PageExchange,
    ) -> Result<StepStatus, StepExit> {
        // A 304 is an answer only to validators that were sent; otherwise the outcome table treats it like any status.
        let revalidates = exchange.sent.revalidation.as_ref().is_some_and(|sent| sent.revalidates);
        if exchange.response.tried.status == Some(304) && revalidates {
            self.page_loop.set_latest(exchange.response.value);
            cx.run.moved |= env.durable;
            return Ok(StepStatus::Skipped);
        }
        let decision = self.decide(cx, env, &mut exchange)?;
        self.act_on(cx, env, exchange, decision)
    }

    fn decide(
        &self,
        cx: &EngineCx<'_>,
        env: &StepEnv,
        exchange: &mut PageExchange,
    ) -> Result<TryDecision, StepExit> {
        exchange.sent.scope.set(ScopeName::Response, exchange.response.value.clone());
        self.page_loop.evaluator(cx, env, exchange).decide()
    }

    /// Carries out what the outcome table decided.
    fn act_on(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        exchange: PageExchange,
        decision: TryDecision,
    ) -> Result<StepStatus, StepExit> {
        let (step, response) = (&self.node().step, &exchange.response);
        if decision.verdict != TryVerdict::Success
            && let Some((_, try_id)) = &response.stream
        {
            cx.discard(*try_id);
        }
        match decision.verdict {
            TryVerdict::Abort(cause) => {
                let detail = failure::abort_detail(step, cause, response);
                Err(self.page_loop.evaluator(cx, env, &exchange).error(detail))
            }
            TryVerdict::Fail => {
                let detail = failure::failure_detail(step, response, decision.transient);
                Err(self.page_loop.evaluator(cx, env, &exchange).error(detail))
            }
            TryVerdict::Retry => {
                let number = variables::random_number(cx.run, env, self.position(), b"jitter");
                let draw = number as f64 / u64::MAX as f64;
                let delay = retry::delay(&step.retry, self.position().retry, response.retry_after, draw);
                self.page_loop.retry();
                Ok(self.wait(cx, env, delay))
            }
            TryVerdict::Ignore => {
                let detail = failure::failure_detail(step, response, decision.transient);
                let error = exchange.error(&cx.run.redactor, self.location(env), detail);
                cx.run.left_out();
                cx.emit_error(error, true);
                self.slot.set_resume(None);
                self.end_ignored_page(cx, env, exchange)
            }
            TryVerdict::Success => {
                if let Body::Json { text, .. } = &response.body {
                    cx.run.watch(self.node()).look(text);
                }
                self.start_page(cx, env, exchange)
            }
        }
    }

    /// Starts the page of a successful response.
    fn start_page(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut exchange: PageExchange,
    ) -> Result<StepStatus, StepExit> {
        let writes = self.page_loop.evaluator(cx, env, &exchange).context_writes()?;
        if let Some((context, _)) = &writes {
            exchange.sent.scope.set(ScopeName::Context, context.object().clone());
        }
        let stream = exchange.response.stream.take();
        exchange.response.streamed |= stream.is_some();
        let evaluator = self.page_loop.evaluator(cx, env, &exchange);
        let extracted = evaluator.extracted_data()?;
        let rows = match stream {
            Some((decoder, try_id)) => Some((RowReader::from_decoder(decoder), Some(try_id))),
            None => evaluator.rows()?.map(|rows| (rows, None)),
        };
        let context = writes.as_ref().map(|(context, _)| context);
        let row_env = variables::sub_step_env(env, self.position(), &exchange, context, rows.is_some());
        let start = PageStart {
            node: self.node().clone(),
            exchange,
            durable: env.durable,
            writes,
            extracted,
            rows,
            row_env,
            resume: self.slot.take_resume(),
        };
        self.phase = StepPhase::Page;
        let page = Page::new(cx.run, self.location(env), start);
        let progress = self.slot.start(page).advance(cx)?;
        self.page_came_to(cx, env, progress)
    }

    /// Continues from what the page came to.
    fn page_came_to(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        progress: PageProgress,
    ) -> Result<StepStatus, StepExit> {
        if let PageProgress::Waiting(status) = progress {
            return Ok(status);
        }
        let Some(page) = self.slot.take_page() else { return Ok(StepStatus::InFlight) };
        self.phase = StepPhase::Idle;
        match progress {
            PageProgress::Waiting(status) => Ok(status),
            PageProgress::Done => {
                let finished = page.finish(cx)?;
                self.end_page(cx, env, finished)
            }
            PageProgress::RowsChanged => self.restart_page(cx, env, *page),
            PageProgress::Broken(failure, problem) => self.page_broke(cx, env, page, failure, problem),
        }
    }

    /// Repeats the page from its first row, because its settled rows are no longer the same.
    fn restart_page(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        page: Page<S>,
    ) -> Result<StepStatus, StepExit> {
        // The rows gathered from the settled part are read once more.
        self.slot.forget_gathered(page.settled_before());
        if let Some(try_id) = page.open_try() {
            cx.discard(try_id);
            return self.send(cx, env);
        }
        let (exchange, _) = page.into_exchange();
        self.start_page(cx, env, exchange)
    }

    /// The body broke off while its rows were read: it is judged like any other try, and a retry continues behind the last
    /// settled row.
    fn page_broke(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut page: Box<Page<S>>,
        failure: TryFailure,
        problem: String,
    ) -> Result<StepStatus, StepExit> {
        if let Some(try_id) = page.open_try() {
            cx.discard(try_id);
        }
        page.fail(failure, problem, self.retries_left());
        let decision = self.decide(cx, env, page.exchange_mut())?;
        if matches!(decision.verdict, TryVerdict::Fail | TryVerdict::Abort(_)) {
            // Without a retry, no later attempt emits the rows before the break.
            page.emit_finished(cx)?;
        }
        self.slot.set_resume(page.state(true).unwrap_or_default());
        let (exchange, gathered) = page.into_exchange();
        self.slot.gather(gathered);
        self.act_on(cx, env, exchange, decision)
    }

    /// Ends a page whose rows are finished.
    fn end_page(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        page: FinishedPage,
    ) -> Result<StepStatus, StepExit> {
        let FinishedPage { mut exchange, writes, row_writes, row_cursors, rows, stream_found, gathered } =
            page;
        self.slot.gather(gathered);
        if let Some(found) = stream_found {
            cx.run.watch(self.node()).streamed(found);
        }
        cx.run.progress.counts.pages += 1;
        self.save_validator(cx, env, &exchange);
        let writes = self.page_loop.evaluator(cx, env, &exchange).merge_row_writes(writes, row_writes)?;
        self.observe_rows(cx, &exchange, rows);
        if let Some((context, _)) = &writes {
            // `while`, `break_when` and the cursor see what the rows wrote.
            exchange.sent.scope.set(ScopeName::Context, context.object().clone());
        }
        self.page_loop.advance_watermark(cx, env, &exchange)?;
        let next = self.page_loop.next_page(cx, env, &exchange, rows)?;
        // Nothing fails from here on. A page that fails is repeated, and must not have written before.
        if let Some((context, changes)) = writes {
            env.take(context, changes);
        }
        row_cursors.into_iter().for_each(|cursor| cx.save_cursor(env, cursor));
        self.leave_page(cx, env, exchange, false);
        let next = self.page_loop.proceed(cx, env, next);
        self.follow(cx, env, next)
    }

    /// Ends a page whose response is ignored: it has no rows and no message, but it may write to the context.
    fn end_ignored_page(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut exchange: PageExchange,
    ) -> Result<StepStatus, StepExit> {
        let writes = self.page_loop.evaluator(cx, env, &exchange).context_writes()?;
        if let Some((context, _)) = &writes {
            exchange.sent.scope.set(ScopeName::Context, context.object().clone());
        }
        let next = self.page_loop.next_page(cx, env, &exchange, None)?;
        if let Some((context, changes)) = writes {
            env.take(context, changes);
        }
        self.leave_page(cx, env, exchange, true);
        let next = self.page_loop.proceed(cx, env, next);
        self.follow(cx, env, next)
    }

    fn leave_page(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        exchange: PageExchange,
        ignored: bool,
    ) {
        if self.node().judged {
            self.judged = Some(Box::new(JudgedResponse::new(&exchange)));
        }
        self.slot.set_resume(None);
        self.ignored = ignored;
        self.page_loop.leave_page(cx, env, exchange.response.value, exchange.sent.fingerprint);
    }

    fn save_validator(&self, cx: &mut EngineCx<'_>, env: &mut StepEnv, exchange: &PageExchange) {
        let sent = exchange.sent.revalidation.as_ref();
        let (Some(sent), Some(headers)) = (sent, &exchange.response.facts.headers) else { return };
        if let Some(change) = conditional::validator(cx.run, &self.node().step, &sent.url_name, headers) {
            cx.save_cursor(env, change);
        }
    }

    /// Observes the number of rows, for the warnings at the end of the execution.
    fn observe_rows(&self, cx: &mut EngineCx<'_>, exchange: &PageExchange, rows: Option<u64>) {
        let (Some(rules), Some(rows)) = (&self.node().step.rows, rows) else { return };
        let unfiltered = rules.unfiltered.as_ref().filter(|_| rows == 0).and_then(|expr| {
            let value = expr.eval(&exchange.sent.scope, &exchange.sent.env).ok()?;
            value.items().map(|items| items.len() as u64)
        });
        cx.run.watch(self.node()).page(rows, unfiltered);
    }

    /// Emits finished rows that wait for a fuller message.
    pub(crate) fn flush(&mut self, cx: &mut EngineCx<'_>) {
        self.slot.flush(cx);
    }

    /// Moves the cancel requests of all async jobs below this step into `found`.
    pub(crate) fn take_cancels(&mut self, env: &StepEnv, found: &mut Vec<PendingCancel>) {
        let position = self.page_loop.position();
        self.slot.take_cancels(&position.node, env, &position.path(env), found);
    }

    /// Returns whether an upstream works on an async job below this step that can be cancelled.
    pub(crate) fn works_upstream(&self) -> bool {
        self.slot.works_upstream()
    }

    /// Returns the request of the try or page in progress.
    pub(crate) fn request_in_progress(&self) -> Option<&SentRequest> {
        match &self.phase {
            StepPhase::AwaitingResponse(receiver) => Some(receiver.request()),
            StepPhase::Page => self.slot.page().map(Page::request),
            StepPhase::Idle | StepPhase::AwaitingRetry(_) | StepPhase::Deferred(_) => None,
        }
    }

    /// Returns the location of the current page.
    pub(crate) fn location(&self, env: &StepEnv) -> StepLocation {
        self.position().location(env)
    }

    /// Returns the position of the loop.
    pub(crate) fn position(&self) -> &LoopPosition {
        self.page_loop.position()
    }

    fn node(&self) -> &Arc<StepNode> {
        &self.position().node
    }

    fn retries_left(&self) -> bool {
        self.position().retry < self.node().step.retry.max_retries
    }

    /// Returns whether the latest response was ignored.
    pub(crate) fn is_ignored(&self) -> bool {
        self.ignored
    }

    /// Returns the last response, and takes the rows for the enclosing row.
    pub(crate) fn take_results(&mut self) -> (Value, Vec<Bytes>) {
        (self.position().latest.clone(), self.slot.take_gathered())
    }

    /// Moves a finished poll back into its page, so that expressions about it see that page; returns the number of polls.
    pub(crate) fn rewind_to(&mut self, page: u64) -> u64 {
        self.page_loop.rewind_to(page)
    }

    /// Creates an error about the latest response, which an async job judges.
    pub(crate) fn judged_error(&self, cx: &EngineCx<'_>, env: &StepEnv, detail: ErrorDetail) -> StepExit {
        let context =
            self.judged.as_deref().map_or_else(ErrorContext::default, JudgedResponse::error_context);
        StepError::new(&cx.run.redactor, self.location(env), detail, context).into()
    }

    /// Creates an error that is not about a request.
    pub(crate) fn error(&self, cx: &EngineCx<'_>, env: &StepEnv, detail: ErrorDetail) -> StepExit {
        self.page_loop.error(cx, env, detail)
    }
}
