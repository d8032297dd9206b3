//! A hostile simulation: responses, body pieces and timers arrive in any order, acknowledgements
//! arrive late and newest first, and the process dies after a given number of inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use orchid_engine::{
    CursorKey, EmitId, EndStatus, ExecutionEnd, ExecutionFinish, FetchError, FetchErrorKind, Input, Machine,
    Message, Output, Request, Response, SavedCheckpoint, StopReason, TimerId, Topic, TryId,
};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{EXECUTION, TestClock, TestSetup, apply, apply_cursors, saved, start};

/// An upstream whose responses depend only on the request, apart from injected faults.
pub(crate) trait Upstream {
    fn reply(&mut self, request: &Request) -> Reply;
}

/// An upstream's response.
pub(crate) struct Reply {
    pub(crate) result: Result<Response, FetchError>,
    /// Bytes after which a streamed body breaks off.
    pub(crate) break_after: Option<usize>,
}

impl Reply {
    /// Creates a response with a JSON body. The Retry-After of a 429 is long enough to park.
    pub(crate) fn json(request: &Request, status: u16, body: &Value) -> Reply {
        let retry_after = if status == 429 { "90" } else { "1" };
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("retry-after".to_owned(), retry_after.to_owned()),
        ];
        let response = Response {
            status,
            headers,
            body: body.to_string().into(),
            url: request.url.to_string(),
            files: Vec::new(),
        };
        Reply { result: Ok(response), break_after: None }
    }

    /// Creates a connection failure.
    pub(crate) fn broken() -> Reply {
        Reply { result: Err(broken()), break_after: None }
    }
}

fn broken() -> FetchError {
    FetchError { kind: FetchErrorKind::Broken, message: "it broke".to_owned(), status: None, received: None }
}

/// The order in which inputs arrive.
#[derive(Debug, Clone)]
pub(crate) struct Interleaving {
    /// Indexes into the pending inputs, used in turn.
    pub(crate) choices: Vec<usize>,
    /// Inputs between a message and its acknowledgement.
    pub(crate) lag: usize,
    /// Bytes per piece of a streamed body.
    pub(crate) piece: usize,
    /// Numbers of inputs that are replaced by a stop: a drain if even, a stalled sink if odd.
    pub(crate) stops: Vec<usize>,
}

impl Interleaving {
    pub(crate) fn none() -> Interleaving {
        Interleaving { choices: vec![0], lag: 0, piece: 1 << 20, stops: Vec::new() }
    }

    pub(crate) fn any() -> impl Strategy<Value = Interleaving> {
        let choices = prop::collection::vec(0_usize..20, 1..12);
        (choices, 0_usize..5, 1_usize..40, prop::collection::vec(1_usize..40, 0..3))
            .prop_map(|(choices, lag, piece, stops)| Interleaving { choices, lag, piece, stops })
    }
}

/// The effects of an execution so far, over all its attempts.
#[derive(Default)]
pub(crate) struct ExecutionRecord {
    pub(crate) messages: Vec<Message>,
    pub(crate) checkpoint: Option<SavedCheckpoint>,
    pub(crate) context: BTreeMap<String, Bytes>,
    pub(crate) cursors: BTreeMap<CursorKey, Bytes>,
    /// Every saved cursor value, in order.
    pub(crate) cursor_values: Vec<(CursorKey, Bytes)>,
    pub(crate) end: Option<ExecutionEnd>,
    /// Highest number of tries in flight at once.
    pub(crate) most_in_flight: usize,
    /// Method and url of each request, in order.
    pub(crate) requests: Vec<String>,
}

impl ExecutionRecord {
    /// Creates the record of an execution that has not begun.
    pub(crate) fn fresh(setup: &TestSetup) -> ExecutionRecord {
        ExecutionRecord {
            context: setup.context.clone(),
            cursors: setup.cursors.clone(),
            ..ExecutionRecord::default()
        }
    }

    /// Returns what another process finds: only what was saved.
    pub(crate) fn resumed(&self) -> ExecutionRecord {
        ExecutionRecord {
            checkpoint: self.checkpoint.clone(),
            context: self.context.clone(),
            cursors: self.cursors.clone(),
            ..ExecutionRecord::default()
        }
    }

    /// Returns what the next execution finds: context and cursors, but no resume state.
    pub(crate) fn next_execution(&self) -> ExecutionRecord {
        ExecutionRecord { checkpoint: None, ..self.resumed() }
    }
}

/// Continues an execution until it ends or `steps` inputs were taken.
pub(crate) fn run(
    setup: &TestSetup,
    upstream: &mut dyn Upstream,
    mut record: ExecutionRecord,
    steps: usize,
    interleaving: &Interleaving,
) -> ExecutionRecord {
    let mut clock = TestClock { elapsed: Duration::ZERO };
    let mut step = 0;
    for attempt in 1..200 {
        let mut setup = setup.clone();
        (setup.context, setup.cursors) = (record.context.clone(), record.cursors.clone());
        let machine = Machine::new(setup.job(attempt, EXECUTION, record.checkpoint.clone()));
        let mut process = SimulatedProcess {
            machine: machine.expect("the checkpoint reads"),
            upstream: &mut *upstream,
            interleaving,
            record: &mut record,
            clock,
            inputs: vec![Input::Begin],
            sending: Vec::new(),
            bodies: BTreeMap::new(),
            in_flight: BTreeSet::new(),
        };
        let left = process.run(&mut step, steps);
        clock = process.clock;
        match left {
            AttemptEnd::Ended | AttemptEnd::Killed => return record,
            AttemptEnd::HandedBack => {}
        }
    }
    panic!("the execution never ends");
}

enum AttemptEnd {
    Ended,
    Killed,
    HandedBack,
}

struct SimulatedProcess<'a> {
    machine: Machine,
    upstream: &'a mut dyn Upstream,
    interleaving: &'a Interleaving,
    record: &'a mut ExecutionRecord,
    clock: TestClock,
    /// Inputs that are not delivered yet.
    inputs: Vec<Input>,
    /// Unacknowledged messages, each with the step at which it is acknowledged.
    sending: Vec<(usize, EmitId, Message)>,
    /// Streamed bodies: the undelivered rest, and whether the body breaks off after it.
    bodies: BTreeMap<TryId, (Bytes, bool)>,
    in_flight: BTreeSet<TryId>,
}

impl SimulatedProcess<'_> {
    fn run(&mut self, step: &mut usize, steps: usize) -> AttemptEnd {
        while *step < steps {
            *step += 1;
            assert!(*step < 100_000, "the execution does not end");
            self.clock.elapsed += Duration::from_millis(7);
            let input = self.next(*step);
            let mut left = None;
            for output in self.machine.step(self.clock.now(), input) {
                if let Some(leaving) = self.take(output, *step) {
                    left = Some(leaving);
                }
            }
            let until = if left.is_some() { usize::MAX } else { *step };
            left = left.or(self.acknowledge(until, *step));
            // Rows may wait for acknowledgements alone.
            while left.is_none() && self.inputs.is_empty() && !self.sending.is_empty() {
                left = self.acknowledge(usize::MAX, *step);
            }
            if let Some(left) = left {
                self.acknowledge(usize::MAX, *step);
                return left;
            }
        }
        AttemptEnd::Killed
    }

    fn next(&mut self, step: usize) -> Input {
        if self.interleaving.stops.contains(&step) {
            let odd = step % 2 == 1;
            return Input::Stop(if odd { StopReason::SinkStalled } else { StopReason::Drain });
        }
        assert!(!self.inputs.is_empty(), "an unfinished execution has no pending input");
        let choice = self.interleaving.choices[step % self.interleaving.choices.len()];
        let input = self.inputs.remove(choice % self.inputs.len());
        if let Input::Response { try_id, .. } | Input::ResponseHead { try_id, .. } = &input {
            self.in_flight.remove(try_id);
        }
        input
    }

    fn take(&mut self, output: Output, step: usize) -> Option<AttemptEnd> {
        match output {
            Output::Fetch { try_id, request } => self.fetch(try_id, &request),
            Output::ReadBody { try_id } => self.read(try_id),
            Output::Discard { try_id } => {
                self.bodies.remove(&try_id);
                self.inputs
                    .retain(|input| !matches!(input, Input::BodyPiece { try_id: of, .. } if *of == try_id));
            }
            Output::Emit { emit_id, message } => {
                self.sending.push((step + self.interleaving.lag, emit_id, message))
            }
            // Checkpoints are taken after every step.
            Output::SaveCheckpoint => {}
            // The first timer of an attempt is its deadline: it must not fire here.
            Output::StartTimer { timer_id: TimerId(1), .. } => {}
            Output::StartTimer { timer_id, .. } => self.inputs.push(Input::TimerFired { timer_id }),
            Output::Park { not_before, .. } => {
                let wait = (not_before - start()).to_std().unwrap_or_default();
                self.clock.elapsed = self.clock.elapsed.max(wait);
                return Some(AttemptEnd::HandedBack);
            }
            Output::Finished(ExecutionFinish::Released) => return Some(AttemptEnd::HandedBack),
            Output::Finished(ExecutionFinish::Ended(ending)) => {
                self.record.end = Some(ending);
                return Some(AttemptEnd::Ended);
            }
        }
        None
    }

    fn fetch(&mut self, try_id: TryId, request: &Request) {
        self.record.requests.push(format!(
            "{} {}",
            request.method,
            &request.url[url::Position::BeforePath..]
        ));
        self.in_flight.insert(try_id);
        self.record.most_in_flight = self.record.most_in_flight.max(self.in_flight.len());
        let duration = Duration::from_millis(5);
        let Reply { result, break_after } = self.upstream.reply(request);
        match result {
            Ok(mut response) if is_streamed(request, &response) => {
                let mut body = std::mem::take(&mut response.body);
                if let Some(after) = break_after {
                    body.truncate(after);
                }
                self.bodies.insert(try_id, (body, break_after.is_some()));
                self.inputs.push(Input::ResponseHead { try_id, response, duration });
            }
            result => self.inputs.push(Input::Response { try_id, result, duration }),
        }
    }

    fn read(&mut self, try_id: TryId) {
        let Some((body, break_after)) = self.bodies.get_mut(&try_id) else { return };
        let piece = body.split_to(self.interleaving.piece.min(body.len()));
        let piece = match (piece.is_empty(), *break_after) {
            (false, _) => Ok(Some(piece.into())),
            (true, false) => Ok(None),
            (true, true) => Err(broken()),
        };
        self.inputs.push(Input::BodyPiece { try_id, piece, duration: Duration::from_millis(9) });
    }

    /// Acknowledges the newest message first, since Kafka acknowledges in any order.
    fn acknowledge(&mut self, until: usize, step: usize) -> Option<AttemptEnd> {
        let mut left = None;
        while let Some(index) = self.sending.iter().rposition(|(due, ..)| *due <= until) {
            let (_, emit_id, message) = self.sending.remove(index);
            self.record.messages.push(message);
            for output in self.machine.step(self.clock.now(), Input::MessageAcked { emit_id }) {
                left = self.take(output, step).or(left);
            }
        }
        if let Some(checkpoint) = self.machine.checkpoint() {
            apply(&mut self.record.context, &checkpoint);
            apply_cursors(&mut self.record.cursors, &checkpoint);
            let changes = checkpoint.cursor_changes.iter();
            self.record.cursor_values.extend(changes.map(|change| (change.key.clone(), change.json.clone())));
            self.record.checkpoint = Some(saved(&checkpoint, self.record.checkpoint.as_ref()));
        }
        left
    }
}

fn is_streamed(request: &Request, response: &Response) -> bool {
    let kind = response.headers.iter().find(|(name, _)| name == "content-type");
    request.streaming.applies(response.status, kind.map_or("", |(_, kind)| kind))
}

/// Returns every emitted row with its step path, without chunk borders, which may fall anywhere.
pub(crate) fn rows(messages: &[Message]) -> BTreeSet<(String, String)> {
    let mut rows = BTreeSet::new();
    for message in messages.iter().filter(|message| message.topic == Topic::Responses) {
        let payload: Value = serde_json::from_slice(&message.payload).unwrap();
        let path = payload["step_path"].as_str().unwrap().to_owned();
        for row in payload["response_body"].as_array().unwrap() {
            rows.insert((path.clone(), row.to_string()));
        }
    }
    rows
}

/// Compiles a definition that must be valid.
pub(crate) fn setup(definition: &Value) -> TestSetup {
    let definition = orchid_plan::compile(definition, &orchid_plan::ServerLimits::default());
    TestSetup::new(definition.unwrap_or_else(|faults| panic!("{faults}")))
}

/// Returns whether the execution ended successfully.
pub(crate) fn succeeded(record: &ExecutionRecord) -> bool {
    record.end.as_ref().is_some_and(|ending| ending.status == EndStatus::Succeeded)
}
