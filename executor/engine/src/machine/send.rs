//! From the beginning of a pass, or of a further try, to a request on its way.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orchid_plan::{Action, OnRepeat, Overrides, RenderedRequest};
use url::Url;

use super::halt::{About, Fault, Halt, Limit, What};
use super::paginate::{self, Pointer, fingerprint};
use super::step_run::{Doing, Sent, StepRun};
use super::{Flow, Machine, scope};
use crate::error::ErrorClass;
use crate::input::Now;
use crate::message::exchange::SentFacts;
use crate::output::Output;
use crate::request::{Pieces, RedirectPolicy, Request};

impl Machine {
    /// Begins a step, or goes on with it where a checkpoint says.
    pub(super) fn start(
        &mut self,
        now: Now,
        step: &mut StepRun,
        out: &mut Vec<Output>,
    ) -> Result<Flow, Halt> {
        if !step.asked {
            if let Some(condition) = &step.step().execute_if {
                let (scope, env) = (scope::rendering(&self.run, step), scope::env(&self.run, step, now));
                let runs = condition.is_true(&scope, &env).map_err(|error| {
                    let what = What::expression(format!("{}/execute_if", step.step().pointer), &error);
                    Fault::new(&self.run, step, what, About::default())
                })?;
                if !runs {
                    return Ok(Flow::Skipped);
                }
            }
            step.asked = true;
        }
        match step.due.take() {
            Some(due) if due > now.wall => {
                let delay = (due - now.wall).to_std().unwrap_or_default();
                self.wait(now, step, delay, out)
            }
            Some(_) | None => self.send(now, step, out),
        }
    }

    /// Waits until the next try; a long wait parks the run.
    pub(super) fn wait(
        &mut self,
        now: Now,
        step: &mut StepRun,
        delay: Duration,
        out: &mut Vec<Output>,
    ) -> Result<Flow, Halt> {
        let due: DateTime<Utc> = now.wall + delay;
        step.due = Some(due);
        if delay <= self.run.limits.park_after {
            let wait_id = self.run.next_wait();
            step.doing = Doing::Waiting(wait_id);
            out.push(Output::Wait { wait_id, delay });
            return Ok(Flow::Busy);
        }
        let reason = format!("retry {} of {}", step.retry, step.path());
        Ok(Flow::Park { not_before: due, reason })
    }

    /// Renders the pass and sends it.
    pub(super) fn send(&mut self, now: Now, step: &mut StepRun, out: &mut Vec<Output>) -> Result<Flow, Halt> {
        step.doing = Doing::Nothing;
        step.due = None;
        let asked = self.run.progress.counts.requests;
        if self.run.definition.max_requests.is_some_and(|max| asked >= max) {
            return Err(Halt::Limit(Limit::Requests));
        }
        if self.run.time_left(now).is_zero() {
            return Err(Halt::Limit(Limit::ExecutionTime));
        }
        let (scope, env) = (scope::rendering(&self.run, step), scope::env(&self.run, step, now));
        let params =
            step.step().paginate.as_ref().map(|paginate| paginate::params(&paginate.kind, &step.pointer));
        let params = params.unwrap_or_default();
        let params: Vec<(&str, String)> =
            params.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let url = if let Pointer::Url(url) = &step.pointer { Some(url.as_str()) } else { None };
        let Action::Request(template) = &step.step().action else { return Ok(Flow::Done) };
        let rendered = template
            .render_with(&scope, &env, &Overrides { url, params: &params })
            .map_err(|error| Fault::new(&self.run, step, What::rendering(error), About::default()))?;
        let mut facts = facts_of(&rendered);
        let url = self.reachable(step, &rendered.url, &facts)?;
        facts.url = Some(url.to_string());

        let fingerprint = step.step().paginate.as_ref().map(|_| request_fingerprint(&rendered, &url));
        if step.retry == 0 && fingerprint.is_some_and(|fingerprint| step.guard.saw(fingerprint)) {
            match self.repeated(step, "the same request", &facts)? {
                Repeat::Stop => return Ok(Flow::Done),
                Repeat::GoOn => {}
            }
        }

        self.run.progress.counts.requests += 1;
        self.run.progress.counts.retries += u64::from(step.retry > 0);
        let try_id = self.run.next_try();
        let request = self.request(step, &rendered, url.clone());
        out.push(Output::Fetch { try_id, request });
        step.doing = Doing::Asking(Box::new(Sent { try_id, env, scope, url, facts, fingerprint }));
        Ok(Flow::Busy)
    }

    /// The url, if the config lets it be reached. The first one becomes the step's home.
    fn reachable(&self, step: &mut StepRun, text: &str, facts: &SentFacts) -> Result<Url, Halt> {
        let pointer = format!("{}/url", step.step().pointer);
        let about = || About { sent: Some(facts), ..About::default() };
        let url = Url::parse(text).map_err(|error| {
            let message = format!("the url does not parse: {error}");
            let what =
                What { class: ErrorClass::Config, code: "INVALID_URL", pointer: pointer.clone(), message };
            Fault::new(&self.run, step, what, about())
        })?;
        // The plan's own url may change from pass to pass; one that an answer gave has to stay with it.
        let follows = matches!(step.pointer, Pointer::Url(_));
        let home = match &step.home {
            Some(home) if follows => home.clone(),
            Some(_) | None => url.clone(),
        };
        let policy = RedirectPolicy::new(self.run.hosts(&home));
        policy.check(&home, &url).map_err(|refusal| {
            Fault::new(&self.run, step, What::host(pointer, refusal.to_string()), about())
        })?;
        step.home = Some(home);
        Ok(url)
    }

    fn request(&self, step: &StepRun, rendered: &RenderedRequest, url: Url) -> Request {
        let rules = step.step();
        let home = step.home.clone().unwrap_or_else(|| url.clone());
        Request {
            method: rendered.method.as_str(),
            url,
            headers: rendered.headers.clone(),
            body: rendered.body.clone(),
            timeout: rules.timeout,
            max_body_bytes: rules.response.max_bytes.min(self.run.limits.body_max_bytes),
            redirects: RedirectPolicy::new(self.run.hosts(&home)),
            decompress: rules.response.decompress,
            pieces: Pieces::Never,
        }
    }

    /// Whether the next page's url may follow this request; the error says why not.
    pub(super) fn allows(&self, step: &StepRun, from: &Url, next: &Url) -> Result<(), String> {
        let home = step.home.as_ref().unwrap_or(from);
        RedirectPolicy::new(self.run.hosts(home)).check(from, next).map_err(|refusal| refusal.to_string())
    }

    /// What a repeat means: an error, the loop's end, or nothing.
    pub(super) fn repeated(&self, step: &StepRun, what: &str, facts: &SentFacts) -> Result<Repeat, Halt> {
        let Some(paginate) = &step.step().paginate else { return Ok(Repeat::GoOn) };
        match paginate.on_repeat {
            OnRepeat::Allow => Ok(Repeat::GoOn),
            OnRepeat::Stop => Ok(Repeat::Stop),
            OnRepeat::Fail => {
                let what = What {
                    class: ErrorClass::Permanent,
                    code: "LOOP_DETECTED",
                    pointer: paginate.pointer.clone(),
                    message: format!("the loop came to {what} a second time after {} passes", step.page),
                };
                Err(Fault::new(&self.run, step, what, About { sent: Some(facts), ..About::default() }).into())
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

fn request_fingerprint(rendered: &RenderedRequest, url: &Url) -> u64 {
    let body = rendered.body.as_deref().unwrap_or_default();
    fingerprint(&[b"request", rendered.method.as_str().as_bytes(), url.as_str().as_bytes(), body])
}

fn facts_of(rendered: &RenderedRequest) -> SentFacts {
    SentFacts {
        url: Some(rendered.url.clone()),
        method: Some(rendered.method.as_str()),
        headers: rendered.headers.clone(),
        body: rendered.body.clone(),
    }
}
