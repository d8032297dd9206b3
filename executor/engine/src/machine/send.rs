//! From the beginning of a step, a pass or a further try to a request on its way.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_plan::{OnLimit, OnRepeat, PaginationOverrides, RenderedRequest};
use url::Url;

use super::cx::Cx;
use super::env::Env;
use super::flow::{Flow, Idle};
use super::halt::{About, Fault, Halt, Limit, What};
use super::paginate::{self, Pointer, fingerprint};
use super::reach::Reach;
use super::slices::Slices;
use super::step_run::{Doing, Sent, StepRun};
use super::{conditional, scope};
use crate::error::ErrorClass;
use crate::message::exchange::SentRequest;
use crate::request::{RedirectPolicy, Request};

impl StepRun {
    /// Begins the step, or goes on with it where a checkpoint says.
    pub(super) fn start(&mut self, cx: &mut Cx<'_>, env: &mut Env) -> Result<Flow, Halt> {
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
    fn enter(&mut self, cx: &mut Cx<'_>, env: &Env) -> Result<Option<Flow>, Halt> {
        let step = self.node.step.clone();
        let eval = scope::eval_env(cx.run, env, self, cx.now);
        if let Some(condition) = &step.execute_if {
            let runs = condition.is_true(&scope::before(cx.run, env, self), &eval).map_err(|error| {
                self.plain_fault(cx, env, What::expression(format!("{}/execute_if", step.pointer), &error))
            })?;
            if !runs {
                return Ok(Some(Flow::Skipped));
            }
        }
        if let Some(cursor) = &step.cursor {
            let scope = scope::before(cx.run, env, self);
            let reach = Reach::begin(cx.run, &step.id, cursor, &scope, &eval);
            self.reach = Some(reach.map_err(|what| self.plain_fault(cx, env, what))?);
        }
        if let Some(window) = &step.window {
            let scope = scope::before(cx.run, env, self);
            self.slices =
                Slices::begin(window, &scope, &eval).map_err(|what| self.plain_fault(cx, env, what))?;
            if self.slices.is_none() {
                return Ok(Some(Flow::Done));
            }
        }
        Ok(None)
    }

    /// A fault without a request.
    pub(super) fn plain_fault(&self, cx: &Cx<'_>, env: &Env, what: What) -> Halt {
        Fault::new(cx.run, self.spot(env), what, About::default()).into()
    }

    /// Waits until the next try.
    pub(super) fn wait(&mut self, cx: &mut Cx<'_>, env: &Env, delay: Duration) -> Flow {
        let due: DateTime<Utc> = cx.now.wall + delay;
        self.due = Some(due);
        if delay <= cx.run.limits.park_after {
            self.doing = Doing::Waiting(cx.wait(delay));
            return Flow::Busy;
        }
        let reason = format!("retry {} of {}", self.retry, self.path(env));
        self.park(cx, Idle::until(due, reason))
    }

    fn park(&mut self, cx: &mut Cx<'_>, idle: Idle) -> Flow {
        cx.run.parking = true;
        self.doing = Doing::Parked(idle.clone());
        Flow::Idle(idle)
    }

    /// Stops at a limit of the plan. Where the plan lets it pass, what else is under way comes to its end first: every run
    /// comes further than the one before.
    pub(super) fn limited(&mut self, cx: &mut Cx<'_>, env: &Env, limit: Limit) -> Result<Flow, Halt> {
        match cx.run.definition.on_limit {
            OnLimit::Continue => Ok(self.park(cx, Idle::limited(limit))),
            OnLimit::Fail => Err(Halt::Limit(limit, Some(Box::new(self.spot(env))))),
        }
    }

    /// Renders the pass and sends it.
    pub(super) fn send(&mut self, cx: &mut Cx<'_>, env: &mut Env) -> Result<Flow, Halt> {
        self.doing = Doing::Nothing;
        self.due = None;
        let asked = cx.run.progress.counts.requests;
        if !cx.run.farewell && cx.run.definition.max_requests.is_some_and(|max| asked >= max) {
            return self.limited(cx, env, Limit::Requests);
        }
        if cx.run.time_left(cx.now).is_zero() {
            return Err(Halt::Limit(Limit::ExecutionTime, Some(Box::new(self.spot(env)))));
        }
        let node = self.node.clone();
        // A job has no request of its own; it is never run as a loop.
        let Some(template) = node.step.request() else { return Ok(Flow::Done) };
        let (scope, eval) = (scope::rendering(cx.run, env, self), scope::eval_env(cx.run, env, self, cx.now));
        let params = self.params();
        let url = if let Pointer::Url(url) = &self.pointer { Some(url.as_str()) } else { None };
        let mut rendered = template
            .render_with(
                &scope,
                &eval,
                &PaginationOverrides { url, params: &params, previous_url: self.home.as_ref() },
            )
            .map_err(|error| self.plain_fault(cx, env, What::rendering(error)))?;
        self.reach_out(cx, env, &rendered)?;
        let conditional = conditional::revalidate(cx.run, &node.step, &rendered.url, &mut rendered.headers);
        let (url, facts) = (rendered.url.clone(), facts_of(&rendered));

        let fingerprint = node.step.paginate.as_ref().map(|_| request_fingerprint(&rendered));
        if self.retry == 0
            && self.rows_done.is_none()
            && fingerprint.is_some_and(|fingerprint| self.guard.saw(fingerprint))
        {
            match self.repeated(cx, env, "the same request", &facts)? {
                Repeat::Stop => return self.loop_ended(cx, env, true),
                Repeat::GoOn => {}
            }
        }

        cx.run.progress.counts.requests += 1;
        cx.run.progress.counts.retries += u64::from(self.retry > 0);
        let request = self.request(cx, rendered);
        let try_id = cx.fetch(request);
        self.doing =
            Doing::Asking(Box::new(Sent { try_id, env: eval, scope, url, facts, fingerprint, conditional }));
        Ok(Flow::Busy)
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
    fn reach_out(&mut self, cx: &Cx<'_>, env: &Env, rendered: &RenderedRequest) -> Result<(), Halt> {
        // The plan's own url may change from pass to pass; one that an answer gave has to stay with it.
        let follows = matches!(self.pointer, Pointer::Url(_));
        let home = match self.home.take() {
            Some(home) if follows => home,
            Some(_) | None => rendered.url.clone(),
        };
        let allowed = RedirectPolicy::new(cx.run.hosts(&home)).check(&home, &rendered.url);
        // A host of the plan's own that was refused is kept nowhere: it may be a secret.
        self.home = Some(home).filter(|_| follows || allowed.is_ok());
        allowed.map_err(|refusal| {
            let what = What::host(format!("{}/url", self.step().pointer), refusal.to_string());
            let facts = facts_of(rendered);
            Fault::new(cx.run, self.spot(env), what, About { sent: Some(&facts), ..About::default() }).into()
        })
    }

    fn request(&self, cx: &Cx<'_>, rendered: RenderedRequest) -> Request {
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
    pub(super) fn allows(&self, cx: &Cx<'_>, from: &Url, next: &Url) -> Result<(), String> {
        let home = self.home.as_ref().unwrap_or(from);
        RedirectPolicy::new(cx.run.hosts(home)).check(from, next).map_err(|refusal| refusal.to_string())
    }

    /// What a repeat means: an error, the loop's end, or nothing.
    pub(super) fn repeated(
        &self,
        cx: &Cx<'_>,
        env: &Env,
        what: &str,
        facts: &SentRequest,
    ) -> Result<Repeat, Halt> {
        let Some(paginate) = &self.step().paginate else { return Ok(Repeat::GoOn) };
        match paginate.on_repeat {
            OnRepeat::Allow => Ok(Repeat::GoOn),
            OnRepeat::Stop => Ok(Repeat::Stop),
            OnRepeat::Fail => {
                let what = What {
                    class: ErrorClass::Permanent,
                    code: "LOOP_DETECTED",
                    pointer: paginate.pointer.clone(),
                    message: format!("the loop came to {what} a second time after {} passes", self.pass()),
                };
                let about = About { sent: Some(facts), ..About::default() };
                Err(Fault::new(cx.run, self.spot(env), what, about).into())
            }
        }
    }
}

/// What a repeat means where it is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
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
