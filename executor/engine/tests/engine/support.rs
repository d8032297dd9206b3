//! A simulation around the machine: a scripted upstream, a sink that acknowledges at once, and a
//! clock that jumps from one due input to the next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use orchid_engine::{
    ArchiveFile, AttemptSpec, BodyPiece, BodyStreaming, Checkpoint, CurrentTime, CursorKey, ExecutionConfig,
    ExecutionFinish, ExecutionIdentity, ExecutionLimits, FetchError, FetchErrorKind, Input, Machine, Message,
    Output, Request, Response, SavedCheckpoint, StopReason, TimerId, TraceContext, TryId,
};
use orchid_plan::Definition;
use uuid::Uuid;

/// Returns the time at which every execution in these tests begins.
pub(crate) fn start() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_768_473_000_000).unwrap()
}

/// The plan of an execution with everything else it is given.
#[derive(Clone)]
pub(crate) struct TestSetup {
    pub(crate) definition: Arc<Definition>,
    pub(crate) config: serde_json::Value,
    pub(crate) secrets: Vec<String>,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) context: BTreeMap<String, Bytes>,
    pub(crate) park_after: Duration,
    pub(crate) message_max_bytes: usize,
    pub(crate) value_max_bytes: usize,
    pub(crate) ran: Duration,
    pub(crate) traced: bool,
    pub(crate) cursors: BTreeMap<CursorKey, Bytes>,
    /// Bytes per piece of a streamed body.
    pub(crate) piece_bytes: usize,
    /// Time that each piece of a streamed body takes to arrive.
    pub(crate) piece_time: Duration,
}

impl TestSetup {
    pub(crate) fn new(definition: Definition) -> TestSetup {
        TestSetup {
            definition: Arc::new(definition),
            config: serde_json::json!({}),
            secrets: Vec::new(),
            allowed_hosts: Vec::new(),
            context: BTreeMap::new(),
            park_after: Duration::from_secs(30),
            message_max_bytes: 1024 * 1024,
            value_max_bytes: 512 * 1024 * 1024,
            ran: Duration::ZERO,
            traced: false,
            cursors: BTreeMap::new(),
            piece_bytes: 64 * 1024,
            piece_time: Duration::from_millis(1),
        }
    }

    pub(crate) fn job(&self, attempt: i32, execution: u128, resume: Option<SavedCheckpoint>) -> AttemptSpec {
        let traceparent =
            if self.traced { "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" } else { "" };
        AttemptSpec {
            identity: ExecutionIdentity {
                tenant_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
                integration: "shop".to_owned(),
                plan_key: "orders".to_owned(),
                plan_revision: 3,
                config_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002),
                config_key: "acme".to_owned(),
                execution_id: Uuid::from_u128(execution),
                attempt,
                fence: i64::from(attempt) + 40,
                scheduled_at: start(),
                started_at: start() + Duration::from_secs(1),
            },
            definition: self.definition.clone(),
            config: ExecutionConfig {
                values: self.config.to_string().into(),
                secret_pointers: self.secrets.clone(),
                secrets: Vec::new(),
                allowed_hosts: self.allowed_hosts.clone(),
            },
            context: self.context.clone(),
            cursors: self.cursors.clone(),
            resume,
            fresh_start_reason: String::new(),
            limits: ExecutionLimits {
                park_after: self.park_after,
                max_wait: Duration::from_secs(86_400),
                message_max_bytes: self.message_max_bytes,
                body_max_bytes: 10 * 1024 * 1024,
                value_max_bytes: self.value_max_bytes,
            },
            trace: TraceContext { traceparent: traceparent.to_owned(), tracestate: String::new() },
            seed: 7,
            time_used: self.ran,
        }
    }
}

/// The id of the first execution of a test.
pub(crate) const EXECUTION: u128 = 0x0190_0000_0000_7000_8000_0000_0000_0003;

/// The simulated upstream's reaction to a request.
pub(crate) enum Reply {
    Response {
        result: Result<Response, FetchError>,
        duration: Duration,
    },
    /// A response, followed by a stop one second after it.
    ThenStop(Box<Reply>, StopReason),
    Stop(StopReason),
}

/// One line of an execution's trace.
#[expect(clippy::large_enum_variant, reason = "a test holds few of them")]
pub(crate) enum TraceEvent {
    Fetch(Request),
    Message(Message),
    Wait(Duration),
    Park { not_before: DateTime<Utc>, reason: String },
    Finished(ExecutionFinish),
}

/// A simulated clock, as time since the start of the execution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TestClock {
    pub(crate) elapsed: Duration,
}

impl TestClock {
    pub(crate) fn now(self) -> CurrentTime {
        CurrentTime { wall: start() + self.elapsed, monotonic: Duration::from_secs(1000) + self.elapsed }
    }
}

/// The way an attempt ended.
pub(crate) enum AttemptEnd {
    Parked(DateTime<Utc>),
    Finished(ExecutionFinish),
}

enum DueInput {
    Reply(TryId, Reply),
    Piece(TryId),
    Timer(TimerId),
}

/// A streamed body that is not fully delivered.
struct PendingBody {
    rest: Bytes,
    /// The files that the rest consists of, if the body is an archive. A file that has begun has no
    /// name any more.
    files: VecDeque<ArchiveFile>,
    /// The error that ends the body early.
    break_error: Option<FetchError>,
}

impl PendingBody {
    fn next_piece(&mut self, most: usize) -> Option<BodyPiece> {
        let Some(file) = self.files.front_mut() else {
            let bytes = self.rest.split_to(most.min(self.rest.len()));
            return (!bytes.is_empty()).then(|| bytes.into());
        };
        let bytes = self.rest.split_to(most.min(file.bytes));
        file.bytes -= bytes.len();
        let name = std::mem::take(&mut file.name);
        if file.bytes == 0 {
            self.files.pop_front();
        }
        Some(BodyPiece { bytes, file: Some(name).filter(|name| !name.is_empty()) })
    }
}

/// Runs one attempt with streamed pieces of 64 KiB. `reply` is called for each request, in order.
pub(crate) fn attempt(
    machine: &mut Machine,
    clock: &mut TestClock,
    reply: &mut dyn FnMut(&Request) -> Reply,
    events: &mut Vec<TraceEvent>,
) -> AttemptEnd {
    let (piece_bytes, piece_time) = (64 * 1024, Duration::from_millis(1));
    Simulation { machine, clock, reply, events, piece_bytes, piece_time }.run(Input::Begin)
}

/// The machine's surroundings during one attempt. Every message is acknowledged at once.
pub(crate) struct Simulation<'a> {
    pub(crate) machine: &'a mut Machine,
    pub(crate) clock: &'a mut TestClock,
    pub(crate) reply: &'a mut dyn FnMut(&Request) -> Reply,
    pub(crate) events: &'a mut Vec<TraceEvent>,
    pub(crate) piece_bytes: usize,
    pub(crate) piece_time: Duration,
}

impl Simulation<'_> {
    pub(crate) fn run(mut self, first: Input) -> AttemptEnd {
        let mut due: Vec<(Duration, DueInput)> = Vec::new();
        let mut bodies: BTreeMap<TryId, PendingBody> = BTreeMap::new();
        let mut streaming: BTreeMap<TryId, BodyStreaming> = BTreeMap::new();
        let mut input = first;
        loop {
            let (mut inputs, mut left) = (VecDeque::from([input]), None);
            while let Some(input) = inputs.pop_front() {
                for output in self.machine.step(self.clock.now(), input) {
                    match output {
                        Output::Fetch { try_id, request } => {
                            streaming.insert(try_id, request.streaming);
                            self.fetch(try_id, request, &mut due);
                        }
                        Output::ReadBody { try_id } => {
                            due.push((self.clock.elapsed + self.piece_time, DueInput::Piece(try_id)));
                        }
                        Output::Discard { try_id } => drop(bodies.remove(&try_id)),
                        // The caller takes the last checkpoint only.
                        Output::SaveCheckpoint => {}
                        Output::Emit { emit_id, message } => {
                            self.events.push(TraceEvent::Message(message));
                            inputs.push_back(Input::MessageAcked { emit_id });
                        }
                        Output::StartTimer { timer_id, delay } => {
                            // The first timer of an attempt is its deadline, no wait of the plan.
                            if timer_id != TimerId(1) {
                                self.events.push(TraceEvent::Wait(delay));
                            }
                            due.push((self.clock.elapsed + delay, DueInput::Timer(timer_id)));
                        }
                        Output::Park { not_before, reason } => {
                            self.events.push(TraceEvent::Park { not_before, reason });
                            left = Some(AttemptEnd::Parked(not_before));
                        }
                        Output::Finished(finish) => {
                            self.events.push(TraceEvent::Finished(finish.clone()));
                            left = Some(AttemptEnd::Finished(finish));
                        }
                    }
                }
            }
            if let Some(left) = left {
                return left;
            }
            input = loop {
                let next = (0..due.len()).min_by_key(|index| due[*index].0);
                let (at, what) = due.remove(next.expect("an unfinished execution waits for something"));
                self.clock.elapsed = self.clock.elapsed.max(at);
                if let Some(input) = self.input(what, &streaming, &mut bodies) {
                    break input;
                }
            };
        }
    }

    fn fetch(&mut self, try_id: TryId, request: Request, due: &mut Vec<(Duration, DueInput)>) {
        let reply = (self.reply)(&request);
        self.events.push(TraceEvent::Fetch(request));
        let (reply, stop) = match reply {
            Reply::ThenStop(reply, stop) => (*reply, Some(stop)),
            reply @ (Reply::Response { .. } | Reply::Stop(_)) => (reply, None),
        };
        let duration = match &reply {
            Reply::Response { duration, .. } => *duration,
            Reply::ThenStop(..) | Reply::Stop(_) => Duration::ZERO,
        };
        due.push((self.clock.elapsed + duration, DueInput::Reply(try_id, reply)));
        if let Some(stop) = stop {
            let later = self.clock.elapsed + duration + Duration::from_secs(1);
            due.push((later, DueInput::Reply(try_id, Reply::Stop(stop))));
        }
    }

    fn input(
        &self,
        what: DueInput,
        streaming: &BTreeMap<TryId, BodyStreaming>,
        bodies: &mut BTreeMap<TryId, PendingBody>,
    ) -> Option<Input> {
        let duration = Duration::from_millis(50);
        Some(match what {
            DueInput::Timer(timer_id) => Input::TimerFired { timer_id },
            DueInput::Reply(_, Reply::Stop(reason) | Reply::ThenStop(_, reason)) => Input::Stop(reason),
            DueInput::Reply(try_id, Reply::Response { result: Ok(mut response), duration })
                if is_streamed(streaming[&try_id], &response) =>
            {
                let rest = std::mem::take(&mut response.body);
                let break_error = response.headers.iter().find(|(name, _)| name == BREAKS);
                let break_error = break_error.map(|(_, code)| broke_off(code, &response));
                let files = std::mem::take(&mut response.files).into();
                bodies.insert(try_id, PendingBody { rest, files, break_error });
                Input::ResponseHead { try_id, response, duration }
            }
            DueInput::Reply(try_id, Reply::Response { result, duration }) => {
                // A body that is read whole breaks off too: what came of it is part of the error.
                let result = result.and_then(|response| {
                    match response.headers.iter().find(|(name, _)| name == BREAKS) {
                        Some((_, code)) => {
                            let error = broke_off(code, &response);
                            Err(FetchError { received: Some(Box::new(response)), ..error })
                        }
                        None => Ok(response),
                    }
                });
                Input::Response { try_id, result, duration }
            }
            DueInput::Piece(try_id) => {
                let body = bodies.get_mut(&try_id)?;
                let piece = match (body.next_piece(self.piece_bytes), &body.break_error) {
                    (Some(piece), _) => Ok(Some(piece)),
                    (None, None) => Ok(None),
                    (None, Some(error)) => Err(error.clone()),
                };
                if !matches!(piece, Ok(Some(_))) {
                    bodies.remove(&try_id);
                }
                Input::BodyPiece { try_id, piece, duration }
            }
        })
    }
}

/// A test header that selects the error with which the body breaks off.
const BREAKS: &str = "x-breaks";

fn broke_off(code: &str, response: &Response) -> FetchError {
    FetchError {
        kind: fetch_error_kind(code).unwrap_or(FetchErrorKind::Broken),
        message: "it broke off".to_owned(),
        status: Some(response.status),
        received: None,
    }
}

const KINDS: [FetchErrorKind; 11] = [
    FetchErrorKind::Timeout,
    FetchErrorKind::Dns,
    FetchErrorKind::Connect,
    FetchErrorKind::Tls,
    FetchErrorKind::Broken,
    FetchErrorKind::TooLarge,
    FetchErrorKind::Decode,
    FetchErrorKind::TooManyRedirects,
    FetchErrorKind::HostNotAllowed,
    FetchErrorKind::AddressRefused,
    FetchErrorKind::InvalidRequest,
];

/// Returns the kind of fetch error with this code.
pub(crate) fn fetch_error_kind(code: &str) -> Option<FetchErrorKind> {
    KINDS.into_iter().find(|kind| kind.code() == code)
}

fn is_streamed(pieces: BodyStreaming, response: &Response) -> bool {
    let kind = response.headers.iter().find(|(name, _)| name == "content-type");
    pieces.applies(response.status, kind.map_or("", |(_, kind)| kind))
}

/// Converts a checkpoint to what the control plane grants to the next attempt: values of finished
/// steps stay until a checkpoint replaces them.
pub(crate) fn saved(checkpoint: &Checkpoint, before: Option<&SavedCheckpoint>) -> SavedCheckpoint {
    SavedCheckpoint {
        resume_state: checkpoint.resume_state.clone(),
        finished_steps: checkpoint
            .finished_steps
            .clone()
            .or_else(|| before.and_then(|saved| saved.finished_steps.clone())),
        progress: checkpoint.progress.clone(),
    }
}

/// Applies the cursor changes of a checkpoint.
pub(crate) fn apply_cursors(cursors: &mut BTreeMap<CursorKey, Bytes>, checkpoint: &Checkpoint) {
    for change in &checkpoint.cursor_changes {
        cursors.insert(change.key.clone(), change.json.clone());
    }
}

/// Applies the context changes of a checkpoint.
pub(crate) fn apply(context: &mut BTreeMap<String, Bytes>, checkpoint: &Checkpoint) {
    for (name, change) in &checkpoint.context_changes {
        match change {
            Some(json) => context.insert(name.clone(), json.clone()),
            None => context.remove(name),
        };
    }
}
