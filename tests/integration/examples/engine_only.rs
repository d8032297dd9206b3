//! The examples on the engine alone with a simulated clock: waits cost no time, and an execution
//! can be killed between any two of its inputs.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use orchid_engine::{
    AttemptSpec, Checkpoint, CurrentTime, CursorKey, EmitId, EndStatus, ExecutionConfig, ExecutionFinish,
    ExecutionIdentity, ExecutionLimits, Input, Machine, Message, Output, Request, Response, SavedCheckpoint,
    StopReason, TimerId, Topic, TraceContext, TryId,
};
use orchid_plan::{Decompression, Definition, ServerLimits};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use uuid::Uuid;

use super::EXAMPLES;
use super::api::{ApiSetup, Example, ExampleApi};
use super::files::ExampleFiles;
use super::outcome::{EmittedMessage, ExecutionOutcome};

/// More inputs than any execution here needs.
const MOST_INPUTS: usize = 200_000;
/// The simulated time between two executions.
const REST: Duration = Duration::from_secs(300);
/// The size of a piece of a streamed body.
const PIECE_BYTES: usize = 1000;

#[test]
fn every_example_reads_its_whole_api() {
    let wrong: Vec<String> = EXAMPLES.iter().filter_map(|example| runs(example, None).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn killed_example_execution_misses_nothing() {
    let mut wrong = Vec::new();
    for example in &EXAMPLES {
        let length = runs(example, None).unwrap_or_default();
        // About 30 kills, at an odd distance so that they fall into different phases.
        let step = (length / 30).max(1) | 1;
        wrong.extend((1..length).step_by(step).filter_map(|kill| runs(example, Some(kill)).err()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs all executions of an example, each killed once after `kill` inputs. Returns the number of
/// inputs
fn runs(example: &Example, kill: Option<usize>) -> Result<usize, String> {
    let now = DateTime::from_timestamp(1_789_000_000, 0).expect("a time");
    let [url, other] = ["http://127.0.0.1:8001", "http://127.0.0.1:8002"].map(str::to_owned);
    let ground = ApiSetup { now, url, other, calm: kill.is_some(), patient: true };
    let mut api = (example.api)(&ground);
    let mut world = SimulatedWorld::new(example, &ground);
    let mut longest = 0;
    for run in 0.. {
        world.wall += REST;
        if !api.begin(run, world.wall) {
            break;
        }
        let started = world.wall;
        let ran = world.run(api.as_mut(), run, kill);
        let expected = api.expected(run, started);
        let when = kill.map(|kill| format!(", killed after {kill} inputs")).unwrap_or_default();
        if let Some(words) = ran.differs(&expected, kill.is_some()) {
            return Err(format!("{}, run {run}{when}:\n    {words}", example.folder));
        }
        if let Some(words) = world.files.secrets().into_iter().find_map(|secret| ran.shows(secret)) {
            return Err(format!("{}, run {run}{when}: {words}", example.folder));
        }
        longest = longest.max(world.inputs);
    }
    Ok(longest)
}

/// The state that outlives an execution.
struct SimulatedWorld {
    files: ExampleFiles,
    definition: Arc<Definition>,
    wall: DateTime<Utc>,
    context: BTreeMap<String, Bytes>,
    cursors: BTreeMap<CursorKey, Bytes>,
    /// The number of inputs of the last attempt that was not killed.
    inputs: usize,
    attempts: i32,
}

/// An event that the machine waits for.
enum PendingEvent {
    Answer(TryId, Response),
    Head(TryId, Response),
    Piece(TryId),
    Woke(TimerId),
    Acked(EmitId, Message),
}

/// The end of an attempt.
enum AttemptEnd {
    Ended(EndStatus, bool),
    Parked(DateTime<Utc>),
    Killed,
}

/// A running attempt.
struct SimulatedAttempt<'a> {
    machine: Machine,
    api: &'a mut dyn ExampleApi,
    world: &'a mut SimulatedWorld,
    due: Vec<(DateTime<Utc>, PendingEvent)>,
    bodies: BTreeMap<TryId, VecDeque<Bytes>>,
    /// The messages in Kafka.
    said: &'a mut Vec<EmittedMessage>,
    resume: &'a mut Option<SavedCheckpoint>,
    acks: usize,
}

impl SimulatedWorld {
    fn new(example: &Example, ground: &ApiSetup) -> SimulatedWorld {
        let files = ExampleFiles::of(example, ground);
        let plan = orchid_plan::check(&files.plan, &ServerLimits::default());
        let plan = plan.unwrap_or_else(|faults| panic!("{}: {faults}", example.folder));
        SimulatedWorld {
            files,
            definition: Arc::new(plan.definition),
            wall: ground.now,
            context: BTreeMap::new(),
            cursors: BTreeMap::new(),
            inputs: 0,
            attempts: 0,
        }
    }

    /// Runs one execution to its end, across parks and a kill.
    fn run(&mut self, api: &mut dyn ExampleApi, run: usize, kill: Option<usize>) -> ExecutionOutcome {
        let (mut said, mut resume) = (Vec::new(), None);
        let (started, mut kill) = (self.wall, kill);
        let mut cancel = false;
        for number in 1.. {
            assert!(number < 1000, "it is parked for ever");
            self.attempts += 1;
            let machine = Machine::new(self.job(run, number, started, resume.clone())).expect("it begins");
            let attempt = SimulatedAttempt {
                machine,
                api: &mut *api,
                world: &mut *self,
                due: Vec::new(),
                bodies: BTreeMap::new(),
                said: &mut said,
                resume: &mut resume,
                acks: 0,
            };
            let first = if cancel { Input::Stop(StopReason::Cancel) } else { Input::Begin };
            match attempt.go(first, kill) {
                AttemptEnd::Ended(status, partial) => {
                    let status = format!("{status:?}").to_lowercase();
                    return ExecutionOutcome { status, partial, said };
                }
                AttemptEnd::Parked(not_before) => {
                    self.wall = self.wall.max(not_before);
                    cancel = api.cancels(run);
                }
                AttemptEnd::Killed => {
                    self.wall += Duration::from_secs(40);
                    kill = None;
                }
            }
        }
        unreachable!("an attempt ends in one of the ways above")
    }

    fn job(
        &self,
        run: usize,
        attempt: i32,
        started: DateTime<Utc>,
        resume: Option<SavedCheckpoint>,
    ) -> AttemptSpec {
        let text = |member| ExampleFiles::text(&self.files.plan, member).to_owned();
        AttemptSpec {
            identity: ExecutionIdentity {
                tenant_id: Uuid::from_u128(1),
                integration: text("integration"),
                plan_key: text("key"),
                plan_revision: 1,
                config_id: Uuid::from_u128(2),
                config_key: "main".to_owned(),
                execution_id: Uuid::from_u128(3 + run as u128),
                attempt,
                fence: i64::from(self.attempts),
                scheduled_at: started,
                started_at: started,
            },
            definition: Arc::clone(&self.definition),
            config: ExecutionConfig {
                values: self.files.values.to_string().into(),
                secret_pointers: self.files.secret_pointers(),
                secrets: Vec::new(),
                allowed_hosts: self.files.allowed_hosts.clone(),
            },
            context: self.context.clone(),
            cursors: self.cursors.clone(),
            resume,
            limits: ExecutionLimits {
                park_after: Duration::from_secs(30),
                max_wait: Duration::from_secs(86_400),
                message_max_bytes: 1 << 20,
                body_max_bytes: 10 << 20,
                value_max_bytes: 512 << 20,
            },
            trace: TraceContext::default(),
            seed: 7,
            fresh_start_reason: String::new(),
            time_used: Duration::ZERO,
        }
    }
}

impl SimulatedAttempt<'_> {
    fn go(mut self, first: Input, kill: Option<usize>) -> AttemptEnd {
        let begun = self.world.wall;
        let mut input = first;
        for number in 0.. {
            assert!(number < MOST_INPUTS, "it does not end");
            if kill == Some(number) {
                return AttemptEnd::Killed;
            }
            self.world.inputs = number;
            let monotonic = (self.world.wall - begun).to_std().unwrap_or_default();
            let outputs = self.machine.step(CurrentTime { wall: self.world.wall, monotonic }, input);
            if let Some(left) = outputs.into_iter().filter_map(|output| self.take(output)).last() {
                self.close(begun);
                return left;
            }
            input = self.next();
        }
        unreachable!("the loop is left from within")
    }

    /// Performs an output of the machine; returns the end of the attempt if the output is one.
    fn take(&mut self, output: Output) -> Option<AttemptEnd> {
        match output {
            Output::Fetch { try_id, request } => self.fetch(try_id, &request),
            Output::ReadBody { try_id } => self.later(1, PendingEvent::Piece(try_id)),
            Output::Discard { try_id } => drop(self.bodies.remove(&try_id)),
            Output::SaveCheckpoint => {}
            // Acknowledgements arrive in the order of their messages.
            Output::Emit { emit_id, message } => self.later(30, PendingEvent::Acked(emit_id, message)),
            Output::StartTimer { timer_id, delay } => {
                self.due.push((self.world.wall + delay, PendingEvent::Woke(timer_id)));
            }
            Output::Park { not_before, .. } => return Some(AttemptEnd::Parked(not_before)),
            Output::Finished(ExecutionFinish::Ended(ending)) => {
                return Some(AttemptEnd::Ended(ending.status, ending.partial));
            }
            Output::Finished(ExecutionFinish::Released) => panic!("the machine was not drained"),
        }
        None
    }

    fn later(&mut self, millis: u64, due: PendingEvent) {
        self.due.push((self.world.wall + Duration::from_millis(millis), due));
    }

    fn fetch(&mut self, try_id: TryId, request: &Request) {
        let seen = seen(request);
        let response = match self.api.answer(&seen, self.world.wall) {
            UpstreamReply::Json(status, body) => response(
                request,
                status,
                &[("content-type", "application/json".to_owned())],
                body.to_string().into(),
            ),
            UpstreamReply::Raw(status, headers, body) => response(request, status, &headers, body),
            other => panic!("no server of an example answers {other:?}"),
        };
        // Responses may overtake each other.
        let millis = 20 + try_id.0 * 37 % 50;
        let kind = response.headers.iter().find(|(name, _)| name == "content-type");
        let kind = kind.map(|(_, kind)| kind.clone()).unwrap_or_default();
        if request.streaming.applies(response.status, &kind) {
            let pieces = response.body.chunks(PIECE_BYTES).map(Bytes::copy_from_slice).collect();
            self.bodies.insert(try_id, pieces);
            self.later(millis, PendingEvent::Head(try_id, Response { body: Bytes::new(), ..response }));
        } else {
            self.later(millis, PendingEvent::Answer(try_id, response));
        }
    }

    /// Returns the next input: the earliest pending event.
    fn next(&mut self) -> Input {
        loop {
            let earliest = (0..self.due.len()).min_by_key(|index| self.due[*index].0);
            let (at, due) = self.due.remove(earliest.expect("a run that goes on waits for something"));
            self.world.wall = self.world.wall.max(at);
            let duration = Duration::from_millis(20);
            return match due {
                PendingEvent::Answer(try_id, response) => {
                    Input::Response { try_id, result: Ok(response), duration }
                }
                PendingEvent::Head(try_id, response) => Input::ResponseHead { try_id, response, duration },
                PendingEvent::Piece(try_id) => match self.bodies.get_mut(&try_id) {
                    Some(body) => {
                        Input::BodyPiece { try_id, piece: Ok(body.pop_front().map(Into::into)), duration }
                    }
                    None => continue,
                },
                PendingEvent::Woke(timer_id) => Input::TimerFired { timer_id },
                PendingEvent::Acked(emit_id, message) => {
                    self.said.push(said(&message));
                    self.acks += 1;
                    // Saves an occasional checkpoint before the machine learns of this
                    // acknowledgement.
                    if self.acks.is_multiple_of(3) {
                        self.save();
                    }
                    Input::MessageAcked { emit_id }
                }
            };
        }
    }

    fn save(&mut self) {
        let Some(checkpoint) = self.machine.checkpoint() else { return };
        let Checkpoint {
            resume_state,
            finished_steps,
            context_changes,
            cursor_changes,
            progress,
            must_cancel: _,
        } = checkpoint;
        for (name, change) in context_changes {
            match change {
                Some(json) => self.world.context.insert(name, json),
                None => self.world.context.remove(&name),
            };
        }
        self.world.cursors.extend(cursor_changes.into_iter().map(|change| (change.key, change.json)));
        let before = self.resume.take().and_then(|saved| saved.finished_steps);
        *self.resume =
            Some(SavedCheckpoint { resume_state, finished_steps: finished_steps.or(before), progress });
    }

    /// Delivers the outstanding acknowledgements and saves.
    fn close(&mut self, begun: DateTime<Utc>) {
        let mut due = std::mem::take(&mut self.due);
        due.sort_by_key(|(at, _)| *at);
        for (at, due) in due {
            let PendingEvent::Acked(emit_id, message) = due else { continue };
            self.world.wall = self.world.wall.max(at);
            self.said.push(said(&message));
            let monotonic = (self.world.wall - begun).to_std().unwrap_or_default();
            let outputs = self
                .machine
                .step(CurrentTime { wall: self.world.wall, monotonic }, Input::MessageAcked { emit_id });
            assert!(outputs.is_empty(), "an acknowledgement after the end changes nothing");
        }
        self.save();
    }
}

fn seen(request: &Request) -> ReceivedRequest {
    let mut headers: std::collections::HashMap<String, String> = request.headers.iter().cloned().collect();
    // The executor's client adds this header.
    headers.entry("user-agent".to_owned()).or_insert_with(|| "orchid".to_owned());
    ReceivedRequest {
        number: 0,
        method: request.method.to_owned(),
        path: request.url.path().to_owned(),
        query: request.url.query_pairs().into_owned().collect(),
        raw_query: request.url.query().unwrap_or_default().to_owned(),
        headers,
        body: request.body.clone().unwrap_or_default(),
    }
}

fn response(request: &Request, status: u16, headers: &[(&'static str, String)], body: Bytes) -> Response {
    let is_packed = request.decompress != Decompression::None && body.starts_with(&[0x1f, 0x8b]);
    let body = if is_packed {
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut unpacked).expect("a gzip file");
        unpacked.into()
    } else {
        body
    };
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Response { status, headers, body, url: request.url.to_string(), files: Vec::new() }
}

fn said(message: &Message) -> EmittedMessage {
    let header = |name: &str| {
        let found = message.headers.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    assert!(matches!(message.topic, Topic::Responses | Topic::Errors | Topic::Events));
    EmittedMessage {
        kind: header("type"),
        position: header("orchid-position"),
        fence: header("orchid-fence").parse().unwrap_or_default(),
        payload: serde_json::from_slice(&message.payload).expect("a payload is JSON"),
    }
}
