//! The engine's bound on unacknowledged messages: it stops emitting, goes on with
//! acknowledgements, and can be stopped and resumed in between.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use std::time::Duration;

use bytes::Bytes;
use orchid_engine::{
    Checkpoint, EmitId, EndStatus, ExecutionFinish, Input, Machine, Message, Output, Response,
    SavedCheckpoint, StopReason, TimerId, TryId, UNACKED_BYTES_MAX, UNACKED_MESSAGES_MAX,
};
use serde_json::{Value, json};

use crate::chaos::setup;
use crate::support::{EXECUTION, TestClock, saved};

const API: &str = "https://api.example.com";
/// Largest message in these tests; one may exceed the bound of bytes.
const MESSAGE_MAX: usize = 1 << 20;

/// An attempt whose messages are acknowledged only when the test says so.
struct HeldAttempt<'a> {
    machine: Machine,
    bodies: &'a BTreeMap<&'static str, (&'static str, Bytes)>,
    clock: TestClock,
    inputs: VecDeque<Input>,
    streams: BTreeMap<TryId, Bytes>,
    unacked: VecDeque<(EmitId, usize)>,
    /// Step path and body of each message.
    rows: Vec<(String, Value)>,
    most_messages: usize,
    most_bytes: usize,
    parked: bool,
    finish: Option<ExecutionFinish>,
}

type Bodies = BTreeMap<&'static str, (&'static str, Bytes)>;

impl<'a> HeldAttempt<'a> {
    fn begin(plan: &Value, attempt: i32, bodies: &'a Bodies, resume: Option<SavedCheckpoint>) -> Self {
        let machine = Machine::new(setup(plan).job(attempt, EXECUTION, resume)).unwrap();
        let mut held = Self {
            machine,
            bodies,
            // An attempt begins a minute after the one before it.
            clock: TestClock { elapsed: Duration::from_secs(60) * attempt.unsigned_abs() },
            inputs: VecDeque::from([Input::Begin]),
            streams: BTreeMap::new(),
            unacked: VecDeque::new(),
            rows: Vec::new(),
            most_messages: 0,
            most_bytes: 0,
            parked: false,
            finish: None,
        };
        held.settle();
        held
    }

    /// Delivers all inputs except acknowledgements.
    fn settle(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            self.clock.elapsed += Duration::from_millis(1);
            for output in self.machine.step(self.clock.now(), input) {
                self.take(output);
            }
            self.most_messages = self.most_messages.max(self.unacked.len());
            self.most_bytes = self.most_bytes.max(self.unacked.iter().map(|(_, size)| size).sum());
        }
    }

    fn take(&mut self, output: Output) {
        let duration = Duration::ZERO;
        match output {
            Output::Fetch { try_id, request } => {
                let (kind, body) = self.bodies[request.url.path()].clone();
                let url = request.url.to_string();
                let headers = vec![("content-type".to_owned(), kind.to_owned())];
                let mut response = Response { status: 200, headers, body, url, files: Vec::new() };
                self.inputs.push_back(if request.streaming.applies(200, kind) {
                    self.streams.insert(try_id, std::mem::take(&mut response.body));
                    Input::ResponseHead { try_id, response, duration }
                } else {
                    Input::Response { try_id, result: Ok(response), duration }
                });
            }
            Output::ReadBody { try_id } => {
                let rest = self.streams.get_mut(&try_id).unwrap();
                let piece = rest.split_to(rest.len().min(256 << 10));
                let piece = Ok((!piece.is_empty()).then(|| piece.into()));
                self.inputs.push_back(Input::BodyPiece { try_id, piece, duration });
            }
            Output::Emit { emit_id, message } => {
                self.unacked.push_back((emit_id, message.size()));
                self.rows.push(path_and_body(&message));
            }
            Output::Finished(finish) => self.finish = Some(finish),
            Output::Discard { try_id } => drop(self.streams.remove(&try_id)),
            // The first timer of an attempt is its deadline; the others fire at once.
            Output::StartTimer { timer_id, delay } if timer_id != TimerId(1) => {
                self.clock.elapsed += delay;
                self.inputs.push_back(Input::TimerFired { timer_id });
            }
            Output::SaveCheckpoint | Output::StartTimer { .. } => {}
            Output::Park { .. } => self.parked = true,
        }
    }

    fn acknowledge(&mut self, count: usize) {
        for _ in 0..count.min(self.unacked.len()) {
            let (emit_id, _) = self.unacked.pop_front().unwrap();
            self.inputs.push_back(Input::MessageAcked { emit_id });
            self.settle();
        }
    }

    fn run_to_the_end(&mut self) {
        while !self.unacked.is_empty() {
            self.acknowledge(1);
        }
    }

    fn drain(&mut self) -> Checkpoint {
        self.inputs.push_back(Input::Stop(StopReason::Drain));
        self.settle();
        assert_eq!(self.finish, Some(ExecutionFinish::Released));
        self.acknowledge(usize::MAX);
        self.machine.checkpoint().unwrap()
    }

    fn status(&self) -> Option<EndStatus> {
        match &self.finish {
            Some(ExecutionFinish::Ended(end)) => Some(end.status),
            Some(ExecutionFinish::Released) | None => None,
        }
    }
}

fn path_and_body(message: &Message) -> (String, Value) {
    let payload: Value = serde_json::from_slice(&message.payload).unwrap();
    (payload["step_path"].as_str().unwrap().to_owned(), payload["response_body"].clone())
}

fn plan(more: &Value) -> Value {
    let mut step = json!({"id": "list", "url": format!("{API}/list")});
    step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"step": step})
}

fn numbers(count: usize) -> String {
    (0..count).map(|number| number.to_string()).collect::<Vec<_>>().join(",")
}

fn json_list(count: usize) -> (&'static str, Bytes) {
    ("application/json", format!("[{}]", numbers(count)).into())
}

/// Returns all elements of all bodies, in order.
fn elements(rows: &[(String, Value)]) -> Vec<u64> {
    rows.iter().flat_map(|(_, body)| body.as_array().unwrap()).map(|row| row.as_u64().unwrap()).collect()
}

fn expected(count: u64) -> Vec<u64> {
    (0..count).collect()
}

#[test]
fn records_of_a_page_wait_for_acknowledgements() {
    let lines = numbers(20_000).replace(',', "\n");
    for (list, iterate_over) in [
        (json_list(20_000), "response.body"),
        (("application/x-ndjson", Bytes::from(lines)), "response.body"),
        (json_list(20_000), "response.body[?@ >= `0`]"),
    ] {
        let bodies = Bodies::from([("/list", list)]);
        let plan = plan(&json!({"iterate_over": iterate_over, "emit": "record"}));
        let mut attempt = HeldAttempt::begin(&plan, 1, &bodies, None);
        assert_eq!(attempt.unacked.len(), UNACKED_MESSAGES_MAX, "nothing is acknowledged");
        attempt.run_to_the_end();
        assert_eq!(attempt.most_messages, UNACKED_MESSAGES_MAX);
        assert_eq!(attempt.status(), Some(EndStatus::Succeeded));
        assert_eq!(elements(&attempt.rows), expected(20_000));
    }
}

#[test]
fn chunks_of_large_bodies_wait_for_acknowledgements() {
    let text = "x".repeat(100 << 10);
    let row = format!("{{\"text\":\"{text}\"}}");
    let rows = vec![row; 150];
    let json = Bytes::from(format!("[{}]", rows.join(",")));
    let lines = Bytes::from(rows.join("\n"));
    for (kind, body, more) in [
        ("application/json", json.clone(), json!({"iterate_over": "response.body"})),
        ("application/json", json, json!({})),
        (
            "application/x-ndjson",
            lines,
            json!({"iterate_over": "response.body", "response": {"max_bytes": 100_000_000}}),
        ),
    ] {
        let mut setup_plan = plan(&more);
        setup_plan["step"]["response"]["max_bytes"] = json!(100_000_000);
        let bodies = Bodies::from([("/list", (kind, body))]);
        let mut attempt = HeldAttempt::begin(&setup_plan, 1, &bodies, None);
        assert!(attempt.finish.is_none(), "{more}: it waits");
        attempt.run_to_the_end();
        assert!(attempt.most_bytes < UNACKED_BYTES_MAX + MESSAGE_MAX, "{more}: {}", attempt.most_bytes);
        assert_eq!(attempt.status(), Some(EndStatus::Succeeded));
        let rows: usize = attempt.rows.iter().map(|(_, body)| body.as_array().unwrap().len()).sum();
        assert_eq!(rows, 150, "{more}");
    }
}

#[test]
fn page_waits_while_the_one_before_it_is_unacknowledged() {
    let bodies = Bodies::from([("/list", json_list(UNACKED_MESSAGES_MAX))]);
    let plan = plan(&json!({
        "iterate_over": "response.body", "emit": "record", "while": "meta.loop_count < `4`"
    }));
    let mut attempt = HeldAttempt::begin(&plan, 1, &bodies, None);
    attempt.run_to_the_end();
    assert_eq!((attempt.most_messages, attempt.rows.len()), (UNACKED_MESSAGES_MAX, 5 * UNACKED_MESSAGES_MAX));
}

#[test]
fn nested_fan_outs_wait_together() {
    let bodies = Bodies::from([("/list", json_list(40)), ("/part", json_list(300))]);
    let leaf = json!({"id": "part", "url": format!("{API}/part"), "iterate_over": "response.body", "emit": "record"});
    let plan = plan(&json!({
        "iterate_over": "response.body", "emit": "record", "concurrency": 10, "sub_steps": [leaf]
    }));
    let mut attempt = HeldAttempt::begin(&plan, 1, &bodies, None);
    attempt.run_to_the_end();
    assert_eq!(attempt.status(), Some(EndStatus::Succeeded));
    assert_eq!(attempt.most_messages, UNACKED_MESSAGES_MAX);
    let paths: BTreeSet<_> = attempt.rows.iter().map(|(path, _)| path.clone()).collect();
    assert_eq!((paths.len(), attempt.rows.len()), (40 * 300 + 40, 40 * 300 + 40));
}

#[test]
fn items_of_a_for_each_wait_together() {
    let bodies = Bodies::from([("/list", json_list(300))]);
    let plan = plan(&json!({
        "for_each": "range(`0`, `30`)", "iterate_over": "response.body", "emit": "record"
    }));
    let mut attempt = HeldAttempt::begin(&plan, 1, &bodies, None);
    attempt.run_to_the_end();
    assert_eq!((attempt.most_messages, attempt.rows.len()), (UNACKED_MESSAGES_MAX, 30 * 300));
}

#[test]
fn waiting_page_resumes_behind_its_acknowledged_rows() {
    let bodies = Bodies::from([("/list", json_list(5_000))]);
    for (iterate_over, acknowledged) in [("response.body", 1_000), ("response.body[?@ >= `0`]", 700)] {
        let plan = plan(&json!({"iterate_over": iterate_over, "emit": "record"}));
        let mut first = HeldAttempt::begin(&plan, 1, &bodies, None);
        for _ in 0..acknowledged {
            first.acknowledge(1);
        }
        // The process dies here: only what was saved counts.
        let checkpoint = first.machine.checkpoint().unwrap();
        assert!(checkpoint.progress.counts.rows >= acknowledged - UNACKED_MESSAGES_MAX as u64);
        let mut second = HeldAttempt::begin(&plan, 2, &bodies, Some(saved(&checkpoint, None)));
        for _ in 0..300 {
            second.acknowledge(1);
        }
        let drained = second.drain();
        let mut third = HeldAttempt::begin(&plan, 3, &bodies, Some(saved(&drained, None)));
        third.run_to_the_end();
        assert_eq!(third.status(), Some(EndStatus::Succeeded));
        // A row repeats only if its acknowledgement was not in the saved checkpoint.
        let resumed_at = elements(&second.rows)[0];
        assert_eq!(resumed_at, checkpoint.progress.counts.rows);
        let mut rows = expected(resumed_at);
        rows.extend(elements(&second.rows));
        rows.extend(elements(&third.rows));
        assert_eq!(rows, expected(5_000));
    }
}

#[test]
fn waiting_page_can_be_cancelled() {
    let bodies = Bodies::from([("/list", json_list(5_000))]);
    let plan = plan(&json!({"iterate_over": "response.body", "emit": "record"}));
    let mut attempt = HeldAttempt::begin(&plan, 1, &bodies, None);
    attempt.inputs.push_back(Input::Stop(StopReason::Cancel));
    attempt.settle();
    assert_eq!(attempt.status(), Some(EndStatus::Cancelled));
    attempt.run_to_the_end();
    assert_eq!(attempt.rows.len(), UNACKED_MESSAGES_MAX, "acknowledgements emit nothing more");
}

#[test]
fn values_that_expressions_read_are_counted_while_their_page_is_in_progress() {
    let list = Bytes::from(format!("[{}1]", "1,".repeat(9_999)));
    let bodies = Bodies::from([("/list", ("application/json", list))]);
    for (rows, buffered) in [("response.body", 0..100_000), ("response.body[?@ > `0`]", 700_000..3_000_000)] {
        let plan = plan(&json!({"iterate_over": rows, "emit": "record"}));
        let mut attempt = HeldAttempt::begin(&plan, 1, &bodies, None);
        assert!(attempt.finish.is_none(), "{rows}: it waits for acknowledgements");
        let counted = attempt.machine.buffered_bytes();
        assert!(buffered.contains(&counted), "{rows}: {counted}");
        attempt.run_to_the_end();
        assert_eq!((attempt.status(), attempt.rows.len()), (Some(EndStatus::Succeeded), 10_000));
        let counted = attempt.machine.buffered_bytes();
        assert!(counted < 100_000, "{rows}: {counted} at the end");
    }
}

#[test]
fn failed_row_gives_up_the_bodies_that_stream_below_it() {
    let bodies = Bodies::from([
        ("/list", json_list(3)),
        ("/submit", ("application/json", "{}".into())),
        ("/poll", ("application/x-ndjson", "1\n2\n".into())),
    ]);
    let job = json!({
        "submit": {"url": format!("{API}/submit"), "method": "POST"},
        "poll": {"url": format!("{API}/poll"), "iterate_over": "response.body"},
        "failed_when": "response.headers.\"content-type\" == 'application/x-ndjson'",
        "done_when": "`false`",
        "poll_wait": "1s",
        "result": "poll",
    });
    let plan = plan(&json!({
        "iterate_over": "response.body",
        "stop_on_error": false,
        "sub_steps": [{"id": "report", "async_job": job}],
    }));
    let mut submitted = HeldAttempt::begin(&plan, 1, &bodies, None);
    assert!(submitted.parked, "the jobs wait for their first polls");
    let checkpoint = submitted.machine.checkpoint().unwrap();
    let mut attempt = HeldAttempt::begin(&plan, 2, &bodies, Some(saved(&checkpoint, None)));
    attempt.run_to_the_end();
    let Some(ExecutionFinish::Ended(end)) = &attempt.finish else { panic!("{:?}", attempt.finish) };
    assert!(end.partial && end.status == EndStatus::Succeeded, "{end:?}");
    assert!(attempt.streams.is_empty(), "{:?}", attempt.streams.keys());
}

/// Joins the parts of a text or file, by the rules for consumers.
fn joined(rows: &[(String, Value)]) -> String {
    let part = |body: &Value| match &body[0] {
        Value::String(text) => text.clone(),
        file => file["_base64"].as_str().unwrap().to_owned(),
    };
    rows.iter().map(|(_, body)| part(body)).collect()
}

#[test]
fn files_larger_than_a_body_in_memory_are_streamed_in_parts() {
    let text = "line \u{1} äöü \"quoted\"\n".repeat(1_000_000);
    let base64 = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(&text)
    };
    let plan = plan(&json!({"response": {"max_bytes": 100_000_000}}));
    for (kind, expected) in [("text/plain", &text), ("application/pdf", &base64)] {
        let bodies = Bodies::from([("/list", (kind, Bytes::from(text.clone())))]);
        let mut attempt = HeldAttempt::begin(&plan, 1, &bodies, None);
        assert!(attempt.finish.is_none(), "{kind}: it waits for acknowledgements");
        let buffered = attempt.machine.buffered_bytes();
        assert!(buffered < 4 << 20, "{kind}: {buffered}");
        // The rest after a drain in the middle.
        attempt.acknowledge(3);
        let drained = attempt.drain();
        let mut rest = HeldAttempt::begin(&plan, 2, &bodies, Some(saved(&drained, None)));
        rest.run_to_the_end();
        assert_eq!(rest.status(), Some(EndStatus::Succeeded));
        let most = attempt.most_bytes.max(rest.most_bytes);
        assert!(most < UNACKED_BYTES_MAX + MESSAGE_MAX, "{kind}: {most}");
        attempt.rows.extend(std::mem::take(&mut rest.rows));
        assert!(joined(&attempt.rows) == *expected, "{kind}");
    }
}
