//! From the answer to a try to what the outcome table says about it, and to the pass's end or its next try.

use std::collections::BTreeMap;
use std::time::Duration;

use orchid_plan::{Expr, Method, PlainPath, ScopeName, Step, Value};

use crate::body::{Body, BodyReader, RowDecoder};
use crate::error::ErrorClass;
use crate::input::{CurrentTime, FetchError, FetchErrorKind, Response, TryId};
use crate::message::exchange::ReceivedResponse;
use crate::output::Output;
use crate::program::required_fields::RequiredFields;
use crate::rules::outcome::{AbortCause, TryDecision, TryFacts, TryFailure, TryVerdict, decide};
use crate::rules::retry;
use crate::state::engine_cx::EngineCx;
use crate::state::error_detail::ErrorDetail;
use crate::state::event::StepEvent;
use crate::state::exit::{ErrorContext, StepError, StepExit};
use crate::state::status::StepStatus;
use crate::state::step_env::StepEnv;
use crate::step::execution::{BufferedBody, InFlightTry, StepExecution, StepPhase};
use crate::step::variables as scope;

/// An answer, read.
pub(crate) struct TryResponse {
    pub(crate) facts: ReceivedResponse,
    pub(crate) tried: TryFacts,
    pub(crate) body: Body,
    /// All `Link` headers, joined.
    pub(crate) link: Option<String>,
    /// As expressions see it: `{status_code, headers, body, url}`.
    pub(crate) value: Value,
    /// Its rows, where its body comes in pieces, and the try that they come of.
    pub(crate) stream: Option<(RowDecoder, TryId)>,
    /// They were taken.
    pub(crate) streamed: bool,
    /// What is wrong with it, in words; empty for a success.
    problem: String,
    retry_after: Option<Duration>,
}

/// Bytes of one row of a body that comes in pieces.
const ROW_MAX: usize = 16 * 1024 * 1024;

impl TryResponse {
    /// The same answer, whose body turned out to be no success while it came.
    pub(crate) fn broken_by(&mut self, fault: TryFailure, problem: String, retries_left: bool) {
        self.tried = TryFacts { status: self.tried.status, fault: Some(fault), retries_left };
        self.problem = problem;
    }
}

impl StepExecution {
    /// Takes what came: for this step, or for one below it at `route`. What is no longer waited for changes nothing.
    pub(crate) fn deliver(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        route: &[u64],
        event: StepEvent,
    ) -> Result<StepStatus, StepExit> {
        match (std::mem::replace(&mut self.doing, StepPhase::Idle), event) {
            (StepPhase::AwaitingResponse(sent), StepEvent::Response { try_id, result, duration })
                if sent.try_id == try_id =>
            {
                self.answered(cx, env, *sent, result, duration)
            }
            (StepPhase::AwaitingResponse(sent), StepEvent::ResponseHead { try_id, response, duration })
                if sent.try_id == try_id =>
            {
                self.headed(cx, env, *sent, response, duration)
            }
            (StepPhase::BufferingBody(gathering), StepEvent::BodyPiece { try_id, piece, duration })
                if gathering.sent.try_id == try_id =>
            {
                self.gather(cx, env, gathering, piece, duration)
            }
            (StepPhase::Page(pass), event) => self.go_on_with_rows(cx, env, pass, route, event),
            (StepPhase::AwaitingRetry(waiting), StepEvent::TimerFired { timer_id })
                if waiting == timer_id =>
            {
                self.send(cx, env)
            }
            (StepPhase::Deferred(idle), _) => {
                self.doing = StepPhase::Deferred(idle.clone());
                Ok(StepStatus::Deferred(idle))
            }
            (doing, _) => {
                self.doing = doing;
                Ok(StepStatus::InFlight)
            }
        }
    }

    fn answered(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        sent: InFlightTry,
        result: Result<Response, FetchError>,
        duration: Duration,
    ) -> Result<StepStatus, StepExit> {
        let retries_left = self.retry < self.step().retry.max_retries;
        let answer = match result {
            Ok(response) => self.read(cx.now, &sent, response, duration, retries_left),
            Err(error) => without_answer(&self.node.needs, error, duration, retries_left),
        };
        cx.run.progress.counts.bytes += answer.facts.size.unwrap_or_default();
        self.judge(cx, env, sent, answer)
    }

    /// An answer whose body is still to come: judged by its head, then taken row by row.
    fn headed(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        sent: InFlightTry,
        response: Response,
        duration: Duration,
    ) -> Result<StepStatus, StepExit> {
        let retries_left = self.retry < self.step().retry.max_retries;
        let content_type = joined(&response.headers, "content-type").unwrap_or_default();
        let nowhere = PlainPath::default();
        let path = self.step().rows.as_ref().and_then(|rows| rows.plain.as_ref()).unwrap_or(&nowhere);
        let decoder = self.body_reader(response.status, &content_type).row_decoder(path, ROW_MAX);
        let (decoder, problem) = match decoder {
            Ok(Some(decoder)) => (Some(decoder), None),
            Ok(None) => {
                cx.out.push(Output::ReadBody { try_id: sent.try_id });
                let body = bytes::BytesMut::new();
                self.doing = StepPhase::BufferingBody(Box::new(BufferedBody { sent, head: response, body }));
                return Ok(StepStatus::InFlight);
            }
            Err(error) => (None, Some(error)),
        };
        let mut answer = self.read(cx.now, &sent, response, duration, retries_left);
        answer.facts.size = None;
        match problem {
            None => answer.stream = decoder.map(|decoder| (decoder, sent.try_id)),
            Some(problem) => {
                cx.discard(sent.try_id);
                answer.broken_by(TryFailure::Decode(problem.code()), problem.to_string(), retries_left);
            }
        }
        self.judge(cx, env, sent, answer)
    }

    /// Puts the pieces of a body together that is read whole.
    fn gather(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut gathering: Box<BufferedBody>,
        piece: Result<Option<bytes::Bytes>, FetchError>,
        duration: Duration,
    ) -> Result<StepStatus, StepExit> {
        match piece {
            Ok(Some(bytes)) => {
                gathering.body.extend_from_slice(&bytes);
                let max = self.step().response.max_bytes.min(cx.run.limits.body_max_bytes);
                if gathering.body.len() as u64 > max {
                    cx.discard(gathering.sent.try_id);
                    let error = FetchError {
                        kind: FetchErrorKind::TooLarge,
                        message: format!("the body is larger than {max} bytes: stopped while reading"),
                        status: Some(gathering.head.status),
                    };
                    return self.answered(cx, env, gathering.sent, Err(error), duration);
                }
                cx.out.push(Output::ReadBody { try_id: gathering.sent.try_id });
                self.doing = StepPhase::BufferingBody(gathering);
                Ok(StepStatus::InFlight)
            }
            Ok(None) => {
                cx.run.try_ended(gathering.sent.try_id);
                let BufferedBody { sent, head, body } = *gathering;
                let response = Response { body: body.freeze(), ..head };
                self.answered(cx, env, sent, Ok(response), duration)
            }
            Err(error) => {
                cx.run.try_ended(gathering.sent.try_id);
                self.answered(cx, env, gathering.sent, Err(error), duration)
            }
        }
    }

    /// Asks the outcome table, and obeys it.
    pub(crate) fn judge(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        mut sent: InFlightTry,
        answer: TryResponse,
    ) -> Result<StepStatus, StepExit> {
        let revalidates = sent.conditional.as_ref().is_some_and(|asked| asked.revalidates);
        if answer.tried.status == Some(304) && revalidates {
            return self.not_modified(cx, env, answer);
        }
        let decision = self.decide(cx, env, &mut sent, &answer)?;
        self.obey(cx, env, sent, answer, decision)
    }

    /// What the outcome table says.
    pub(crate) fn decide(
        &self,
        cx: &EngineCx<'_>,
        env: &StepEnv,
        sent: &mut InFlightTry,
        answer: &TryResponse,
    ) -> Result<TryDecision, StepExit> {
        sent.scope.set(ScopeName::Response, answer.value.clone());
        let rules = self.step();
        let mut ask = |field: &'static str, expr: &Expr| {
            expr.is_true(&sent.scope, &sent.env)
                .map_err(|error| ErrorDetail::expression(format!("{}/{field}", rules.pointer), &error))
        };
        decide(&rules.outcome, &rules.retry, &answer.tried, &mut ask)
            .map_err(|what| self.fault(cx, env, what, sent, answer).into())
    }

    pub(crate) fn obey(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        sent: InFlightTry,
        answer: TryResponse,
        decision: TryDecision,
    ) -> Result<StepStatus, StepExit> {
        if decision.verdict != TryVerdict::Success
            && let Some((_, try_id)) = &answer.stream
        {
            cx.discard(*try_id);
        }
        match decision.verdict {
            TryVerdict::Abort(cause) => {
                let what = aborted(self.step(), cause, &answer);
                Err(self.fault(cx, env, what, &sent, &answer).into())
            }
            TryVerdict::Retry => {
                let draw = scope::draw(cx.run, env, self, b"jitter") as f64 / u64::MAX as f64;
                let delay = retry::delay(&self.step().retry, self.retry, answer.retry_after, draw);
                self.retry += 1;
                Ok(self.wait(cx, env, delay))
            }
            TryVerdict::Ignore => {
                let what = failed(self.step(), &answer, decision.transient);
                let fault = self.fault(cx, env, what, &sent, &answer);
                cx.run.left_out();
                cx.emit_error(fault, true);
                self.rows_done = None;
                self.pass_without_rows(cx, env, sent, answer)
            }
            TryVerdict::Success => {
                if let Body::Json { text, .. } = &answer.body {
                    let text = text.clone();
                    cx.run.watch(&self.node).look(&text);
                }
                self.take_rows(cx, env, sent, answer)
            }
            TryVerdict::Fail => {
                let what = failed(self.step(), &answer, decision.transient);
                Err(self.fault(cx, env, what, &sent, &answer).into())
            }
        }
    }

    /// Nothing has changed since the last run: nothing is emitted, and the run misses nothing.
    fn not_modified(
        &mut self,
        cx: &mut EngineCx<'_>,
        env: &mut StepEnv,
        answer: TryResponse,
    ) -> Result<StepStatus, StepExit> {
        self.latest = answer.value;
        cx.run.moved |= env.durable;
        Ok(StepStatus::Skipped)
    }

    /// An error about an answer.
    pub(crate) fn fault(
        &self,
        cx: &EngineCx<'_>,
        env: &StepEnv,
        what: ErrorDetail,
        sent: &InFlightTry,
        answer: &TryResponse,
    ) -> StepError {
        let body = Some(answer.body.to_message_body());
        let about = ErrorContext { sent: Some(&sent.facts), response: Some(&answer.facts), body };
        StepError::new(&cx.run.redactor, self.location(env), what, about)
    }

    fn body_reader<'a>(&'a self, status: u16, content_type: &'a str) -> BodyReader<'a> {
        let head = self.step().request().is_some_and(|request| request.method() == Method::Head);
        BodyReader {
            rules: &self.step().response,
            content_type,
            bodiless: status == 204 || head,
            parts: &self.node.needs.body,
        }
    }

    fn read(
        &self,
        now: CurrentTime,
        sent: &InFlightTry,
        response: Response,
        duration: Duration,
        retries_left: bool,
    ) -> TryResponse {
        let Response { status, headers, body: bytes, url } = response;
        let rules = self.step();
        let header = |name: &str| joined(&headers, name);
        let content_type = header("content-type").unwrap_or_default();
        let reading = self.body_reader(status, &content_type);
        let accepted = rules.outcome.accept_on.iter().any(|matcher| matcher.matches(Some(status), None));
        let (body, fault, problem) = match status {
            200..=299 if !accepted => match reading.read(&bytes) {
                Ok(body) => (body, None, String::new()),
                Err(error) => {
                    (reading.read_lenient(&bytes), Some(TryFailure::Decode(error.code())), error.to_string())
                }
            },
            200..=299 => (reading.read_lenient(&bytes), None, String::new()),
            _ => {
                let problem = format!("the upstream answered {status}");
                (reading.read_lenient(&bytes), Some(TryFailure::Status), problem)
            }
        };
        let value = response_value(&self.node.needs, Some(status), Some(&headers), &body, &url);
        TryResponse {
            retry_after: retry::retry_after(&headers, now.wall),
            link: header("link"),
            tried: TryFacts { status: Some(status), fault, retries_left },
            facts: ReceivedResponse {
                url: (url != sent.url.as_str()).then_some(url),
                status: Some(status),
                headers: Some(headers),
                size: Some(bytes.len() as u64),
                duration_ms: Some(millis(duration)),
            },
            body,
            value,
            stream: None,
            streamed: false,
            problem,
        }
    }
}

/// A try without a whole answer: its response is there for expressions, with nothing in it.
fn without_answer(
    needs: &RequiredFields,
    error: FetchError,
    duration: Duration,
    retries_left: bool,
) -> TryResponse {
    let body = Body::Empty;
    TryResponse {
        value: response_value(needs, error.status, None, &body, ""),
        tried: TryFacts { status: error.status, fault: Some(TryFailure::Fetch(error.kind)), retries_left },
        facts: ReceivedResponse {
            url: None,
            status: error.status,
            headers: None,
            size: None,
            duration_ms: Some(millis(duration)),
        },
        link: None,
        stream: None,
        streamed: false,
        body,
        problem: error.message,
        retry_after: None,
    }
}

/// What expressions see of an answer: of its members those that somebody reads.
fn response_value(
    needs: &RequiredFields,
    status: Option<u16>,
    headers: Option<&Vec<(String, String)>>,
    body: &Body,
    url: &str,
) -> Value {
    let headers = || headers.map_or_else(|| Value::object::<&str>([]), |headers| headers_value(headers));
    let url = || if url.is_empty() { Value::null() } else { Value::from(url) };
    let members = [
        needs
            .status
            .then(|| ("status_code", Value::from(status.map(|status| Value::from(u32::from(status)))))),
        needs.headers.then(|| ("headers", headers())),
        Some(("body", body.value())),
        needs.url.then(|| ("url", url())),
    ];
    Value::object(members.into_iter().flatten())
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

fn aborted(step: &Step, cause: AbortCause, answer: &TryResponse) -> ErrorDetail {
    let (code, field) = match cause {
        AbortCause::On => ("ABORT_ON", "abort_on"),
        AbortCause::When => ("ABORT_WHEN", "abort_when"),
    };
    let answered = match (answer.tried.fault, answer.tried.status) {
        (Some(fault @ (TryFailure::Fetch(_) | TryFailure::Decode(_))), _) => {
            format!("{} ({})", answer.problem, fault.code())
        }
        (Some(TryFailure::Status) | None, Some(status)) => format!("the upstream answered {status}"),
        (Some(TryFailure::Status) | None, None) => "no answer".to_owned(),
    };
    ErrorDetail {
        class: ErrorClass::Aborted,
        code,
        pointer: format!("{}/{field}", step.pointer),
        message: format!("{field} ended the run: {answered}"),
    }
}

/// The error that a failed or ignored answer is. One that only `ignore_when` finds fault with has the code IGNORED.
fn failed(step: &Step, answer: &TryResponse, transient: bool) -> ErrorDetail {
    let class = answer.tried.class(transient);
    let pointer = step.pointer.clone();
    match answer.tried.fault {
        Some(fault) => ErrorDetail { class, code: fault.code(), pointer, message: answer.problem.clone() },
        None => {
            let message = format!(
                "the plan ignores this answer with status {}",
                answer.tried.status.unwrap_or_default()
            );
            ErrorDetail { class, code: "IGNORED", pointer, message }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
