//! Runs one step: sends the requests of its loop, applies their responses, and carries out what
//! follows.
//!
//! A request goes out in `send`. Its response arrives in [`StepExecution::deliver`], is judged in
//! `judge`, and has its consequences in `act_on`. A success becomes a [`Page`], which takes the
//! events of its rows until it is done; then `end_page` writes its results and continues the loop
//! with the next `send`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orchid_plan::Value;

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::to_bytes;
use crate::checkpoint::step_state::LoopState;
use crate::message::exchange::SentRequest;
use crate::page::exchange::PageExchange;
use crate::page::progress::{FinishedPage, PageProgress, PageStart};
use crate::page::rows::Page;
use crate::page::sub_steps::{PendingCancel, SubSteps};
use crate::program::node::StepNode;
use crate::rules::outcome::{TryDecision, TryFailure, TryVerdict};
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::event::StepEvent;
use crate::state::exit::{StepError, StepExit};
use crate::state::plan_limit::PlanLimit;
use crate::state::status::StepStatus;
use crate::state::step_env::StepEnv;
use crate::step::continuation;
use crate::step::gaps;
use crate::step::judged::{HeldResponse, LatestResponse};
use crate::step::judgement::{self, Consequence};
use crate::step::page_loop::{LoopEntry, LoopMove, PageLoop};
use crate::step::page_results::{self, PageEnd};
use crate::step::page_slot::PageSlot;
use crate::step::page_start;
use crate::step::phase::StepPhase;
use crate::step::position::LoopPosition;
use crate::step::receiver::{Reception, ResponseReceiver};

/// A step in progress. `S` are the sub-steps of its rows.
pub(crate) struct StepExecution<S> {
    page_loop: PageLoop,
    /// True if `execute_if` was evaluated, and was true.
    entered: bool,
    latest: LatestResponse,
    slot: PageSlot<S>,
    phase: StepPhase,
}

impl<S: SubSteps> StepExecution<S> {
    /// Creates a step at its beginning, for a `for_each` item if it runs for one.
    pub(crate) fn new(node: &Arc<StepNode>, item: Option<u64>) -> Self {
        Self::with_loop(PageLoop::new(node, item), PageSlot::new(None, Vec::new()))
    }

    /// Creates a poll of an async job: the page with this number, which reads the response of the
    /// poll before it.
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
        let latest = LatestResponse::default();
        Self { page_loop, entered: false, latest, slot, phase: StepPhase::Idle }
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

    /// Returns the state for a checkpoint. A try in flight counts as not sent. `whole` includes the
    /// rows in flight.
    pub(crate) fn state(&self, whole: bool) -> Result<LoopState, CheckpointError> {
        // Upstreams may work on async jobs below: without those rows, the jobs would be submitted
        // twice.
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

    /// Handles an event for this step, or for a step below it at `route`. Events that it does not
    /// wait for change nothing.
    ///
    /// # Errors
    /// Fails if the response is an error that the plan does not tolerate, or the execution cannot
    /// continue.
    pub(crate) fn deliver(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        route: &[u64],
        event: StepEvent,
    ) -> Result<StepStatus, StepExit> {
        if let Some(page) = self.slot.page_mut() {
            // On an error the page stays in its slot, since the last checkpoint contains its rows.
            let progress = page.deliver(cx, route, event)?;
            return self.page_came_to(cx, env, progress);
        }
        match (std::mem::replace(&mut self.phase, StepPhase::Idle), event) {
            (StepPhase::AwaitingResponse(receiver), event) => {
                match receiver.receive(cx, self.node(), self.position().retries_left(), event) {
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
        self.page_loop.set_due(cx.now.wall + delay);
        let position = self.page_loop.position();
        self.phase = StepPhase::until_retry(cx, delay, || {
            format!("retry {} of {}", position.retry, position.path(env))
        });
        self.phase.status()
    }

    /// Stops at a limit of the plan.
    fn limited(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &StepEnv,
        limit: PlanLimit,
    ) -> Result<StepStatus, StepExit> {
        self.phase = StepPhase::at_limit(cx, limit, || self.position().location(env))?;
        Ok(self.phase.status())
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
            let location = Box::new(self.position().location(env));
            return Err(StepExit::Limit(PlanLimit::ExecutionTime, Some(location)));
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
        exchange: PageExchange,
    ) -> Result<StepStatus, StepExit> {
        if exchange.is_unmodified() {
            // Nothing is emitted, and no page is counted: the data of the last execution still
            // holds.
            self.page_loop.set_latest(exchange.response.value);
            cx.run.moved |= env.durable;
            return Ok(StepStatus::Skipped);
        }
        let decision = self.page_loop.evaluator(cx, env, &exchange).decide()?;
        self.act_on(cx, env, exchange, decision)
    }

    /// Carries out what the outcome table decided.
    fn act_on(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        exchange: PageExchange,
        decision: TryDecision,
    ) -> Result<StepStatus, StepExit> {
        let unused = exchange.response.stream.as_ref().filter(|_| decision.verdict != TryVerdict::Success);
        unused.into_iter().for_each(|(_, try_id)| cx.discard(*try_id));
        let evaluator = self.page_loop.evaluator(cx, env, &exchange);
        match judgement::consequence(&evaluator, decision) {
            Consequence::Exit(exit) => Err(exit),
            Consequence::Retry(delay) => {
                self.page_loop.retry();
                Ok(self.wait(cx, env, delay))
            }
            Consequence::Ignore(error) => {
                // An ignored page makes the execution partial, but not failed.
                cx.run.left_out();
                cx.emit_error(*error, true);
                self.slot.set_resume(None);
                self.end_ignored_page(cx, env, exchange)
            }
            Consequence::UsePage if self.node().result_in_poll => {
                let writes = evaluator.context_writes()?;
                self.page_loop.set_latest(exchange.response.value.clone());
                let node = &self.page_loop.position().node;
                self.latest.hold(node, HeldResponse { exchange, writes });
                Ok(StepStatus::Done)
            }
            Consequence::UsePage => self.start_page(cx, env, exchange),
        }
    }

    /// Takes the response that is held back until an async job has judged it.
    pub(crate) fn take_held(&mut self) -> Option<HeldResponse> {
        self.latest.take_held()
    }

    /// Starts the page of a successful response, unless it repeats the page before.
    ///
    /// # Errors
    /// Fails as [`StepExecution::deliver`] does.
    pub(crate) fn start_page(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut exchange: PageExchange,
    ) -> Result<StepStatus, StepExit> {
        if self.page_loop.repeats_answer(cx.run, &mut exchange) {
            return self.end_repeated(cx, env, &exchange);
        }
        let start = page_start::evaluate(cx, env, self.position(), exchange)?;
        let start = PageStart { resume: self.slot.take_resume(), ..start };
        self.phase = StepPhase::Page;
        let location = self.position().location(env);
        let progress = self.slot.start(Page::new(cx.run, location, start)).advance(cx)?;
        self.page_came_to(cx, env, progress)
    }

    /// Ends the loop at a page that repeats the one before it, if the plan permits that.
    fn end_repeated(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        exchange: &PageExchange,
    ) -> Result<StepStatus, StepExit> {
        continuation::stop_at_repeated_answer(&self.page_loop.evaluator(cx, env, exchange))?;
        self.slot.set_resume(None);
        let end = self.page_loop.end(cx, env, true);
        self.follow(cx, env, end)
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
                let finished = page.finish();
                self.end_page(cx, env, finished)
            }
            PageProgress::Repeated => self.end_repeated(cx, env, page.exchange()),
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
        // The body is still in memory: no second request is needed.
        let (exchange, _) = page.into_exchange();
        self.start_page(cx, env, exchange)
    }

    /// The body broke off while its rows were read: it is judged like any other try, and a retry
    /// continues behind the last settled row.
    fn page_broke(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut page: Box<Page<S>>,
        failure: TryFailure,
        problem: String,
    ) -> Result<StepStatus, StepExit> {
        page.open_try().into_iter().for_each(|try_id| cx.discard(try_id));
        page.fail(failure, problem, self.position().retries_left());
        let decision = self.page_loop.evaluator(cx, env, page.exchange()).decide()?;
        match decision.verdict {
            TryVerdict::Success => {
                gaps::accepted_failure(cx, env, self.position(), page.exchange());
                (self.phase, page) = (StepPhase::Page, page.accept_break());
                let progress = self.slot.start(*page).advance(cx)?;
                return self.page_came_to(cx, env, progress);
            }
            // Without a retry, no later attempt emits the rows before the break.
            TryVerdict::Fail | TryVerdict::Abort(_) => page.emit_finished(cx),
            TryVerdict::Retry | TryVerdict::Ignore => {}
        }
        // If the state cannot be written, the page is repeated as a whole: late, but not lost.
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
        mut page: FinishedPage,
    ) -> Result<StepStatus, StepExit> {
        self.slot.gather(std::mem::take(&mut page.gathered));
        let end = page_results::conclude(cx, env, &mut self.page_loop, page)?;
        self.leave_page(cx, env, end, false)
    }

    /// Ends a page whose response is ignored: it has no rows and no message, but it may write to
    /// the context.
    fn end_ignored_page(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        exchange: PageExchange,
    ) -> Result<StepStatus, StepExit> {
        let end = page_results::conclude_ignored(cx, env, &self.page_loop, exchange)?;
        self.leave_page(cx, env, end, true)
    }

    /// Saves what a page wrote, and moves to the next one. Nothing fails before the next request: a
    /// page that fails is repeated, and must not have written anything.
    fn leave_page(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        end: PageEnd,
        ignored: bool,
    ) -> Result<StepStatus, StepExit> {
        let PageEnd { exchange, writes, next } = end;
        if let Some((context, changes)) = writes.context {
            env.take(context, changes);
        }
        self.page_loop.save_row_cursors(cx, env, writes.cursors);
        self.latest.note(&self.page_loop.position().node, &exchange, ignored);
        self.slot.set_resume(None);
        self.page_loop.leave_page(cx, env, exchange);
        let next = self.page_loop.proceed(cx, env, next);
        self.follow(cx, env, next)
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
            _ => self.slot.page().map(|page| &page.exchange().sent.facts),
        }
    }

    /// Returns the position.
    pub(crate) fn position(&self) -> &LoopPosition {
        self.page_loop.position()
    }

    fn node(&self) -> &Arc<StepNode> {
        &self.position().node
    }

    /// Returns the latest response.
    pub(crate) fn latest(&self) -> &LatestResponse {
        &self.latest
    }

    /// Returns the last response, and takes the rows for the enclosing row.
    pub(crate) fn take_results(&mut self) -> (Value, Vec<Bytes>) {
        (Value::clone(&self.position().latest), self.slot.take_gathered())
    }

    /// Moves a finished poll back into its page, so that expressions about it see that page;
    /// returns the number of polls.
    pub(crate) fn rewind_to(&mut self, page: u64) -> u64 {
        // A response that is held back has not left its page.
        if self.latest.is_holding() { page + 1 } else { self.page_loop.rewind_to(page) }
    }

    /// Creates an error about the latest response, which an async job judges.
    pub(crate) fn judged_error(&self, cx: &EngineCx<'_>, env: &StepEnv, detail: ErrorDetail) -> StepExit {
        let (location, context) = (self.position().location(env), self.latest.error_context());
        StepError::new(&cx.run.redactor, location, detail, context).into()
    }

    /// Creates an error that is not about a request.
    pub(crate) fn error(&self, cx: &EngineCx<'_>, env: &StepEnv, detail: ErrorDetail) -> StepExit {
        self.page_loop.error(cx, env, detail)
    }
}
