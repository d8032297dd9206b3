//! A world in disorder: answers, pieces of bodies and wakes come in any order, acknowledgements late and newest first, and
//! the process dies after so many inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use orchid_engine::{
    CursorKey, EmitId, EndStatus, ExecutionEnd, ExecutionFinish, FetchError, FetchErrorKind, Input, Machine,
    Message, Output, Request, Response, SavedCheckpoint, StopReason, TimerId, Topic, TryId,
};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{Clock, EXECUTION, Setup, apply, apply_cursors, saved, start};

/// An upstream: what it answers, the same whenever it is asked, but for the faults before.
pub(crate) trait Upstream {
    fn reply(&mut self, request: &Request) -> Reply;
}

/// What an upstream answers.
pub(crate) struct Reply {
    pub(crate) result: Result<Response, FetchError>,
    /// Bytes after which the body breaks off, where it is taken in pieces.
    pub(crate) breaks: Option<usize>,
}

impl Reply {
    /// A status and a JSON body; a 429 asks for so long a wait that the run is handed back.
    pub(crate) fn json(request: &Request, status: u16, body: &Value) -> Reply {
        let retry_after = if status == 429 { "90" } else { "1" };
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("retry-after".to_owned(), retry_after.to_owned()),
        ];
        let response =
            Response { status, headers, body: body.to_string().into(), url: request.url.to_string() };
        Reply { result: Ok(response), breaks: None }
    }

    /// No answer at all.
    pub(crate) fn broken() -> Reply {
        Reply { result: Err(broken()), breaks: None }
    }
}

fn broken() -> FetchError {
    FetchError { kind: FetchErrorKind::Broken, message: "it broke".to_owned(), status: None }
}

/// In which order things happen.
#[derive(Debug, Clone)]
pub(crate) struct Disorder {
    /// Which of the inputs at hand comes next.
    pub(crate) choices: Vec<usize>,
    /// Inputs until a message is acknowledged.
    pub(crate) lag: usize,
    /// Bytes of the pieces of a body.
    pub(crate) piece: usize,
    /// Inputs before which the run is told to stop: by a drain, or at odd ones by a sink that takes nothing.
    pub(crate) stops: Vec<usize>,
}

impl Disorder {
    pub(crate) fn none() -> Disorder {
        Disorder { choices: vec![0], lag: 0, piece: 1 << 20, stops: Vec::new() }
    }

    pub(crate) fn any() -> impl Strategy<Value = Disorder> {
        let choices = prop::collection::vec(0_usize..20, 1..12);
        (choices, 0_usize..5, 1_usize..40, prop::collection::vec(1_usize..40, 0..3))
            .prop_map(|(choices, lag, piece, stops)| Disorder { choices, lag, piece, stops })
    }
}

/// What a run did so far, over all its attempts.
#[derive(Default)]
pub(crate) struct Ran {
    pub(crate) messages: Vec<Message>,
    pub(crate) newest: Option<SavedCheckpoint>,
    pub(crate) context: BTreeMap<String, Bytes>,
    pub(crate) cursors: BTreeMap<CursorKey, Bytes>,
    /// Every value that a cursor was saved with, in order.
    pub(crate) cursor_values: Vec<(CursorKey, Bytes)>,
    pub(crate) end: Option<ExecutionEnd>,
    /// Tries under way at once.
    pub(crate) most: usize,
    /// Method and url of each request, in order.
    pub(crate) asked: Vec<String>,
}

impl Ran {
    /// Before anything was done.
    pub(crate) fn fresh(setup: &Setup) -> Ran {
        Ran { context: setup.context.clone(), cursors: setup.cursors.clone(), ..Ran::default() }
    }

    /// What another process finds: nothing but what was saved.
    pub(crate) fn left(&self) -> Ran {
        Ran {
            newest: self.newest.clone(),
            context: self.context.clone(),
            cursors: self.cursors.clone(),
            ..Ran::default()
        }
    }

    /// What the next run finds.
    pub(crate) fn next(&self) -> Ran {
        Ran { newest: None, ..self.left() }
    }
}

/// Goes on with a run, until its end or the process's after `steps` inputs.
pub(crate) fn run(
    setup: &Setup,
    upstream: &mut dyn Upstream,
    mut ran: Ran,
    steps: usize,
    disorder: &Disorder,
) -> Ran {
    let mut clock = Clock { elapsed: Duration::ZERO };
    let mut step = 0;
    for attempt in 1..200 {
        let mut setup = setup.clone();
        (setup.context, setup.cursors) = (ran.context.clone(), ran.cursors.clone());
        let machine = Machine::new(setup.job(attempt, EXECUTION, ran.newest.clone()));
        let mut process = Process {
            machine: machine.expect("the checkpoint reads"),
            upstream: &mut *upstream,
            disorder,
            ran: &mut ran,
            clock,
            inputs: vec![Input::Begin],
            sending: Vec::new(),
            bodies: BTreeMap::new(),
            under_way: BTreeSet::new(),
        };
        let left = process.run(&mut step, steps);
        clock = process.clock;
        match left {
            Left::Ended | Left::Killed => return ran,
            Left::HandedBack => {}
        }
    }
    panic!("it is handed back for ever");
}

enum Left {
    Ended,
    Killed,
    HandedBack,
}

struct Process<'a> {
    machine: Machine,
    upstream: &'a mut dyn Upstream,
    disorder: &'a Disorder,
    ran: &'a mut Ran,
    clock: Clock,
    /// What has happened, and is not told yet.
    inputs: Vec<Input>,
    /// Messages on their way, and the step at which they are acknowledged.
    sending: Vec<(usize, EmitId, Message)>,
    /// Bodies that come in pieces: the rest, and whether it breaks off there.
    bodies: BTreeMap<TryId, (Bytes, bool)>,
    under_way: BTreeSet<TryId>,
}

impl Process<'_> {
    fn run(&mut self, step: &mut usize, steps: usize) -> Left {
        while *step < steps {
            *step += 1;
            assert!(*step < 100_000, "it does not end");
            self.clock.elapsed += Duration::from_millis(7);
            let input = self.next(*step);
            let mut left = None;
            for output in self.machine.step(self.clock.now(), input) {
                if let Some(leaving) = self.take(output, *step) {
                    left = Some(leaving);
                }
            }
            self.acknowledge(if left.is_some() { usize::MAX } else { *step });
            if let Some(left) = left {
                return left;
            }
        }
        Left::Killed
    }

    fn next(&mut self, step: usize) -> Input {
        if self.disorder.stops.contains(&step) {
            let odd = step % 2 == 1;
            return Input::Stop(if odd { StopReason::SinkStalled } else { StopReason::Drain });
        }
        assert!(!self.inputs.is_empty(), "it waits for nothing");
        let choice = self.disorder.choices[step % self.disorder.choices.len()];
        let input = self.inputs.remove(choice % self.inputs.len());
        if let Input::Response { try_id, .. } | Input::ResponseHead { try_id, .. } = &input {
            self.under_way.remove(try_id);
        }
        input
    }

    fn take(&mut self, output: Output, step: usize) -> Option<Left> {
        match output {
            Output::Fetch { try_id, request } => self.fetch(try_id, &request),
            Output::ReadBody { try_id } => self.read(try_id),
            Output::Discard { try_id } => {
                self.bodies.remove(&try_id);
                self.inputs
                    .retain(|input| !matches!(input, Input::BodyPiece { try_id: of, .. } if *of == try_id));
            }
            Output::Emit { emit_id, message } => {
                self.sending.push((step + self.disorder.lag, emit_id, message))
            }
            // The first wait of an attempt is its deadline.
            Output::StartTimer { timer_id: TimerId(1), .. } => {}
            Output::StartTimer { timer_id, .. } => self.inputs.push(Input::TimerFired { timer_id }),
            Output::Park { not_before, .. } => {
                let wait = (not_before - start()).to_std().unwrap_or_default();
                self.clock.elapsed = self.clock.elapsed.max(wait);
                return Some(Left::HandedBack);
            }
            Output::Finished(ExecutionFinish::Released) => return Some(Left::HandedBack),
            Output::Finished(ExecutionFinish::Ended(ending)) => {
                self.ran.end = Some(ending);
                return Some(Left::Ended);
            }
        }
        None
    }

    fn fetch(&mut self, try_id: TryId, request: &Request) {
        self.ran.asked.push(format!("{} {}", request.method, &request.url[url::Position::BeforePath..]));
        self.under_way.insert(try_id);
        self.ran.most = self.ran.most.max(self.under_way.len());
        let duration = Duration::from_millis(5);
        let Reply { result, breaks } = self.upstream.reply(request);
        match result {
            Ok(mut response) if in_pieces(request, &response) => {
                let mut body = std::mem::take(&mut response.body);
                if let Some(after) = breaks {
                    body.truncate(after);
                }
                self.bodies.insert(try_id, (body, breaks.is_some()));
                self.inputs.push(Input::ResponseHead { try_id, response, duration });
            }
            result => self.inputs.push(Input::Response { try_id, result, duration }),
        }
    }

    fn read(&mut self, try_id: TryId) {
        let Some((body, breaks)) = self.bodies.get_mut(&try_id) else { return };
        let piece = body.split_to(self.disorder.piece.min(body.len()));
        let piece = match (piece.is_empty(), *breaks) {
            (false, _) => Ok(Some(piece)),
            (true, false) => Ok(None),
            (true, true) => Err(broken()),
        };
        self.inputs.push(Input::BodyPiece { try_id, piece, duration: Duration::from_millis(9) });
    }

    /// The newest first: acknowledgements come in any order.
    fn acknowledge(&mut self, until: usize) {
        while let Some(index) = self.sending.iter().rposition(|(due, ..)| *due <= until) {
            let (_, emit_id, message) = self.sending.remove(index);
            self.ran.messages.push(message);
            self.machine.step(self.clock.now(), Input::MessageAcked { emit_id });
        }
        if let Some(checkpoint) = self.machine.checkpoint() {
            apply(&mut self.ran.context, &checkpoint);
            apply_cursors(&mut self.ran.cursors, &checkpoint);
            let changes = checkpoint.cursor_changes.iter();
            self.ran.cursor_values.extend(changes.map(|change| (change.key.clone(), change.json.clone())));
            self.ran.newest = Some(saved(&checkpoint, self.ran.newest.as_ref()));
        }
    }
}

fn in_pieces(request: &Request, response: &Response) -> bool {
    let kind = response.headers.iter().find(|(name, _)| name == "content-type");
    request.streaming.applies(response.status, kind.map_or("", |(_, kind)| kind))
}

/// Every row that was emitted, by its place. Chunks may be cut anywhere.
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

/// A compiled definition, set up.
pub(crate) fn setup(definition: &Value) -> Setup {
    let definition = orchid_plan::compile(definition, &orchid_plan::ServerLimits::default());
    Setup::new(definition.unwrap_or_else(|faults| panic!("{faults}")))
}

/// What a run came to, apart from its messages.
pub(crate) fn succeeded(ran: &Ran) -> bool {
    ran.end.as_ref().is_some_and(|ending| ending.status == EndStatus::Succeeded)
}
