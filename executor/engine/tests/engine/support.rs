//! A world for the machine: an upstream that is a script, a sink that acknowledges, a clock that jumps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use orchid_engine::{
    AttemptSpec, BodyStreaming, Checkpoint, CurrentTime, CursorKey, ExecutionConfig, ExecutionFinish,
    ExecutionIdentity, ExecutionLimits, FetchError, FetchErrorKind, Input, Machine, Message, Output, Request,
    Response, SavedCheckpoint, StopReason, TimerId, TraceContext, TryId,
};
use orchid_plan::Definition;
use uuid::Uuid;

/// When every run here begins.
pub(crate) fn start() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_768_473_000_000).unwrap()
}

/// What a run is given, beside its plan.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) definition: Arc<Definition>,
    pub(crate) config: serde_json::Value,
    pub(crate) secrets: Vec<String>,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) context: BTreeMap<String, Bytes>,
    pub(crate) park_after: Duration,
    pub(crate) message_max_bytes: usize,
    pub(crate) ran: Duration,
    pub(crate) traced: bool,
    pub(crate) cursors: BTreeMap<CursorKey, Bytes>,
    /// Bytes of a piece, where a body comes in pieces.
    pub(crate) piece_bytes: usize,
    /// How long one takes.
    pub(crate) piece_time: Duration,
}

impl Setup {
    pub(crate) fn new(definition: Definition) -> Setup {
        Setup {
            definition: Arc::new(definition),
            config: serde_json::json!({}),
            secrets: Vec::new(),
            allowed_hosts: Vec::new(),
            context: BTreeMap::new(),
            park_after: Duration::from_secs(30),
            message_max_bytes: 1024 * 1024,
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
            limits: ExecutionLimits {
                park_after: self.park_after,
                message_max_bytes: self.message_max_bytes,
                body_max_bytes: 10 * 1024 * 1024,
            },
            trace: TraceContext { traceparent: traceparent.to_owned(), tracestate: String::new() },
            seed: 7,
            time_used: self.ran,
        }
    }
}

/// The execution that every first run is.
pub(crate) const EXECUTION: u128 = 0x0190_0000_0000_7000_8000_0000_0000_0003;

/// What the world does when it is asked.
pub(crate) enum Reply {
    Answer {
        result: Result<Response, FetchError>,
        duration: Duration,
    },
    /// An answer, and a stop while the run waits for what it does about it.
    ThenStop(Box<Reply>, StopReason),
    Stop(StopReason),
}

/// What happened, in order.
pub(crate) enum Event {
    Fetch(Request),
    Message(Message),
    Wait(Duration),
    Park { not_before: DateTime<Utc>, reason: String },
    Finished(ExecutionFinish),
}

/// The clock of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) elapsed: Duration,
}

impl Clock {
    pub(crate) fn now(self) -> CurrentTime {
        CurrentTime { wall: start() + self.elapsed, monotonic: Duration::from_secs(1000) + self.elapsed }
    }
}

/// How one attempt left.
pub(crate) enum Left {
    Parked(DateTime<Utc>),
    Finished(ExecutionFinish),
}

enum Due {
    Answer(TryId, Reply),
    Piece(TryId),
    Woke(TimerId),
}

/// A body that comes in pieces.
struct Coming {
    rest: Bytes,
    /// It breaks off there.
    breaks: Option<FetchError>,
}

/// Runs one attempt: every message is acknowledged at once. `reply` answers requests, in the order in which they come.
pub(crate) fn attempt(
    machine: &mut Machine,
    clock: &mut Clock,
    reply: &mut dyn FnMut(&Request) -> Reply,
    events: &mut Vec<Event>,
) -> Left {
    let (piece_bytes, piece_time) = (64 * 1024, Duration::from_millis(1));
    World { machine, clock, reply, events, piece_bytes, piece_time }.run(Input::Begin)
}

/// Everything that a machine needs around it.
pub(crate) struct World<'a> {
    pub(crate) machine: &'a mut Machine,
    pub(crate) clock: &'a mut Clock,
    pub(crate) reply: &'a mut dyn FnMut(&Request) -> Reply,
    pub(crate) events: &'a mut Vec<Event>,
    pub(crate) piece_bytes: usize,
    pub(crate) piece_time: Duration,
}

impl World<'_> {
    pub(crate) fn run(mut self, first: Input) -> Left {
        let mut due: Vec<(Duration, Due)> = Vec::new();
        let mut coming: BTreeMap<TryId, Coming> = BTreeMap::new();
        let mut asked: BTreeMap<TryId, BodyStreaming> = BTreeMap::new();
        let mut input = first;
        loop {
            let (mut acks, mut left) = (Vec::new(), None);
            for output in self.machine.step(self.clock.now(), input) {
                match output {
                    Output::Fetch { try_id, request } => {
                        asked.insert(try_id, request.streaming);
                        self.fetch(try_id, request, &mut due);
                    }
                    Output::ReadBody { try_id } => {
                        due.push((self.clock.elapsed + self.piece_time, Due::Piece(try_id)));
                    }
                    Output::Discard { try_id } => drop(coming.remove(&try_id)),
                    Output::Emit { emit_id, message } => {
                        self.events.push(Event::Message(message));
                        acks.push(emit_id);
                    }
                    Output::StartTimer { timer_id, delay } => {
                        // The first wait of an attempt is its deadline.
                        if timer_id != TimerId(1) {
                            self.events.push(Event::Wait(delay));
                        }
                        due.push((self.clock.elapsed + delay, Due::Woke(timer_id)));
                    }
                    Output::Park { not_before, reason } => {
                        self.events.push(Event::Park { not_before, reason });
                        left = Some(Left::Parked(not_before));
                    }
                    Output::Finished(finish) => {
                        self.events.push(Event::Finished(finish.clone()));
                        left = Some(Left::Finished(finish));
                    }
                }
            }
            for emit_id in acks {
                assert!(self.machine.step(self.clock.now(), Input::MessageAcked { emit_id }).is_empty());
            }
            if let Some(left) = left {
                return left;
            }
            input = loop {
                let next = (0..due.len()).min_by_key(|index| due[*index].0);
                let (at, what) = due.remove(next.expect("a run that goes on waits for something"));
                self.clock.elapsed = self.clock.elapsed.max(at);
                if let Some(input) = self.input(what, &asked, &mut coming) {
                    break input;
                }
            };
        }
    }

    fn fetch(&mut self, try_id: TryId, request: Request, due: &mut Vec<(Duration, Due)>) {
        let reply = (self.reply)(&request);
        self.events.push(Event::Fetch(request));
        let (reply, stop) = match reply {
            Reply::ThenStop(reply, stop) => (*reply, Some(stop)),
            reply @ (Reply::Answer { .. } | Reply::Stop(_)) => (reply, None),
        };
        let duration = match &reply {
            Reply::Answer { duration, .. } => *duration,
            Reply::ThenStop(..) | Reply::Stop(_) => Duration::ZERO,
        };
        due.push((self.clock.elapsed + duration, Due::Answer(try_id, reply)));
        if let Some(stop) = stop {
            let later = self.clock.elapsed + duration + Duration::from_secs(1);
            due.push((later, Due::Answer(try_id, Reply::Stop(stop))));
        }
    }

    fn input(
        &self,
        what: Due,
        asked: &BTreeMap<TryId, BodyStreaming>,
        coming: &mut BTreeMap<TryId, Coming>,
    ) -> Option<Input> {
        let duration = Duration::from_millis(50);
        Some(match what {
            Due::Woke(timer_id) => Input::TimerFired { timer_id },
            Due::Answer(_, Reply::Stop(reason) | Reply::ThenStop(_, reason)) => Input::Stop(reason),
            Due::Answer(try_id, Reply::Answer { result: Ok(mut response), duration })
                if in_pieces(asked[&try_id], &response) =>
            {
                let rest = std::mem::take(&mut response.body);
                // The header says with which error it breaks off.
                let breaks = response.headers.iter().find(|(name, _)| name == "x-breaks");
                let error = |code: &str| FetchError {
                    kind: kind_of(code).unwrap_or(FetchErrorKind::Broken),
                    message: "it broke off".to_owned(),
                    status: Some(response.status),
                };
                let breaks = breaks.map(|(_, code)| error(code));
                coming.insert(try_id, Coming { rest, breaks });
                Input::ResponseHead { try_id, response, duration }
            }
            Due::Answer(try_id, Reply::Answer { result, duration }) => {
                Input::Response { try_id, result, duration }
            }
            Due::Piece(try_id) => {
                let body = coming.get_mut(&try_id)?;
                let piece = body.rest.split_to(self.piece_bytes.min(body.rest.len()));
                let piece = match (&body.breaks, piece.is_empty()) {
                    (_, false) => Ok(Some(piece)),
                    (None, true) => Ok(None),
                    (Some(error), true) => Err(error.clone()),
                };
                Input::BodyPiece { try_id, piece, duration }
            }
        })
    }
}

/// The kinds of fetch errors.
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

/// The one with this code.
pub(crate) fn kind_of(code: &str) -> Option<FetchErrorKind> {
    KINDS.into_iter().find(|kind| kind.code() == code)
}

fn in_pieces(pieces: BodyStreaming, response: &Response) -> bool {
    let kind = response.headers.iter().find(|(name, _)| name == "content-type");
    pieces.applies(response.status, kind.map_or("", |(_, kind)| kind))
}

/// A checkpoint as the control plane would hand it out again: finished values stay until new ones come.
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

/// Applies what a checkpoint changed of the cursors.
pub(crate) fn apply_cursors(cursors: &mut BTreeMap<CursorKey, Bytes>, checkpoint: &Checkpoint) {
    for change in &checkpoint.cursor_changes {
        cursors.insert(change.key.clone(), change.json.clone());
    }
}

/// Applies what a checkpoint changed of the context.
pub(crate) fn apply(context: &mut BTreeMap<String, Bytes>, checkpoint: &Checkpoint) {
    for (name, change) in &checkpoint.context_changes {
        match change {
            Some(json) => context.insert(name.clone(), json.clone()),
            None => context.remove(name),
        };
    }
}
