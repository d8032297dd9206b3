//! From the beginning of a step, a pass or a further try to a request on its way.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_plan::{OnLimit, OnRepeat, PaginationOverrides, RenderedRequest};
use url::Url;

use crate::rules::pagination as paginate;
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::plan_limit::PlanLimit;
use crate::state::status::{DeferredWait, StepStatus};
use crate::state::step_env::StepEnv;

use crate::checkpoint::loop_parts::PageTarget;
use crate::error::ErrorClass;
use crate::message::exchange::SentRequest;
use crate::request::{RedirectPolicy, Request};
use crate::rules::conditional;
use crate::rules::repeat_guard::fingerprint;
use crate::rules::watermark::Watermark;
use crate::rules::window::WindowSlices;
use crate::step::execution::{InFlightTry, StepExecution, StepPhase};
use crate::step::variables as scope;

impl StepExecution {
    /// Begins the step, or goes on with it where a checkpoint says.
    pub(crate) fn start(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        if !self.asked {
            if let Some(flow) = self.enter(cx, env)? {
                return Ok(flow);
            }
            self.asked = true;
        }
        match self.due.take() {
            Some(due) if due > cx.now.wall => {
                let delay = (due - cx.now.wall).to_std().unwrap_or_default();
                Ok(self.wait(cx, env, delay))
            }
            Some(_) | None => self.send(cx, env),
        }
    }

    /// `execute_if`, then the cursor and the first slice; an answer where there is nothing to run.
    fn enter(&mut self, cx: &mut EngineCx<'_>, env: &StepEnv) -> Result<Option<StepStatus>, StepExit> {
        let step = self.node.step.clone();
        let eval = scope::eval_env(cx.run, env, self, cx.now);
        if let Some(condition) = &step.execute_if {
            let runs = condition.is_true(&scope::before(cx.run, env, self), &eval).map_err(|error| {
                self.plain_fault(
                    cx,
                    env,
                    ErrorDetail::expression(format!("{}/execute_if", step.pointer), &error),
                )
            })?;
            if !runs {
                return Ok(Some(StepStatus::Skipped));
            }
        }
        if let Some(cursor) = &step.cursor {
            let scope = scope::before(cx.run, env, self);
            let reach = Watermark::begin(cx.run, &step.id, cursor, &scope, &eval);
            self.reach = Some(reach.map_err(|what| self.plain_fault(cx, env, what))?);
        }
        if let Some(window) = &step.window {
            let scope = scope::before(cx.run, env, self);
            self.slices =
                WindowSlices::begin(window, &scope, &eval).map_err(|what| self.plain_fault(cx, env, what))?;
            if self.slices.is_none() {
                return Ok(Some(StepStatus::Done));
            }
        }
        Ok(None)
    }

    /// A fault without a request.
    pub(crate) fn plain_fault(&self, cx: &EngineCx<'_>, env: &StepEnv, what: ErrorDetail) -> StepExit {
        StepError::new(&cx.run.redactor, self.location(env), what, ErrorContext::default()).into()
    }

    /// Waits until the next try.
    pub(crate) fn wait(&mut self, cx: &mut EngineCx<'_>, env: &StepEnv, delay: Duration) -> StepStatus {
        let due: DateTime<Utc> = cx.now.wall + delay;
        self.due = Some(due);
        if delay <= cx.run.limits.park_after {
            self.doing = StepPhase::AwaitingRetry(cx.start_timer(delay));
            return StepStatus::InFlight;
        }
        let reason = format!("retry {} of {}", self.retry, self.path(env));
        self.park(cx, DeferredWait::until(due, reason))
    }

    fn park(&mut self, cx: &mut EngineCx<'_>, idle: DeferredWait) -> StepStatus {
        cx.run.parking = true;
        self.doing = StepPhase::Deferred(idle.clone());
        StepStatus::Deferred(idle)
    }

    /// Stops at a limit of the plan. Where the plan lets it pass, what else is under way comes to its end first: every run
    /// comes further than the one before.
    pub(crate) fn limited(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &StepEnv,
        limit: PlanLimit,
    ) -> Result<StepStatus, StepExit> {
        match cx.run.definition.on_limit {
            OnLimit::Continue => Ok(self.park(cx, DeferredWait::limited(limit))),
            OnLimit::Fail => Err(StepExit::Limit(limit, Some(Box::new(self.location(env))))),
        }
    }

    /// Renders the pass and sends it.
    pub(crate) fn send(&mut self, cx: &mut EngineCx<'_>, env: &mut StepEnv) -> Result<StepStatus, StepExit> {
        self.doing = StepPhase::Idle;
        self.due = None;
        let asked = cx.run.progress.counts.requests;
        if !cx.run.farewell && cx.run.definition.max_requests.is_some_and(|max| asked >= max) {
            return self.limited(cx, env, PlanLimit::Requests);
        }
        if cx.run.time_left(cx.now).is_zero() {
            return Err(StepExit::Limit(PlanLimit::ExecutionTime, Some(Box::new(self.location(env)))));
        }
        let node = self.node.clone();
        // A job has no request of its own; it is never run as a loop.
        let Some(template) = node.step.request() else { return Ok(StepStatus::Done) };
        let (scope, eval) = (scope::rendering(cx.run, env, self), scope::eval_env(cx.run, env, self, cx.now));
        let params = self.params();
        let url = if let PageTarget::Url(url) = &self.pointer { Some(url.as_str()) } else { None };
        let mut rendered = template
            .render_with(
                &scope,
                &eval,
                &PaginationOverrides { url, params: &params, previous_url: self.home.as_ref() },
            )
            .map_err(|error| self.plain_fault(cx, env, ErrorDetail::rendering(error)))?;
        self.reach_out(cx, env, &rendered)?;
        let conditional = conditional::revalidate(cx.run, &node.step, &rendered.url, &mut rendered.headers);
        let (url, facts) = (rendered.url.clone(), facts_of(&rendered));

        let fingerprint = node.step.paginate.as_ref().map(|_| request_fingerprint(&rendered));
        if self.retry == 0
            && self.rows_done.is_none()
            && fingerprint.is_some_and(|fingerprint| self.guard.saw(fingerprint))
        {
            match self.repeated(cx, env, "the same request", &facts)? {
                RepeatAction::Stop => return self.loop_ended(cx, env, true),
                RepeatAction::GoOn => {}
            }
        }

        cx.run.progress.counts.requests += 1;
        cx.run.progress.counts.retries += u64::from(self.retry > 0);
        let request = self.request(cx, rendered);
        let try_id = cx.fetch(request);
        self.doing = StepPhase::AwaitingResponse(Box::new(InFlightTry {
            try_id,
            env: eval,
            scope,
            url,
            facts,
            fingerprint,
            conditional,
        }));
        Ok(StepStatus::InFlight)
    }

    /// What pagination, window and cursor add to the step's own parameters.
    fn params(&self) -> Vec<(String, String)> {
        let step = self.step();
        let mut params = Vec::new();
        if let (Some(window), Some(slices)) = (&step.window, self.slices) {
            params.extend(slices.params(window));
        }
        if let (Some(cursor), Some(reach)) = (&step.cursor, &self.reach)
            && let (Some(name), Some(text)) = (&cursor.param, reach.began().to_text())
        {
            params.push((name.clone(), text));
        }
        if let Some(paginate) = &step.paginate {
            params.extend(paginate::params(&paginate.kind, &self.pointer));
        }
        params
    }

    /// Refuses a url that the config does not let be reached. The first one becomes the step's home.
    fn reach_out(
        &mut self,
        cx: &EngineCx<'_>,
        env: &StepEnv,
        rendered: &RenderedRequest,
    ) -> Result<(), StepExit> {
        // The plan's own url may change from pass to pass; one that an answer gave has to stay with it.
        let follows = matches!(self.pointer, PageTarget::Url(_));
        let home = match self.home.take() {
            Some(home) if follows => home,
            Some(_) | None => rendered.url.clone(),
        };
        let allowed = RedirectPolicy::new(cx.run.hosts(&home)).check(&home, &rendered.url);
        // A host of the plan's own that was refused is kept nowhere: it may be a secret.
        self.home = Some(home).filter(|_| follows || allowed.is_ok());
        allowed.map_err(|refusal| {
            let what = ErrorDetail::host(format!("{}/url", self.step().pointer), refusal.to_string());
            let facts = facts_of(rendered);
            StepError::new(
                &cx.run.redactor,
                self.location(env),
                what,
                ErrorContext { sent: Some(&facts), ..ErrorContext::default() },
            )
            .into()
        })
    }

    fn request(&self, cx: &EngineCx<'_>, rendered: RenderedRequest) -> Request {
        let rules = self.step();
        let home = self.home.as_ref().unwrap_or(&rendered.url);
        Request {
            method: rendered.method.as_str(),
            redirects: RedirectPolicy::new(cx.run.hosts(home)),
            url: rendered.url,
            headers: rendered.headers,
            body: rendered.body,
            timeout: rules.timeout,
            max_body_bytes: rules.response.max_bytes.min(cx.run.limits.body_max_bytes),
            max_stream_bytes: rules.response.max_bytes,
            decompress: rules.response.decompress,
            streaming: self.node.pieces,
        }
    }

    /// Whether the next page's url may follow this request; the error says why not.
    pub(crate) fn allows(&self, cx: &EngineCx<'_>, from: &Url, next: &Url) -> Result<(), String> {
        let home = self.home.as_ref().unwrap_or(from);
        RedirectPolicy::new(cx.run.hosts(home)).check(from, next).map_err(|refusal| refusal.to_string())
    }

    /// What a repeat means: an error, the loop's end, or nothing.
    pub(crate) fn repeated(
        &self,
        cx: &EngineCx<'_>,
        env: &StepEnv,
        what: &str,
        facts: &SentRequest,
    ) -> Result<RepeatAction, StepExit> {
        let Some(paginate) = &self.step().paginate else { return Ok(RepeatAction::GoOn) };
        match paginate.on_repeat {
            OnRepeat::Allow => Ok(RepeatAction::GoOn),
            OnRepeat::Stop => Ok(RepeatAction::Stop),
            OnRepeat::Fail => {
                let what = ErrorDetail {
                    class: ErrorClass::Permanent,
                    code: "LOOP_DETECTED",
                    pointer: paginate.pointer.clone(),
                    message: format!("the loop came to {what} a second time after {} passes", self.pass()),
                };
                let about = ErrorContext { sent: Some(facts), ..ErrorContext::default() };
                Err(StepError::new(&cx.run.redactor, self.location(env), what, about).into())
            }
        }
    }
}

/// What a repeat means where it is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RepeatAction {
    Stop,
    GoOn,
}

fn request_fingerprint(rendered: &RenderedRequest) -> u64 {
    let body = rendered.body.as_deref().unwrap_or_default();
    fingerprint(&[b"request", rendered.method.as_str().as_bytes(), rendered.url.as_str().as_bytes(), body])
}

fn facts_of(rendered: &RenderedRequest) -> SentRequest {
    SentRequest {
        url: Some(rendered.url.to_string()),
        method: Some(rendered.method.as_str()),
        headers: rendered.headers.clone(),
        body: rendered.body.clone(),
    }
}
