//! From the answer to a try to what the outcome table says about it, and to the pass's end or its next try.

use std::collections::BTreeMap;
use std::time::Duration;

use orchid_plan::{Method, ScopeName, Step, Value};

use super::halt::{About, Fault, Halt, What};
use super::outcome::{AbortCause, Decision, TryFacts, TryFault, Verdict, decide};
use super::step_run::{Sent, StepRun};
use super::{Flow, Machine, retry, scope};
use crate::body::{Body, Reading};
use crate::error::ErrorClass;
use crate::input::{FetchError, Now, Response};
use crate::message::exchange::AnswerFacts;
use crate::output::Output;

/// An answer, read.
pub(super) struct Answer {
    pub(super) facts: AnswerFacts,
    pub(super) tried: TryFacts,
    pub(super) body: Body,
    /// All `Link` headers, joined.
    pub(super) link: Option<String>,
    /// As expressions see it: `{status_code, headers, body, url}`.
    pub(super) value: Value,
    /// What is wrong with it, in words; empty for a success.
    problem: String,
    retry_after: Option<Duration>,
}

impl Machine {
    /// Takes the answer to the try under way.
    pub(super) fn answered(
        &mut self,
        now: Now,
        step: &mut StepRun,
        sent: Sent,
        result: Result<Response, FetchError>,
        duration: Duration,
        out: &mut Vec<Output>,
    ) -> Result<Flow, Halt> {
        let retries_left = step.retry < step.step().retry.max_retries;
        let answer = match result {
            Ok(response) => self.read(now, step, &sent, response, duration, retries_left),
            Err(error) => without_answer(error, duration, retries_left),
        };
        self.run.progress.counts.bytes += answer.facts.size.unwrap_or_default();

        let mut sent = sent;
        sent.scope.set(ScopeName::Response, answer.value.clone());
        let rules = step.step();
        let mut ask = |field: &'static str, expr: &orchid_plan::Expr| {
            expr.is_true(&sent.scope, &sent.env)
                .map_err(|error| What::expression(format!("{}/{field}", rules.pointer), &error))
        };
        let decision = decide(&rules.outcome, &rules.retry, &answer.tried, &mut ask)
            .map_err(|what| self.fault(step, what, &sent, &answer))?;
        self.obey(now, step, sent, answer, decision, out)
    }

    fn obey(
        &mut self,
        now: Now,
        step: &mut StepRun,
        sent: Sent,
        answer: Answer,
        decision: Decision,
        out: &mut Vec<Output>,
    ) -> Result<Flow, Halt> {
        match decision.verdict {
            Verdict::Abort(cause) => {
                let what = aborted(step.step(), cause, &answer);
                Err(self.fault(step, what, &sent, &answer).into())
            }
            Verdict::Retry => {
                let draw = scope::draw(&self.run, step, b"jitter") as f64 / u64::MAX as f64;
                let delay = retry::delay(&step.step().retry, step.retry, answer.retry_after, draw);
                step.retry += 1;
                self.wait(now, step, delay, out)
            }
            Verdict::Ignore => {
                let what = failed(step.step(), &answer, decision.transient);
                self.ignore(now, step, what, &sent, &answer, out);
                self.finish_pass(now, step, sent, answer, super::pass::Ended::Ignored, out)
            }
            Verdict::Success => {
                if let Body::Json { text, .. } = &answer.body {
                    step.watch.look(text);
                }
                self.finish_pass(now, step, sent, answer, super::pass::Ended::Succeeded, out)
            }
            Verdict::Fail => {
                let what = failed(step.step(), &answer, decision.transient);
                Err(self.fault(step, what, &sent, &answer).into())
            }
        }
    }

    /// An error about an answer.
    pub(super) fn fault(&self, step: &StepRun, what: What, sent: &Sent, answer: &Answer) -> Fault {
        let body = Some(answer.body.message());
        let about = About { sent: Some(&sent.facts), answer: Some(&answer.facts), body, path: None };
        Fault::new(&self.run, step, what, about)
    }

    fn read(
        &self,
        now: Now,
        step: &StepRun,
        sent: &Sent,
        response: Response,
        duration: Duration,
        retries_left: bool,
    ) -> Answer {
        let Response { status, headers, body: bytes, url } = response;
        let rules = step.step();
        let header = |name: &str| joined(&headers, name);
        let content_type = header("content-type").unwrap_or_default();
        let reading = Reading {
            rules: &rules.response,
            content_type: &content_type,
            bodiless: status == 204
                || rules.request().is_some_and(|request| request.method() == Method::Head),
            paths: step.needs.body.as_ref().map(|paths| paths.iter().map(Vec::as_slice).collect()),
        };
        let accepted = rules.outcome.accept_on.iter().any(|matcher| matcher.matches(Some(status), None));
        let (body, fault, problem) = match status {
            200..=299 if !accepted => match reading.read(&bytes) {
                Ok(body) => (body, None, String::new()),
                Err(error) => (Body::lenient(&reading, &bytes), Some(TryFault::Decode), error.to_string()),
            },
            200..=299 => (Body::lenient(&reading, &bytes), None, String::new()),
            _ => {
                let problem = format!("the upstream answered {status}");
                (Body::lenient(&reading, &bytes), Some(TryFault::Status), problem)
            }
        };
        let value = response_value(Some(status), step.needs.headers.then_some(&headers), &body, &url);
        Answer {
            retry_after: retry::retry_after(&headers, now.wall),
            link: header("link"),
            tried: TryFacts { status: Some(status), fault, retries_left },
            facts: AnswerFacts {
                url: (url != sent.url.as_str()).then_some(url),
                status: Some(status),
                headers: Some(headers),
                size: Some(bytes.len() as u64),
                duration_ms: Some(millis(duration)),
            },
            body,
            value,
            problem,
        }
    }
}

/// A try without a whole answer: its response is there for expressions, with nothing in it.
fn without_answer(error: FetchError, duration: Duration, retries_left: bool) -> Answer {
    let body = Body::Empty;
    Answer {
        value: response_value(error.status, None, &body, ""),
        tried: TryFacts { status: error.status, fault: Some(TryFault::Fetch(error.kind)), retries_left },
        facts: AnswerFacts {
            url: None,
            status: error.status,
            headers: None,
            size: None,
            duration_ms: Some(millis(duration)),
        },
        link: None,
        body,
        problem: error.message,
        retry_after: None,
    }
}

fn response_value(
    status: Option<u16>,
    headers: Option<&Vec<(String, String)>>,
    body: &Body,
    url: &str,
) -> Value {
    let url = if url.is_empty() { Value::null() } else { Value::from(url) };
    Value::object([
        ("status_code", Value::from(status.map(|status| Value::from(u32::from(status))))),
        ("headers", headers.map_or_else(|| Value::object::<&str>([]), |headers| headers_value(headers))),
        ("body", body.value()),
        ("url", url),
    ])
}

/// Repeated headers are joined with `, `; `set-cookie` is a list.
fn headers_value(headers: &[(String, String)]) -> Value {
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    let mut cookies = Vec::new();
    for (name, value) in headers {
        if name == "set-cookie" {
            cookies.push(Value::from(value.as_str()));
        } else if let Some(before) = texts.get_mut(name.as_str()) {
            before.push_str(", ");
            before.push_str(value);
        } else {
            texts.insert(name, value.clone());
        }
    }
    let cookies = (!cookies.is_empty()).then(|| ("set-cookie", Value::list(cookies)));
    Value::object(texts.into_iter().map(|(name, text)| (name, Value::from(text))).chain(cookies))
}

fn joined(headers: &[(String, String)], name: &str) -> Option<String> {
    let mut values = headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let first = values.next()?.to_owned();
    Some(values.fold(first, |all, value| all + ", " + value))
}

fn aborted(step: &Step, cause: AbortCause, answer: &Answer) -> What {
    let (code, field) = match cause {
        AbortCause::On => ("ABORT_ON", "abort_on"),
        AbortCause::When => ("ABORT_WHEN", "abort_when"),
    };
    let answered = match (answer.tried.fault, answer.tried.status) {
        (Some(fault @ (TryFault::Fetch(_) | TryFault::Decode)), _) => {
            format!("{} ({})", answer.problem, fault.code())
        }
        (Some(TryFault::Status) | None, Some(status)) => format!("the upstream answered {status}"),
        (Some(TryFault::Status) | None, None) => "no answer".to_owned(),
    };
    What {
        class: ErrorClass::Aborted,
        code,
        pointer: format!("{}/{field}", step.pointer),
        message: format!("{field} ended the run: {answered}"),
    }
}

/// The error that a failed or ignored answer is. One that only `ignore_when` finds fault with has the code IGNORED.
fn failed(step: &Step, answer: &Answer, transient: bool) -> What {
    let class = answer.tried.class(transient);
    let pointer = step.pointer.clone();
    match answer.tried.fault {
        Some(fault) => What { class, code: fault.code(), pointer, message: answer.problem.clone() },
        None => {
            let message = format!(
                "the plan ignores this answer with status {}",
                answer.tried.status.unwrap_or_default()
            );
            What { class, code: "IGNORED", pointer, message }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
