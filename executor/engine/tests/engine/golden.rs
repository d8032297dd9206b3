//! Runs every case of `tests/cases`: `plan.json` with the responses of `exchange.json` must produce
//! `expected.ndjson` byte for byte. `ORCHID_BLESS=1` rewrites the expected files; review the
//! difference before you commit it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{
    AttemptEnd, EXECUTION, Reply, Simulation, TestClock, TestSetup, TraceEvent, apply, apply_cursors,
    fetch_error_kind, saved,
};
use bytes::Bytes;
use orchid_engine::{
    ArchiveFile, Checkpoint, CursorKey, CursorKind, ExecutionFinish, FetchError, Input, Machine, Message,
    Request, Response, StopReason, Topic,
};
use orchid_plan::Definition;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The contents of `exchange.json`: the rule under test, the execution's input and the responses.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseScript {
    /// The rule that the case tests, as a sentence.
    rule: String,
    #[serde(default = "empty_object")]
    config: Value,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    allowed_hosts: Vec<String>,
    #[serde(default)]
    context: BTreeMap<String, Box<RawValue>>,
    message_max_bytes: Option<usize>,
    value_max_bytes: Option<usize>,
    #[serde(default)]
    elapsed_seconds: u64,
    #[serde(default)]
    traced: bool,
    /// Stored values by `step` or `step/item`.
    #[serde(default)]
    cursors: BTreeMap<String, Box<RawValue>>,
    /// Bytes per piece of a streamed body.
    piece_bytes: Option<usize>,
    /// Milliseconds that each piece takes to arrive.
    piece_ms: Option<u64>,
    /// Cancels the execution while it is parked for the first time.
    #[serde(default)]
    cancel_when_parked: bool,
    /// Starts further executions without a resume state, as a schedule does.
    #[serde(default)]
    start_fresh: bool,
    /// Executions after the first, each resumed at the checkpoint of the one before it.
    #[serde(default)]
    further_executions: u32,
    responses: Vec<ScriptedResponse>,
}

fn empty_object() -> Value {
    json!({})
}

/// A response, a fetch error, or a stop instead of either.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptedResponse {
    /// Method and path of the request it belongs to (`GET /orders/1`). Responses without it are
    /// used in order.
    request: Option<String>,
    /// Uses it for every such request instead of one.
    #[serde(default)]
    always: bool,
    #[serde(default = "ok")]
    status: u16,
    /// Name and value pairs; by default `content-type: application/json`.
    headers: Option<Vec<(String, String)>>,
    /// A JSON body, sent byte for byte as it is written here.
    body: Option<Box<RawValue>>,
    /// A text body, instead of `body`.
    text: Option<String>,
    /// A text and the number of times it is repeated, instead of `body`.
    repeated_text: Option<(String, usize)>,
    /// Names and texts of an archive's files, instead of `body`.
    #[serde(default)]
    files: Vec<(String, String)>,
    /// The final URL, if redirects were followed.
    url: Option<String>,
    /// A fetch error's code, instead of a response.
    error: Option<String>,
    /// A stop instead of a response: `cancel`, `drain`, `sink_stalled` or `time_limit`.
    stop: Option<String>,
    /// A stop one second after the response.
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

impl ScriptedResponse {
    fn reply(&self, request: &Request) -> Reply {
        if let Some(stop) = &self.stop {
            return Reply::Stop(stop_reason(stop));
        }
        let response = self.response(request);
        match &self.then_stop {
            Some(stop) => Reply::ThenStop(Box::new(response), stop_reason(stop)),
            None => response,
        }
    }

    fn response(&self, request: &Request) -> Reply {
        let duration = Duration::from_millis(self.duration_ms);
        if let Some(code) = &self.error {
            let kind = fetch_error_kind(code).expect("a code of a fetch error");
            let error =
                FetchError { kind, message: format!("no answer: {code}"), status: None, received: None };
            return Reply::Response { result: Err(error), duration };
        }
        let body = match (&self.body, &self.text, &self.repeated_text) {
            (Some(json), None, None) => Bytes::copy_from_slice(json.get().as_bytes()),
            (None, Some(text), None) => Bytes::copy_from_slice(text.as_bytes()),
            (None, None, Some((text, times))) => Bytes::from(text.repeat(*times)),
            (None, None, None) => self.files.iter().map(|(_, text)| text.as_str()).collect::<String>().into(),
            _ => panic!("one body at the most"),
        };
        let default = || vec![("content-type".to_owned(), "application/json".to_owned())];
        let response = Response {
            status: self.status,
            headers: self.headers.clone().unwrap_or_else(default),
            body,
            url: self.url.clone().unwrap_or_else(|| request.url.to_string()),
            files: self
                .files
                .iter()
                .map(|(name, text)| ArchiveFile { name: name.clone(), bytes: text.len() })
                .collect(),
        };
        Reply::Response { result: Ok(response), duration }
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
fn every_case_produces_its_expected_trace() {
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

fn setup(exchange: &CaseScript, definition: Definition) -> TestSetup {
    let mut setup = TestSetup::new(definition);
    setup.config = exchange.config.clone();
    setup.secrets.clone_from(&exchange.secrets);
    setup.allowed_hosts.clone_from(&exchange.allowed_hosts);
    setup.ran = Duration::from_secs(exchange.elapsed_seconds);
    setup.traced = exchange.traced;
    setup.context = exchange
        .context
        .iter()
        .map(|(name, json)| (name.clone(), Bytes::from(json.get().to_owned())))
        .collect();
    if let Some(max) = exchange.message_max_bytes {
        setup.message_max_bytes = max;
    }
    if let Some(max) = exchange.value_max_bytes {
        setup.value_max_bytes = max;
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

/// Reads a case: its compiled plan and its script.
fn read_case(folder: &Path) -> Result<(Definition, CaseScript), String> {
    let read =
        |name: &str| std::fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}"));
    let document: Value = serde_json::from_str(&read("plan.json")?).map_err(|error| error.to_string())?;
    let exchange: CaseScript =
        serde_json::from_str(&read("exchange.json")?).map_err(|error| error.to_string())?;
    assert!(!exchange.rule.is_empty());
    let plan = orchid_plan::check(&document, &orchid_plan::ServerLimits::default())
        .map_err(|diagnostics| format!("the plan is refused: {diagnostics:?}"))?;
    Ok((plan.definition, exchange))
}

/// Runs a case to the end of its last execution and returns the trace.
fn run(folder: &Path) -> Result<String, String> {
    let (definition, exchange) = read_case(folder)?;
    let mut setup = setup(&exchange, definition);
    let mut queue = ResponseQueue::new(&exchange.responses);
    let mut trace = String::new();
    let (mut clock, mut resume) = (TestClock { elapsed: Duration::ZERO }, None);
    let (mut number, mut finished_executions, mut execution) = (1, 0, EXECUTION);
    loop {
        let spec = setup.job(number, execution, resume.clone());
        let mut machine = Machine::new(spec).map_err(|error| error.to_string())?;
        let mut events = Vec::new();
        let mut missing = 0;
        let mut reply = |request: &Request| match queue.next(request) {
            Some(response) => response.reply(request),
            None => {
                missing += 1;
                Reply::Stop(StopReason::Cancel)
            }
        };
        let cancel = exchange.cancel_when_parked && number == 2;
        let first = if cancel { Input::Stop(StopReason::Cancel) } else { Input::Begin };
        let simulation = Simulation {
            machine: &mut machine,
            clock: &mut clock,
            reply: &mut reply,
            events: &mut events,
            piece_bytes: setup.piece_bytes,
            piece_time: setup.piece_time,
        };
        let end = simulation.run(first);
        events.iter().for_each(|event| push_event(&mut trace, event));
        if missing > 0 {
            return Err(format!("more requests than responses in exchange.json\n{trace}"));
        }
        if let Some(checkpoint) = machine.checkpoint() {
            push_line(&mut trace, &checkpoint_line(&checkpoint));
            apply(&mut setup.context, &checkpoint);
            apply_cursors(&mut setup.cursors, &checkpoint);
            resume = Some(saved(&checkpoint, resume.as_ref()));
        }
        match end {
            AttemptEnd::Parked(not_before) => {
                let wait = (not_before - clock.now().wall).to_std().unwrap_or_default();
                clock.elapsed += wait;
                number += 1;
            }
            AttemptEnd::Finished(ExecutionFinish::Released) => number += 1,
            AttemptEnd::Finished(ExecutionFinish::Ended(_))
                if finished_executions < exchange.further_executions =>
            {
                finished_executions += 1;
                (number, execution) = (1, EXECUTION + u128::from(finished_executions));
                resume = resume.filter(|_| !exchange.start_fresh);
            }
            AttemptEnd::Finished(ExecutionFinish::Ended(_)) => break,
        }
    }
    if queue.is_drained() {
        Ok(trace)
    } else {
        Err(format!("exchange.json has responses that no request used\n{trace}"))
    }
}

fn cursor_key(name: &str) -> CursorKey {
    let (step, item) = name.split_once('/').unwrap_or((name, ""));
    CursorKey { kind: CursorKind::Cursor, step: step.to_owned(), item: item.to_owned() }
}

/// The responses that are not used yet.
struct ResponseQueue<'a>(Vec<&'a ScriptedResponse>);

impl<'a> ResponseQueue<'a> {
    fn new(responses: &'a [ScriptedResponse]) -> ResponseQueue<'a> {
        ResponseQueue(responses.iter().collect())
    }

    fn next(&mut self, request: &Request) -> Option<&'a ScriptedResponse> {
        let path = &request.url[url::Position::BeforePath..];
        let sent = format!("{} {path}", request.method);
        let wanted = self
            .0
            .iter()
            .position(|response| response.request.as_ref().is_some_and(|expected| *expected == sent));
        let next = wanted.or_else(|| self.0.iter().position(|response| response.request.is_none()))?;
        if self.0[next].always { Some(self.0[next]) } else { Some(self.0.remove(next)) }
    }

    fn is_drained(&self) -> bool {
        self.0.iter().all(|response| response.always)
    }
}

fn push_event(trace: &mut String, event: &TraceEvent) {
    match event {
        TraceEvent::Fetch(request) => push_line(trace, &request_line(request)),
        TraceEvent::Message(message) => push_line(trace, &message_line(message)),
        TraceEvent::Wait(delay) => {
            push_line(trace, &json!({"wait_ms": delay.as_millis() as u64}).to_string())
        }
        TraceEvent::Park { not_before, reason } => {
            let park = json!({"not_before": not_before.to_rfc3339(), "reason": reason});
            push_line(trace, &json!({"park": park}).to_string());
        }
        TraceEvent::Finished(ExecutionFinish::Released) => {
            push_line(trace, &json!({"finished": "released"}).to_string())
        }
        TraceEvent::Finished(ExecutionFinish::Ended(ending)) => {
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

fn request_line(request: &Request) -> String {
    let mut fetch = json!({"method": request.method, "url": request.url.as_str()});
    if !request.headers.is_empty() {
        fetch["headers"] = request.headers.iter().map(|(name, value)| json!([name, value])).collect();
    }
    if let Some(body) = &request.body {
        fetch["body"] = String::from_utf8_lossy(body).into();
    }
    json!({"fetch": fetch}).to_string()
}

/// Prints a message; its payload is the exact text that is sent, so that traces compare bytes.
fn message_line(message: &Message) -> String {
    let topic = match message.topic {
        Topic::Responses => "api-responses",
        Topic::Errors => "api-errors",
        Topic::Events => "execution-events",
    };
    let headers: Vec<String> =
        message.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let payload = std::str::from_utf8(&message.payload).expect("a payload is text");
    // Not as a value: the payload may hold what serde_json has no value for, such as half a
    // surrogate pair.
    serde_json::from_str::<IgnoredAny>(payload).expect("a payload is json");
    format!(
        "{{\"message\":{{\"topic\":{},\"key\":{},\"headers\":{},\"payload\":{}}}}}",
        json!(topic),
        json!(message.key),
        json!(headers),
        payload.replace('\n', " ")
    )
}

fn checkpoint_line(checkpoint: &Checkpoint) -> String {
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
