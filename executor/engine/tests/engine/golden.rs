//! Runs every case of `tests/cases`: `plan.json` against the answers of `exchange.json` gives `expected.ndjson`, line by
//! line and byte by byte. `ORCHID_BLESS=1` writes the expected files anew; look at the difference before you keep it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{
    Clock, EXECUTION, Event, Left, Reply, Setup, World, apply, apply_cursors, kind_of, saved,
};
use bytes::Bytes;
use orchid_engine::{
    Checkpoint, CursorKey, CursorKind, ExecutionFinish, FetchError, Input, Machine, Message, Request,
    Response, StopReason, Topic,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// `exchange.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    /// The sentence that the case stands for.
    says: String,
    #[serde(default = "empty_object")]
    config: Value,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    allowed_hosts: Vec<String>,
    #[serde(default)]
    context: BTreeMap<String, Box<RawValue>>,
    message_max_bytes: Option<usize>,
    #[serde(default)]
    ran_seconds: u64,
    #[serde(default)]
    traced: bool,
    /// Stored values by `step` or `step/item`.
    #[serde(default)]
    cursors: BTreeMap<String, Box<RawValue>>,
    /// Bytes of a piece, where a body comes in pieces.
    piece_bytes: Option<usize>,
    /// Milliseconds that each takes.
    piece_ms: Option<u64>,
    /// The run is cancelled while it is parked for the first time.
    #[serde(default)]
    cancel_when_parked: bool,
    /// Further runs begin anew instead of at the last checkpoint, as the next scheduled run does.
    #[serde(default)]
    anew: bool,
    /// Runs after the first, each a new execution that begins at the checkpoint of the one before.
    #[serde(default)]
    further_runs: u32,
    answers: Vec<Answer>,
}

fn empty_object() -> Value {
    json!({})
}

/// One answer: a response, an error, or a stop instead of either.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// For the request whose method and url end like this, `GET /orders/1`, whenever it comes; in order where there is none.
    to: Option<String>,
    /// It answers that request every time.
    #[serde(default)]
    always: bool,
    #[serde(default = "ok")]
    status: u16,
    /// Pairs; `content-type: application/json` where there are none.
    headers: Option<Vec<(String, String)>>,
    /// JSON, sent as the bytes that stand here.
    body: Option<Box<RawValue>>,
    /// The body as text, instead.
    text: Option<String>,
    /// The body as a text repeated, instead.
    repeat: Option<(String, usize)>,
    /// Where redirects led.
    url: Option<String>,
    /// A fetch error's code, instead of a response.
    error: Option<String>,
    /// `cancel`, `drain`, `sink_stalled`, `time_limit`, instead of an answer.
    stop: Option<String>,
    /// The same, a second after the answer.
    then_stop: Option<String>,
    #[serde(default = "quick")]
    duration_ms: u64,
}

fn ok() -> u16 {
    200
}

fn quick() -> u64 {
    50
}

impl Answer {
    fn reply(&self, request: &Request) -> Reply {
        if let Some(stop) = &self.stop {
            return Reply::Stop(stop_reason(stop));
        }
        let answer = self.answer(request);
        match &self.then_stop {
            Some(stop) => Reply::ThenStop(Box::new(answer), stop_reason(stop)),
            None => answer,
        }
    }

    fn answer(&self, request: &Request) -> Reply {
        let duration = Duration::from_millis(self.duration_ms);
        if let Some(code) = &self.error {
            let kind = kind_of(code).expect("a code of a fetch error");
            let error = FetchError { kind, message: format!("no answer: {code}"), status: None };
            return Reply::Answer { result: Err(error), duration };
        }
        let body = match (&self.body, &self.text, &self.repeat) {
            (Some(json), None, None) => Bytes::copy_from_slice(json.get().as_bytes()),
            (None, Some(text), None) => Bytes::copy_from_slice(text.as_bytes()),
            (None, None, Some((text, times))) => Bytes::from(text.repeat(*times)),
            (None, None, None) => Bytes::new(),
            _ => panic!("one body at the most"),
        };
        let default = || vec![("content-type".to_owned(), "application/json".to_owned())];
        let response = Response {
            status: self.status,
            headers: self.headers.clone().unwrap_or_else(default),
            body,
            url: self.url.clone().unwrap_or_else(|| request.url.to_string()),
        };
        Reply::Answer { result: Ok(response), duration }
    }
}

fn stop_reason(name: &str) -> StopReason {
    match name {
        "cancel" => StopReason::Cancel,
        "drain" => StopReason::Drain,
        "sink_stalled" => StopReason::SinkStalled,
        "time_limit" => StopReason::TimeLimit,
        other => panic!("unknown stop {other}"),
    }
}

#[test]
fn every_case_gives_what_is_expected() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&cases)
        .expect("tests/cases is there")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() >= 40, "only {} cases", folders.len());
    let bless = std::env::var_os("ORCHID_BLESS").is_some();
    let mut failures = Vec::new();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let trace = match run(&folder) {
            Ok(trace) => trace,
            Err(problem) => {
                failures.push(format!("{name}: {problem}"));
                continue;
            }
        };
        let file = folder.join("expected.ndjson");
        if bless {
            std::fs::write(&file, &trace).unwrap();
        } else if let Some(difference) =
            difference(&std::fs::read_to_string(&file).unwrap_or_default(), &trace)
        {
            failures.push(format!("{name}: {difference}"));
        }
    }
    assert!(failures.is_empty(), "{} cases differ\n{}", failures.len(), failures.join("\n"));
}

fn difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let mut lines = found.lines();
    for (number, wanted) in expected.lines().enumerate() {
        let line = lines.next().unwrap_or("(nothing)");
        if line != wanted {
            return Some(format!("line {}\n  expected {wanted}\n  found    {line}", number + 1));
        }
    }
    Some(format!("more than expected: {}", lines.next().unwrap_or_default()))
}

fn setup(exchange: &Exchange, definition: orchid_plan::Definition) -> Setup {
    let mut setup = Setup::new(definition);
    setup.config = exchange.config.clone();
    setup.secrets.clone_from(&exchange.secrets);
    setup.allowed_hosts.clone_from(&exchange.allowed_hosts);
    setup.ran = Duration::from_secs(exchange.ran_seconds);
    setup.traced = exchange.traced;
    setup.context = exchange
        .context
        .iter()
        .map(|(name, json)| (name.clone(), Bytes::from(json.get().to_owned())))
        .collect();
    if let Some(max) = exchange.message_max_bytes {
        setup.message_max_bytes = max;
    }

    setup.piece_bytes = exchange.piece_bytes.unwrap_or(setup.piece_bytes);
    setup.piece_time = exchange.piece_ms.map_or(setup.piece_time, Duration::from_millis);
    setup.cursors = exchange
        .cursors
        .iter()
        .map(|(name, json)| (cursor_key(name), Bytes::from(json.get().to_owned())))
        .collect();
    setup
}

fn run(folder: &Path) -> Result<String, String> {
    let read =
        |name: &str| std::fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}"));
    let document: Value = serde_json::from_str(&read("plan.json")?).map_err(|error| error.to_string())?;
    let exchange: Exchange =
        serde_json::from_str(&read("exchange.json")?).map_err(|error| error.to_string())?;
    assert!(!exchange.says.is_empty());
    let plan = orchid_plan::check(&document, &orchid_plan::ServerLimits::default())
        .map_err(|faults| format!("the plan is refused: {faults:?}"))?;

    let mut setup = setup(&exchange, plan.definition);
    let mut script = Script::new(&exchange.answers);
    let mut trace = String::new();
    let (mut clock, mut resume) = (Clock { elapsed: Duration::ZERO }, None);
    let (mut number, mut runs, mut execution) = (1, 0, EXECUTION);
    loop {
        let job = setup.job(number, execution, resume.clone());
        let mut machine = Machine::new(job).map_err(|error| error.to_string())?;
        let mut events = Vec::new();
        let mut missing = 0;
        let mut reply = |request: &Request| match script.answer(request) {
            Some(answer) => answer.reply(request),
            None => {
                missing += 1;
                Reply::Stop(StopReason::Cancel)
            }
        };
        let cancel = exchange.cancel_when_parked && number == 2;
        let first = if cancel { Input::Stop(StopReason::Cancel) } else { Input::Begin };
        let world = World {
            machine: &mut machine,
            clock: &mut clock,
            reply: &mut reply,
            events: &mut events,
            piece_bytes: setup.piece_bytes,
            piece_time: setup.piece_time,
        };
        let left = world.run(first);
        if missing > 0 {
            for event in &events {
                push_event(&mut trace, event);
            }
            return Err(format!("it asks for more answers than the exchange has\n{trace}"));
        }
        for event in &events {
            push_event(&mut trace, event);
        }
        if let Some(checkpoint) = machine.checkpoint() {
            push_line(&mut trace, &shown_checkpoint(&checkpoint));
            apply(&mut setup.context, &checkpoint);
            apply_cursors(&mut setup.cursors, &checkpoint);
            resume = Some(saved(&checkpoint, resume.as_ref()));
        }
        match left {
            Left::Parked(not_before) => {
                let wait = (not_before - clock.now().wall).to_std().unwrap_or_default();
                clock.elapsed += wait;
                number += 1;
            }
            Left::Finished(ExecutionFinish::Released) => number += 1,
            Left::Finished(ExecutionFinish::Ended(_)) if runs < exchange.further_runs => {
                runs += 1;
                (number, execution) = (1, EXECUTION + u128::from(runs));
                resume = resume.filter(|_| !exchange.anew);
            }
            Left::Finished(ExecutionFinish::Ended(_)) => break,
        }
    }
    if script.is_over() { Ok(trace) } else { Err(format!("answers are left over\n{trace}")) }
}

fn cursor_key(name: &str) -> CursorKey {
    let (step, item) = name.split_once('/').unwrap_or((name, ""));
    CursorKey { kind: CursorKind::Cursor, step: step.to_owned(), item: item.to_owned() }
}

/// The answers that are left.
struct Script<'a>(Vec<&'a Answer>);

impl<'a> Script<'a> {
    fn new(answers: &'a [Answer]) -> Script<'a> {
        Script(answers.iter().collect())
    }

    fn answer(&mut self, request: &Request) -> Option<&'a Answer> {
        let path = &request.url[url::Position::BeforePath..];
        let asked = format!("{} {path}", request.method);
        let wanted = self.0.iter().position(|answer| answer.to.as_ref().is_some_and(|to| *to == asked));
        let next = wanted.or_else(|| self.0.iter().position(|answer| answer.to.is_none()))?;
        if self.0[next].always { Some(self.0[next]) } else { Some(self.0.remove(next)) }
    }

    fn is_over(&self) -> bool {
        self.0.iter().all(|answer| answer.always)
    }
}

fn push_event(trace: &mut String, event: &Event) {
    match event {
        Event::Fetch(request) => push_line(trace, &shown_request(request)),
        Event::Message(message) => push_line(trace, &shown_message(message)),
        Event::Wait(delay) => push_line(trace, &json!({"wait_ms": delay.as_millis() as u64}).to_string()),
        Event::Park { not_before, reason } => {
            let park = json!({"not_before": not_before.to_rfc3339(), "reason": reason});
            push_line(trace, &json!({"park": park}).to_string());
        }
        Event::Finished(ExecutionFinish::Released) => {
            push_line(trace, &json!({"finished": "released"}).to_string())
        }
        Event::Finished(ExecutionFinish::Ended(ending)) => {
            let error = ending.error.as_ref().map(|error| {
                json!({"class": error.class.as_str(), "code": error.code, "message": error.message,
                    "pointer": error.pointer, "status_code": error.status_code, "step_path": error.step_path})
            });
            let ended = json!({"status": format!("{:?}", ending.status).to_lowercase(), "partial": ending.partial,
                "complete": ending.complete, "error": error});
            push_line(trace, &json!({"finished": ended}).to_string());
        }
    }
}

fn push_line(trace: &mut String, line: &str) {
    writeln!(trace, "{line}").unwrap();
}

fn shown_request(request: &Request) -> String {
    let mut fetch = json!({"method": request.method, "url": request.url.as_str()});
    if !request.headers.is_empty() {
        fetch["headers"] = request.headers.iter().map(|(name, value)| json!([name, value])).collect();
    }
    if let Some(body) = &request.body {
        fetch["body"] = String::from_utf8_lossy(body).into();
    }
    json!({"fetch": fetch}).to_string()
}

/// The payload stands here as the bytes that are sent.
fn shown_message(message: &Message) -> String {
    let topic = match message.topic {
        Topic::Responses => "api-responses",
        Topic::Errors => "api-errors",
        Topic::Events => "execution-events",
    };
    let headers: Vec<String> =
        message.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let payload = std::str::from_utf8(&message.payload).expect("a payload is text");
    serde_json::from_str::<Value>(payload).expect("a payload is json");
    format!(
        "{{\"message\":{{\"topic\":{},\"key\":{},\"headers\":{},\"payload\":{}}}}}",
        json!(topic),
        json!(message.key),
        json!(headers),
        payload.replace('\n', " ")
    )
}

fn shown_checkpoint(checkpoint: &Checkpoint) -> String {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("a checkpoint is text");
    let changes: serde_json::Map<String, Value> = checkpoint
        .context_changes
        .iter()
        .map(|(name, json)| (name.clone(), json.as_ref().map_or(Value::Null, |json| Value::from(text(json)))))
        .collect();
    let cursors: serde_json::Map<String, Value> = checkpoint
        .cursor_changes
        .iter()
        .map(|change| {
            let key = &change.key;
            (format!("{} {}/{}", key.kind.as_str(), key.step, key.item), Value::from(text(&change.json)))
        })
        .collect();
    let cursors = if cursors.is_empty() {
        String::new()
    } else {
        format!("\"cursor_changes\":{},", Value::from(cursors))
    };
    let must_cancel = if checkpoint.must_cancel { "\"must_cancel\":true," } else { "" };
    format!(
        "{{\"checkpoint\":{{{must_cancel}\"place\":{},\"finished\":{},\"context_changes\":{},{cursors}\"progress\":{}}}}}",
        text(&checkpoint.resume_state),
        checkpoint.finished_steps.as_ref().map_or("null".to_owned(), text),
        Value::from(changes),
        serde_json::to_string(&checkpoint.progress).unwrap()
    )
}
